"""What has been written to a tracker, kept in a file: a resumed sweep goes on from there and writes nothing twice."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

_LINE = re.compile(r"(\S+) (?:(\d+)|end(?: (\d+))?)")
NO_ROUNDS: Mapping[str, int] = MappingProxyType({})


class Logged:
    """Lines such as `5d1c… 1200` (written up to step 1,200) and `5d1c… end` (all of it is written), which is `5d1c… end
    2` where it had failed twice, and was run again.

    A line is written once what it tells of is safe, and the last one of a trial counts. A torn one is passed over.
    `rounds` are how often trials were to be run again: one that ended in an earlier round has not ended.
    """

    def __init__(self, path: Path, rounds: Mapping[str, int] = NO_ROUNDS) -> None:
        self.steps: dict[str, int] = {}
        self._rounds = rounds
        ends: dict[str, int] = {}
        path.parent.mkdir(parents=True, exist_ok=True)
        text = path.read_text() if path.exists() else ""
        for line in text.splitlines():
            found = _LINE.fullmatch(line)
            if found and found[2]:
                self.steps[found[1]] = int(found[2])
            elif found:
                ends[found[1]] = int(found[3] or 0)
        self.ended = {trial_id for trial_id, number in ends.items() if number >= rounds.get(trial_id, 0)}
        self.steps = {trial_id: step for trial_id, step in self.steps.items() if trial_id not in self.ended}
        self._file = path.open("a")
        if text and not text.endswith("\n"):
            self._file.write("\n")

    def up_to(self, trial_id: str, step: int) -> None:
        if step >= 0:
            self._write(f"{trial_id} {step}\n")
            self.steps[trial_id] = step

    def end(self, trial_id: str, step: int) -> None:
        """All is written, up to this step: from there it would go on if it were run again."""
        number = self._rounds.get(trial_id, 0)
        self.up_to(trial_id, step)
        self._write(f"{trial_id} end{f' {number}' if number else ''}\n")
        self.ended.add(trial_id)
        self.steps.pop(trial_id, None)

    def close(self) -> None:
        self._file.close()

    def _write(self, lines: str) -> None:
        self._file.write(lines)
        self._file.flush()
