"""The command line that runs, as its commands know it."""

from __future__ import annotations

import shlex
from collections.abc import Sequence


class Invocation:
    """`resumable` is set by a command once the same command line would go on with what it does, `farewell` once an
    interruption ends less than everything: what to say then."""

    def __init__(self, words: Sequence[str]) -> None:
        self.words = tuple(words)
        self.resumable = False
        self.farewell: tuple[str, ...] = ()

    @property
    def resume_command(self) -> str:
        """`grokray sweep 'my space.yaml' --num-trials 20`, ready for a shell."""
        return shlex.join(["grokray", *self.words])
