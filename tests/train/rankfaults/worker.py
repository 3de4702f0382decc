"""The small run of `tests.train.small`, for torchrun: ``-m tests.train.rankfaults.worker``.

Arguments: the run's folder, and how long each sample takes (seconds) so that there is time to hit.
"""

from __future__ import annotations

import os
import sys
import time
from dataclasses import replace
from pathlib import Path

from groundup.errors import GroundupError
from groundup.progress import say
from groundup.train.distributed import join, leave
from groundup.train.pretrain import pretrain
from tests.train.small import SETTINGS, Tokens, job

STEPS = 60
RUN = replace(SETTINGS, steps=STEPS, evaluate_every=30, checkpoint_every=10, sample_every=1)


def main():
    folder, pause = Path(sys.argv[1]), float(sys.argv[2])
    ranks = join(RUN)
    try:
        pretrain(folder, Tokens(), job(RUN, at_sample=lambda: time.sleep(pause)), ranks)
    except GroundupError as error:
        say(str(error))
        os._exit(error.code)
    leave(ranks)
    return 0


if __name__ == "__main__":
    sys.exit(main())
