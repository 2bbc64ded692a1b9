"""What is wrong with files of data."""

from __future__ import annotations

MOST_SHOWN = 10


class Malformed(Exception):
    """What is wrong with one or more files, a line each."""

    def __init__(self, faults: list[str]) -> None:
        self.faults = faults
        more = [f"and {len(faults) - MOST_SHOWN} more such faults"] if len(faults) > MOST_SHOWN else []
        super().__init__("\n".join([*faults[:MOST_SHOWN], *more]))

    @property
    def rule(self) -> str:
        """As it reads on from what a parameter is: `but there is no such file`, or `but:` and a line for each fault."""
        lines = str(self).splitlines()
        return f"but {lines[0]}" if len(lines) == 1 else "\n  ".join(["but:", *lines])
