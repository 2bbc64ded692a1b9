"""What has been written to a tracker, kept in a file: a resumed sweep goes on from there and writes nothing twice."""

from __future__ import annotations

import re
from pathlib import Path

_LINE = re.compile(r"(\S+) (\d+|end)")


class Logged:
    """Lines such as `5d1c… 1200` (written up to step 1,200) and `5d1c… end` (all of it is written).

    A line is written once what it tells of is safe, and the last one of a trial counts. A torn one is passed over.
    """

    def __init__(self, path: Path) -> None:
        self.steps: dict[str, int] = {}
        self.ended: set[str] = set()
        path.parent.mkdir(parents=True, exist_ok=True)
        text = path.read_text() if path.exists() else ""
        for line in text.splitlines():
            if found := _LINE.fullmatch(line):
                self._note(found[1], found[2])
        self._file = path.open("a")
        if text and not text.endswith("\n"):
            self._file.write("\n")

    def up_to(self, trial_id: str, step: int) -> None:
        self._write(trial_id, str(step))

    def end(self, trial_id: str) -> None:
        self._write(trial_id, "end")

    def close(self) -> None:
        self._file.close()

    def _write(self, trial_id: str, what: str) -> None:
        self._file.write(f"{trial_id} {what}\n")
        self._file.flush()
        self._note(trial_id, what)

    def _note(self, trial_id: str, what: str) -> None:
        if what == "end":
            self.ended.add(trial_id)
            self.steps.pop(trial_id, None)
        else:
            self.steps[trial_id] = int(what)
