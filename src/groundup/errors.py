"""The error tree: what went wrong, where, and what to do about it.

    GroundupError             ours, exit code 1
    ├── Interrupted           asked to stop, and saved, exit code 130
    ├── RankFailedError       another process of the run failed, exit code 75
    └── UserError             the user's to mend, exit code 2
        ├── ConfigError       the project file or an override
        ├── InputError        text, tokenizer or model given to us
        ├── CorruptError      a file whose hash is not the one written down
        ├── StorageError      disk full, read-only, not there
        ├── LockedError       another run holds the project
        ├── BudgetError       no model fits what may be spent
        └── DivergedError     training left the finite numbers

The command line prints the three lines of ``str(error)`` and exits with ``error.code``.
"""

from __future__ import annotations


class GroundupError(Exception):
    """An error with a place and a way out.

    Args:
        message: what was wrong, one sentence without a full stop.
        where: file, line, dotted key, step: whatever leads to the place.
        fix: what to do, as an instruction.
    """

    code = 1

    def __init__(self, message: str, *, where: str | None = None, fix: str | None = None) -> None:
        super().__init__(message)
        self.message, self.where, self.fix = message, where, fix

    def __str__(self) -> str:
        lines = [f"error: {self.message}"]
        if self.where:
            lines.append(f"  where: {self.where}")
        if self.fix:
            lines.append(f"  fix:   {self.fix}")
        return "\n".join(lines)


class Interrupted(GroundupError):
    """A stop was asked for (Ctrl-C, SIGTERM); what was done is saved."""

    code = 130


class RankFailedError(GroundupError):
    """Another process of the run is dead, hung or out of reach; the last checkpoint is whole.

    Neither the user's mistake nor ours: 75 is EX_TEMPFAIL of sysexits.h, "try again later". Any
    code but 0 makes torchrun restart all ranks; a job script can tell this one from real errors.
    """

    code = 75


class UserError(GroundupError):
    """Something the user can mend."""

    code = 2


class ConfigError(UserError):
    """One or several things wrong in a project file or an override.

    Args:
        problems: one text per problem, each with its own place; printed one a line.
    """

    def __init__(
        self,
        message: str,
        *,
        where: str | None = None,
        fix: str | None = None,
        problems: tuple[str, ...] = (),
    ) -> None:
        super().__init__(message, where=where, fix=fix)
        self.problems = problems

    def __str__(self) -> str:
        first, *rest = super().__str__().split("\n")
        return "\n".join([first, *(f"  {problem}" for problem in self.problems), *rest])


class InputError(UserError):
    """Text, a tokenizer, tokens or a model that cannot be used as given."""


class CorruptError(UserError):
    """A stored file is not the one that was written."""


class StorageError(UserError):
    """A disk that is full, a folder that is read-only or missing."""


class LockedError(UserError):
    """Another process is at work in the same project."""


class BudgetError(UserError):
    """Nothing fits in the time, memory or money given."""


class DivergedError(UserError):
    """Loss or gradients are no longer finite."""
