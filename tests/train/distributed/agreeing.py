"""What ranks of a world do in `test_agreement`."""

import time

from groundup.errors import GroundupError
from groundup.train import agreement, distributed
from groundup.train.distributed import place


def told(values, per_rank):
    """Agree on ``values``, each rank with those of ``per_rank`` over them; what comes of it."""
    mine = {**values, **per_rank[place().rank]}
    code = mine.pop("code", None)
    if code is not None:
        agreement.code_hash = lambda: code
    try:
        agreement.require_agreement(mine, "settings")
    except GroundupError as error:
        return {"said": str(error), "code": error.code}
    finally:
        distributed.store().set(f"told {place().rank}", "")
        if place().rank == 0:  # the others read what it keeps
            while not distributed.store().check([f"told {n}" for n in range(place().size)]):
                time.sleep(0.01)
    return {"said": None, "code": 0}


def missing():
    """Rank 1 does not come."""
    agreement.FIRST_STEP_SECONDS = 0.5
    if place().rank == 1:
        time.sleep(1.5)
        return None
    try:
        agreement.require_agreement({"a": 1}, "settings")
    except GroundupError as error:
        return {"said": str(error), "code": error.code}
