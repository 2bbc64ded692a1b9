"""One family of errors. Each knows its exit code, and what the user can do about it.

Only these reach a user as a message; anything else that escapes is a defect of grokray.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

# The exit code of a command that was interrupted, which is no error: 128 and the number of SIGINT, as of any program.
INTERRUPTED = 130


class GrokrayError(Exception):
    """Something the user should read, with the exit code that the command ends with."""

    exit_code = 1

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint


@dataclass(frozen=True, kw_only=True)
class Problem:
    """One fault of an input.

    `field` names the parameter, or is None where no single one is at fault; `message` gives value and rule, as in
    "training_fraction is 1.2, but must be in (0, 1)". `place` is where it stands, such as "robust.yaml:12:5".
    """

    message: str
    field: str | None = None
    place: str | None = None

    def __str__(self) -> str:
        return f"{self.place}: {self.message}" if self.place else self.message


class ConfigError(GrokrayError):
    """Input that cannot be used. Carries every problem found, so that all are mended in one go."""

    exit_code = 2

    def __init__(self, problems: Sequence[Problem], *, hint: str | None = None) -> None:
        super().__init__("\n".join(str(p) for p in problems), hint=hint)
        self.problems = tuple(problems)

    def __reduce__(self) -> tuple[Any, ...]:
        """As it was, from another process too: an exception is otherwise made again of its text."""
        return _config_error, (self.problems, self.hint)


def _config_error(problems: Sequence[Problem], hint: str | None) -> ConfigError:
    return ConfigError(problems, hint=hint)


class FolderError(GrokrayError):
    """The sweep's folder cannot be used: it belongs to another search space, or is damaged."""

    exit_code = 2


class OtherSearchSpace(FolderError):
    """The folder holds a sweep of another search space; the message says what differs."""


class FileMissing(FolderError):
    """A file that should be in the folder is not there."""


class FolderBusy(GrokrayError):
    """Another process works on the sweep's folder; the message names it."""

    exit_code = 3


class CheckpointError(GrokrayError):
    """A checkpoint is missing, damaged, or belongs to another trial."""

    exit_code = 2


class ExecutionError(GrokrayError):
    """The machinery that runs trials failed in a way that retrying cannot mend."""

    exit_code = 1


class ClusterError(GrokrayError):
    """A Ray cluster cannot be used as it is: anybody may run code there, it refuses us, or it lacks something."""

    exit_code = 2
