"""Trials tables of known truth."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from grokray.records.schema import TRIALS_SCHEMA
from grokray.trial import TrialConfig

DEFAULTS = {name: info.get_default() for name, info in TrialConfig.model_fields.items()}


def trials_of(length: int, **columns) -> pa.Table:
    """TRIALS_SCHEMA, with any further columns: each a list, an array or one value for all rows.

    What is not given is filled in: the default config, one configuration a trial, grok_step null; the outcome follows
    from grok_step where it is not given.
    """
    given = {name: _whole(value, length) for name, value in columns.items()}
    index = np.arange(length)
    given.setdefault("trial_index", index)
    given.setdefault("configuration", given["trial_index"])
    given.setdefault("trial_id", [f"{number:016x}" for number in given["trial_index"]])
    steps = [None if step is None or np.isnan(step) else int(step) for step in given.get("grok_step", [None] * length)]
    given["grok_step"] = steps
    outcome = ["budget" if step is None else "grokked" for step in steps]
    given.setdefault("outcome", outcome)
    given.setdefault("event_observed", [step is not None for step in steps])
    for name, value in {"state": "ended", "duration_steps": 20_000, "steps_trained": 20_000}.items():
        given.setdefault(name, [value] * length)
    for name, value in DEFAULTS.items():
        given.setdefault(name, [value] * length)
    fields = {field.name: field.type for field in TRIALS_SCHEMA}
    empty = {name: [None] * length for name in fields if name not in given}
    return pa.table({name: pa.array(values, fields.get(name)) for name, values in {**given, **empty}.items()})


def grokking(happened, step: int = 1_000) -> list[int | None]:
    """grok_step of trials that grokked, or did not."""
    return [step if yes else None for yes in happened]


def _whole(value, length: int):
    if isinstance(value, list | np.ndarray):
        assert len(value) == length
        return value
    return [value] * length
