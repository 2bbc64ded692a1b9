"""Grok steps that were lost with a damaged line of the journal, told by where the trial ended.

A trial without `continue_training` ends at the measurement that makes its grokking certain: the last of `sustain` in a
row, which are `eval_interval` apart. So its grok step is that of the first of them, and its lower end the one before.
One with `continue_training` has its step in every later line, and may have grokked at any time where it is lost.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from grokray.analysis.outcomes import column


def with_lost_steps(trials: pa.Table) -> tuple[pa.Table, int]:
    """TRIALS_SCHEMA with the steps that can be told, and of how many trials they are.

    A worked example: ended as grokked at step 2,600, sustain 3, eval_interval 100 → grok_step 2400, grok_step_lower
    2300.
    """
    lost = (column(trials, "outcome") == "grokked") & np.isnan(column(trials, "grok_step"))
    lost &= column(trials, "continue_training") != 1
    # Without the line that ended it, nothing says where that was.
    lost &= column(trials, "steps_trained") > column(trials, "duration_steps")
    if not lost.any():
        return trials, 0
    interval = column(trials, "eval_interval")
    # The last measurement of a budget may come before the interval is over.
    number = np.ceil(column(trials, "steps_trained") / interval) - (column(trials, "sustain") - 1)
    step = np.maximum(number, 1) * interval
    told = {
        "grok_step": step,
        "grok_step_lower": step - interval,
        "grok_delay": step - column(trials, "memorization_step"),
        "duration_steps": step,
        "event_observed": np.ones(len(step)),
    }
    for name, values in told.items():
        trials = _with(trials, name, np.where(lost, values, column(trials, name)))
    reason = column(trials, "censor_reason")
    reason[lost] = None
    return _with(trials, "censor_reason", reason), int(lost.sum())


def _with(trials: pa.Table, name: str, values: np.ndarray) -> pa.Table:
    field = trials.schema.field(name)
    return trials.set_column(
        trials.schema.get_field_index(name), field, pa.array(values, from_pandas=True).cast(field.type)
    )
