"""torchrun, which ends with the exit code of the worker that failed first.

torchrun itself ends with 1 whatever happened. A supervisor has to tell a mistake of the user's
(2: no restart helps) and a stop that was asked for (130) from a worker that died.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence

from torch.distributed import run as torchrun
from torch.distributed.elastic.multiprocessing.api import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.elastic.rendezvous import RendezvousError

from groundup.progress import say

INTERRUPTED = 130


def main(arguments: Sequence[str]) -> int:
    """Run torchrun with its own arguments."""
    try:
        torchrun.run(torchrun.parse_args(list(arguments)))
    except ChildFailedError as error:
        rank, failure = error.get_first_failure()
        say(f"rank {rank} ended with {ended(failure.exitcode)}")
        return failure.exitcode if failure.exitcode > 0 else 128 - failure.exitcode
    except SignalException:
        return INTERRUPTED
    except RendezvousError as error:
        say(f"the nodes did not meet: {error}")
        return 1
    return 0


def ended(code: int) -> str:
    """``SIGKILL`` or ``code 1``."""
    try:
        return signal.Signals(-code).name if code < 0 else f"code {code}"
    except ValueError:
        return f"signal {-code}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
