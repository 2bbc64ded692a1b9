"""A sweep's folder on the lab's object store, seen from the test."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from tests.cluster.lab.lab import BIN, Lab

Event = dict[str, Any]


class SweepFolder:
    def __init__(self, lab: Lab, uri: str) -> None:
        self._lab, self.uri = lab, uri

    def events(self, kind: str = "", **having: Any) -> list[Event]:
        """What the journal tells now, of one kind and with these fields; none where there is no journal yet."""
        lines = self._read("events").splitlines()
        events = [json.loads(line) for line in lines if line.startswith("{") and line.endswith("}")]
        return chosen(events, kind, **having)

    def copy(self) -> Path:
        """A copy of the folder as it is now, without the checkpoints."""
        target = self._lab.folder / "copies" / self.uri.rsplit("/", 1)[-1]
        self._read("copy", target)
        return target

    def _read(self, *words: str | Path) -> str:
        done = self._lab.run(
            f"{BIN}/python", "-m", "tests.cluster.lab.storage", self.uri, *words, check=words[0] == "copy"
        )
        return done.stdout


def chosen(events: list[Event], kind: str = "", **having: Any) -> list[Event]:
    return [
        event
        for event in events
        if event["event"].startswith(kind) and all(event.get(name) == value for name, value in having.items())
    ]


def check_every_trial_once(folder: Path, trials: int) -> list[dict[str, Any]]:
    """None lost, none counted twice, no measurement in two rows. Returns the rows of trials.parquet."""
    rows = pq.read_table(folder / "trials.parquet").to_pylist()
    assert len({row["trial_id"] for row in rows}) == len(rows) == trials
    assert {row["state"] for row in rows} == {"ended"}
    assert {row["outcome"] for row in rows} <= {"grokked", "budget"}
    events = [json.loads(line) for part in sorted(folder.glob("journal/*.jsonl")) for line in part.open()]
    assert Counter(event["trial_id"] for event in chosen(events, "end")) == {row["trial_id"]: 1 for row in rows}
    curves = pq.read_table(folder / "curves", columns=["trial_id", "step"]).to_pylist()
    points = Counter((point["trial_id"], point["step"]) for point in curves)
    assert set(points.values()) == {1}
    measured = Counter(trial_id for trial_id, _ in points)
    assert all(max(step for trial, step in points if trial == row["trial_id"]) == row["duration_steps"] for row in rows)
    assert len(measured) == trials
    return rows
