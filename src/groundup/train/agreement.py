"""All processes of a run are the same program with the same settings; or none of them trains.

A project folder that was copied to a node and then edited, an older checkout on one of them, a GPU
of another kind: such a run would end in a hang or, worse, in numbers. Twice each process tells the
others what it is: before the stages run (project file, overrides, code), and before the first step
(the fingerprint: tokens, build of torch, device). What differs is named with its key and its ranks.
The telling goes through torchrun's key-value store: collectives need equal layouts already.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import groundup
from groundup.errors import ConfigError, RankFailedError
from groundup.train.distributed import FIRST_STEP_SECONDS, LOOK_SECONDS, place, store
from groundup.train.fingerprint import flat, shortened

CODE = "code"  # beside the settings: the hash of the program's files
MOST_NAMED = 8  # keys in one message
_meetings = itertools.count()  # the same on every rank


def require_agreement(values: Mapping[str, Any], what: str) -> None:
    """Go on only where all processes of this run bring the same ``values``; alone, at once.

    Every process must call it equally often.

    Args:
        values: plain and nested, as JSON has them; section ``settings`` is named without a prefix.
        what: they are, for the message: ``project file``.

    Raises:
        ConfigError: on every process, if they differ; each key with its values and ranks.
        RankFailedError: a process did not come.
    """
    here = place()
    if here.size == 1:
        return
    mine = flat(json.loads(json.dumps({**values, CODE: code_hash()}, default=str)))
    text = json.dumps(mine, sort_keys=True)
    digest = hashlib.sha256(text.encode()).hexdigest()
    told = exchanged(digest, text, here.rank, here.size)
    if len(set(told)) > 1:
        raise disagreement([json.loads(each) for each in told], what)


def exchanged(digest: str, text: str, rank: int, size: int) -> list[str]:
    """What each process brings, by rank; where all digests are equal, one's own for all.

    Raises:
        RankFailedError: a process did not come within the limit of the first step.
    """
    meeting = f"agreement {next(_meetings)}"
    store().set(f"{meeting} text {rank}", text)
    store().set(f"{meeting} {rank}", digest)
    keys = [f"{meeting} {each}" for each in range(size)]
    end = time.monotonic() + FIRST_STEP_SECONDS
    while not store().check(keys):
        if time.monotonic() > end:
            late = [each for each, key in enumerate(keys) if not store().check([key])]
            raise RankFailedError(
                f"rank {', '.join(map(str, late))} did not come in {FIRST_STEP_SECONDS:.0f} s",
                where=f"rank {rank} of {size}",
                fix="look at its output; then give the same command again",
            )
        time.sleep(LOOK_SECONDS / 10)
    if all(store().get(key).decode() == digest for key in keys):
        return [text] * size
    return [store().get(f"{meeting} text {each}").decode() for each in range(size)]


def disagreement(told: Sequence[Mapping[str, Any]], what: str) -> ConfigError:
    """The error that names what differs, the code first."""
    keys = sorted({key for each in told for key in each}, key=lambda key: (key != CODE, key))
    problems = []
    for key in keys:
        ranks: dict[str, list[int]] = {}
        for rank, each in enumerate(told):
            ranks.setdefault(json.dumps(each.get(key)), []).append(rank)
        if len(ranks) > 1:
            said = (f"{shortened(json.loads(value))} on {named(at)}" for value, at in ranks.items())
            problems.append(f"{key}: {', '.join(said)}")
    if len(problems) > MOST_NAMED:
        problems[MOST_NAMED:] = [f"and {len(problems) - MOST_NAMED} more"]
    only_code = all(problem.startswith(f"{CODE}:") for problem in problems)
    return ConfigError(
        f"the processes do not have the same {'code' if only_code else what}",
        problems=tuple(problems),
        fix="give all nodes the same version of groundup, project folder and command line, and "
        "machines of one kind",
    )


def named(ranks: Sequence[int]) -> str:
    """``rank 1``, ``ranks 0-6``."""
    first, last = ranks[0], ranks[-1]
    if len(ranks) == 1:
        return f"rank {first}"
    together = last - first == len(ranks) - 1
    return f"ranks {first}-{last}" if together else f"ranks {', '.join(map(str, ranks))}"


def code_hash() -> str:
    """SHA-256 over the program's own files, by name and content; 16 digits."""
    folder, found = Path(groundup.__file__).parent, hashlib.sha256()
    for path in sorted(folder.rglob("*.py")):
        found.update(path.relative_to(folder).as_posix().encode() + b"\0" + path.read_bytes())
    return found.hexdigest()[:16]
