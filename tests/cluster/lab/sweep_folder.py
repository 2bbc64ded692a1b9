"""A sweep's folder on the lab's object store, seen from the test."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from tests.cluster.lab.lab import BIN, Lab
from tests.cluster.lab.services import BUCKET
from tests.cluster.lab.storage import events

Event = dict[str, Any]


class SweepFolder:
    """`name` within the lab's bucket."""

    def __init__(self, lab: Lab, name: str) -> None:
        self._lab, self.name, self.uri = lab, name, f"s3://{BUCKET}/{name}"

    def events(self, kind: str = "", **having: Any) -> list[Event]:
        """What the journal tells now, of one kind and with these fields; nothing where there is no journal yet."""
        return chosen([json.loads(line) for line in self._read("events").splitlines()], kind, **having)

    def files(self) -> list[str]:
        """The names of all files but the checkpoints."""
        return self._read("names").splitlines()

    def copy(self) -> Path:
        """A copy of the folder as it is now, without the checkpoints."""
        target = self._lab.folder / "copies" / self.name
        self._read("copy", target)
        return target

    def _read(self, *words: str | Path) -> str:
        command = (f"{BIN}/python", "-m", "tests.cluster.lab.storage", self.uri, *words)
        return self._lab.run(*command, check=words[0] == "copy").stdout


def chosen(told: list[Event], kind: str = "", **having: Any) -> list[Event]:
    """Those of one kind (all, if it is empty) and with these fields."""
    return [event for event in told if kind in ("", event["event"]) and having.items() <= event.items()]


def journal(folder: Path) -> list[Event]:
    """All events of a copy."""
    return events({str(part.relative_to(folder)): part.read_bytes() for part in folder.glob("journal/**/*.jsonl")})


def check_every_trial_once(folder: Path, trials: int) -> list[dict[str, Any]]:
    """No trial is lost, none failed or counts twice, and no measurement does. Returns the rows of trials.parquet."""
    rows = pq.read_table(folder / "trials.parquet").to_pylist()
    assert len({row["trial_id"] for row in rows}) == len(rows) == trials
    assert {row["state"] for row in rows} == {"ended"}
    assert {row["outcome"] for row in rows} <= {"grokked", "budget"}
    ends = Counter(event["trial_id"] for event in chosen(journal(folder), "end"))
    assert ends == {row["trial_id"]: 1 for row in rows}
    curves = pq.read_table(folder / "curves", columns=["trial_id", "step"]).to_pylist()
    steps: dict[str, list[int]] = {row["trial_id"]: [] for row in rows}
    for point in curves:
        steps[point["trial_id"]].append(point["step"])
    for row in rows:
        measured = sorted(steps[row["trial_id"]])
        assert len(set(measured)) == len(measured)
        assert measured[-1] == row["steps_trained"]
    return rows
