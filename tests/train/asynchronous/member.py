"""A worker process of the small run; it dies by SIGKILL over its first samples if it is to.

Arguments: settings as JSON, a file that is made before it dies, then those that the server appends.
"""

import json
import os
import signal
import sys
from pathlib import Path

from groundup.cli.worker import read_address
from groundup.train.asynchronous import work as module
from groundup.train.asynchronous.crew import TOKEN_VARIABLE
from groundup.train.config import Settings
from tests.train.asynchronous.served import work_of

if __name__ == "__main__":
    settings, died = Settings(**json.loads(sys.argv[1])), Path(sys.argv[2])
    about = dict(zip(sys.argv[3::2], sys.argv[4::2], strict=True))
    if not died.exists():
        died.write_text("once")
        module.computed = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
    module.work(
        read_address(about["--server"]), os.environ[TOKEN_VARIABLE], work_of(settings),
        name=about["--name"], n_threads=int(about["--threads"]),
    )  # fmt: skip
