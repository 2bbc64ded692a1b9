"""What a finished trial is worth to the search: always a finite number.

A trial without the event that the search aims at is not left out, and does not count as its early value: it is worse
than any trial that had the event, and among such trials the held-out loss decides. Where budgets differ it counts as if
it had the largest one: by its own it would be better than who had the event later, and a search of `num_steps` would
look for trials too short to grok.

A configuration is worth the median over its seeds, but for robustness, which is the share of its seeds that grokked;
there the held-out loss decides between equal shares, and cannot outweigh one seed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from grokray.sweep.metrics import ROBUSTNESS
from grokray.sweep.sections import Metric

# A loss or an accuracy that nobody measured: worse than what any trial that was measured is likely to have.
WORST_LOSS = 1e3
EVENT_METRICS = ("grok_step", "memorization_step", "grok_delay")


def value_of_trial(
    metric: Metric,
    *,
    max_steps: int,
    metrics: Mapping[str, float | None],
    events: Mapping[str, Any],
    ran: bool,
    stopped: bool = False,
) -> float:
    """`metrics` and `events` are of the last measurement; `ran` is False for a diverged or failed trial.

    `max_steps` is the largest budget of the sweep's trials.

    `stopped` says that the trial was pruned: its value of a curve's metric is an early one, and does not count.

    A worked example, grok_step with max_steps 2,000: grokked at 800 → 800; not, held-out loss 1.0 → 3,000 (half way
    between 2,000 and 4,000); diverged → 4,000. Robustness: grokked, held-out loss 0.0 → 1.5; not, loss 1.0 → 0.25;
    diverged → 0.
    """
    if metric.name == ROBUSTNESS:
        loss = _squashed(metrics.get("heldout_loss")) if ran else 1.0
        return (events.get("grok_step") is not None) + (1 - loss) / 2
    if metric.name in EVENT_METRICS:
        event = _event(metric.name, events)
        if event is not None:
            return float(event)
        worst = 2.0 * max_steps if not ran else max_steps * (1 + _squashed(metrics.get("heldout_loss")))
        return worst if metric.goal == "minimize" else -worst
    value = metrics.get(metric.name)
    if ran and not stopped and value is not None and math.isfinite(value):
        return float(value)
    if metric.name.endswith("_loss"):
        return WORST_LOSS if metric.goal == "minimize" else -WORST_LOSS
    return 0.0 if metric.goal == "maximize" else 1.0


def values_of_trial(aims: Sequence[Metric], **trial: Any) -> tuple[float, ...]:
    """`value_of_trial` for each of the metrics."""
    return tuple(value_of_trial(metric, **trial) for metric in aims)


def value_of_configuration(values: Sequence[float], metric: Metric | None = None) -> float:
    """From those of its trials, one for each seed: the median, or for robustness the share that grokked.

    A worked example, robustness with three seeds of values 1.5, 1.25 and 0.25: two of three grokked, and of what the
    losses add, 1.0, a third counts for each of the three: 2/3 + 1.0/9 = 0.78, less than 1 whatever the losses.
    """
    if metric is None or metric.name != ROBUSTNESS:
        return median(values)
    grokked = sum(math.floor(value) for value in values)
    return grokked / len(values) + (sum(values) - grokked) / len(values) ** 2


def values_of_configuration(aims: Sequence[Metric], trials: Sequence[Sequence[float]]) -> tuple[float, ...]:
    """For each of the metrics; trials  # (seeds, metrics)"""
    return tuple(value_of_configuration(v, metric) for metric, v in zip(aims, zip(*trials, strict=True), strict=True))


def _event(name: str, events: Mapping[str, Any]) -> float | None:
    if name != "grok_delay":
        return events.get(name)
    grok, memorized = events.get("grok_step"), events.get("memorization_step")
    return None if grok is None or memorized is None else grok - memorized


def _squashed(loss: float | None) -> float:
    """A loss in [0, ∞) as a number in [0, 1); what is unknown or infinite is 1."""
    return loss / (1 + loss) if loss is not None and math.isfinite(loss) else 1.0
