"""Small real sweeps for the tests, and what they must leave behind."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from grokray.records.folder import SweepFolder
from grokray.records.tables import read_curves, read_trials

# What is common to them; their other parameters follow.
HEAD = """
name: tiny
method: grid
seeds: [0, 1]
parameters:
  operation: {value: x+y_mod}
  modulus: {value: 7}
  num_layers: {value: 1}
  dim_model: {value: 16}
  num_heads: {value: 2}
  batch_size: {value: 16}
"""
GRID = (
    HEAD
    + """\
  learning_rate: {values: [1e-3, 3e-3, 1e-2, 3e-2]}
  weight_decay: {values: [0.1, 1]}
  dropout: {values: [0, 0.2]}
  num_steps: {value: 300}
trial: {eval_interval: 20, checkpoint_interval: 60, threshold: 1.0, sustain: 100}
"""
)


def write(folder: Path, text: str = GRID, **replaced: str) -> Path:
    for old, new in replaced.items():
        assert old in text
        text = text.replace(old, new)
    path = folder / "tiny.yaml"
    path.write_text(text)
    return path


def trials(out: Path) -> pa.Table:
    """The trials without what depends on the clock."""
    return read_trials(SweepFolder.open(out)).drop_columns(["wall_time_s"])


def curves(out: Path) -> pa.Table:
    """The curves without what depends on the clock or on how often a trial was restarted."""
    return read_curves(SweepFolder.open(out)).drop_columns(["wall_time_s", "attempt"])


def events(out: Path, kind: str) -> list[dict]:
    return [e for chunk in SweepFolder.open(out).reader().chunks() for e in chunk if e["event"] == kind]


def check_every_trial_ended_once(out: Path, expected: int) -> None:
    ended = [e["trial_id"] for e in events(out, "end")]
    assert len(ended) == len(set(ended)) == expected
    table = trials(out)
    assert table.num_rows == expected
    assert set(table["state"].to_pylist()) == {"ended"}


def check_little_was_computed_twice(out: Path, interval: int) -> None:
    """Each restart went on at most one checkpoint interval before what had been measured until then: an engine that
    nobody listens to any more may measure for a while longer, and finish trials."""
    by_trial: dict[str, list[dict]] = {}
    for e in events(out, "start"):
        by_trial.setdefault(e["trial_id"], []).append(e)
    measured: dict[str, list[dict]] = {}
    for e in events(out, "measurement"):
        measured.setdefault(e["trial_id"], []).append(e)
    for trial_id, starts in by_trial.items():
        for start in starts:
            earlier = [m for m in measured.get(trial_id, []) if m["attempt"] < start["attempt"] and m["t"] < start["t"]]
            assert start["step"] >= max((m["step"] for m in earlier), default=0) - interval, (start, earlier[-5:])
