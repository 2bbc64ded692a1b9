"""What the Parquet files hold: one row a trial in `trials.parquet`, one row a measurement in `curves/`."""

from __future__ import annotations

import types
from collections.abc import Iterable
from typing import Any, Literal, Union, get_args, get_origin

import pyarrow as pa

from grokray.trial import PARTS, TrialConfig

# Raise it when a reader of the older files would misread the new ones.
SCHEMA_VERSION = 1
METADATA = {b"grokray.schema_version": str(SCHEMA_VERSION).encode()}

METRICS = tuple(f"{part}_{metric}" for part in PARTS for metric in ("loss", "token_accuracy", "exact_match"))
_TYPES = {str: pa.string(), int: pa.int64(), float: pa.float64(), bool: pa.bool_()}


def arrow_field(name: str, annotation: Any) -> pa.Field:
    """`int | None` → nullable int64; `Literal["pre", "post"]` → string; `tuple[str, ...]` → list of string. TypeError
    for what is none of these."""
    if annotation == tuple[str, ...]:
        return pa.field(name, pa.list_(pa.string()), nullable=False)
    options = get_args(annotation) if get_origin(annotation) in (Union, types.UnionType) else (annotation,)
    given = [option for option in options if option is not type(None)]
    plain = {type(value) for value in get_args(given[0])} if get_origin(given[0]) is Literal else {given[0]}
    if len(given) != 1 or len(plain) != 1 or not plain <= _TYPES.keys():
        raise TypeError(f"{name} has type {annotation}, but must be str, int, float, bool, a Literal, or one or None")
    return pa.field(name, _TYPES[plain.pop()], nullable=len(given) < len(options))


def curves_schema(extra_metrics: Iterable[str] = ()) -> pa.Schema:
    """The schema of curves that also hold other metrics than METRICS, such as those of single tasks."""
    extra = sorted(set(extra_metrics) - set(METRICS) - {name for name, *_ in _CURVE_KEYS} - {"wall_time_s"})
    fields = [pa.field(name, kind, nullable=False) for name, kind in _CURVE_KEYS]
    fields += [pa.field(name, pa.float64()) for name in (*METRICS, *extra, "wall_time_s")]
    return pa.schema(fields, metadata=METADATA)


_CURVE_KEYS = (
    ("trial_id", pa.string()),
    ("trial_index", pa.int64()),
    ("attempt", pa.int64()),
    ("step", pa.int64()),
)
CURVES_SCHEMA = curves_schema()
# A multitask trial's measurements, task by task, in long form: one row a number.
TASK_CURVES_SCHEMA = pa.schema(
    [
        *(pa.field(name, kind, nullable=False) for name, kind in _CURVE_KEYS),
        pa.field("task", pa.string(), nullable=False),
        pa.field("metric", pa.string(), nullable=False),
        pa.field("value", pa.float64()),
    ],
    metadata=METADATA,
)

_EVENT_FIELDS = [
    # Steps of the events; each lies in (its _lower, itself].
    pa.field("memorization_step", pa.int64()),
    pa.field("memorization_step_lower", pa.int64()),
    pa.field("grok_step", pa.int64()),
    pa.field("grok_step_lower", pa.int64()),
    pa.field("grok_delay", pa.int64()),
    pa.field("ungrok_step", pa.int64()),
    # For survival analysis: steps to grokking, or to the last evaluation where it was not seen.
    pa.field("duration_steps", pa.int64(), nullable=False),
    pa.field("event_observed", pa.bool_(), nullable=False),
    pa.field("censor_reason", pa.string()),  # null where observed; `running` while unfinished
]
# One row for each task of a multitask trial.
TASKS_SCHEMA = pa.schema(
    [
        pa.field("trial_id", pa.string(), nullable=False),
        pa.field("trial_index", pa.int64(), nullable=False),
        pa.field("task", pa.string(), nullable=False),
        pa.field("phase", pa.string()),
        *_EVENT_FIELDS,
        *(pa.field(f"final_{name}", pa.float64()) for name in METRICS),
    ],
    metadata=METADATA,
)

CONFIG_FIELDS = tuple(TrialConfig.model_fields)
TRIALS_SCHEMA = pa.schema(
    [
        pa.field("trial_id", pa.string(), nullable=False),
        pa.field("trial_index", pa.int64(), nullable=False),
        pa.field("configuration", pa.int64(), nullable=False),
        pa.field("seed", pa.int64()),
        pa.field("state", pa.string(), nullable=False),  # waiting, running, ended
        pa.field("outcome", pa.string()),  # null while unfinished
        pa.field("phase", pa.string()),
        *_EVENT_FIELDS,
        # When the scheduler first wanted to stop it; whether it ran on all the same, and how likely that was.
        pa.field("stop_step", pa.int64()),
        pa.field("audited", pa.bool_(), nullable=False),
        pa.field("audit_probability", pa.float64()),  # null where the scheduler never wanted to stop it
        pa.field("steps_trained", pa.int64(), nullable=False),
        pa.field("wall_time_s", pa.float64()),
        pa.field("compiled", pa.bool_()),  # null before it started
        *(arrow_field(name, info.annotation) for name, info in TrialConfig.model_fields.items()),
        *(pa.field(f"final_{name}", pa.float64()) for name in METRICS),
        pa.field("best_heldout_exact_match", pa.float64()),
        pa.field("best_heldout_exact_match_step", pa.int64()),
        pa.field("best_heldout_loss", pa.float64()),
        pa.field("error", pa.string()),
        pa.field("grokray_version", pa.string()),
        pa.field("torch_version", pa.string()),
        pa.field("ray_version", pa.string()),
    ],
    metadata=METADATA,
)
