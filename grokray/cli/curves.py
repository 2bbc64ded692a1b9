"""Two curves side by side: the same, or where they part."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from grokray.cli.eval import first_difference
from grokray.sweep.measure_file import RESERVED

if TYPE_CHECKING:
    from grokray.records.folder import SweepFolder

# Step → metric → value; None where it is no number.
Curve = dict[int, dict[str, float | None]]


def curve_of(folder: SweepFolder, trial_id: str) -> Curve:
    """As the journal has it, by step. Of several attempts at one step the latest counts."""
    found: dict[int, tuple[int, dict[str, float | None]]] = {}
    for chunk in folder.reader().chunks():
        for event in chunk:
            if event["event"] == "measurement" and event["trial_id"] == trial_id:
                known = found.get(event["step"])
                if known is None or event["attempt"] >= known[0]:
                    found[event["step"]] = event["attempt"], _numbers(event)
    return {step: metrics for step, (_, metrics) in sorted(found.items())}


def parting(then: Curve, now: Curve, *, ended: bool) -> str | None:
    """Where `now` is first another than `then`: `step 120: heldout_loss is 1.5, was 1.25 (by 0.25)`; None if nowhere.

    `ended` says that the first one came to its own end, so that the second one must not go further either.
    """
    for step, metrics in then.items():
        if step not in now:
            return f"step {step:,}: it was measured then, but not now"
        if different := first_difference(*_comparable(metrics, now[step])):
            return f"step {step:,}: {' '.join(different)}"
    more = [step for step in now if step > max(then, default=0)]
    return f"step {more[0]:,}: it had ended before" if ended and more else None


def _comparable(then: Mapping[str, float | None], now: Mapping[str, float | None]) -> list[dict[str, float | None]]:
    """Without measures of the user's own that only one of them has: the file may have got others since."""
    own = {name for name in then.keys() ^ now.keys() if name not in RESERVED and " " not in name}
    return [{name: value for name, value in one.items() if name not in own} for one in (then, now)]


def _numbers(event: Mapping) -> dict[str, float | None]:
    tasks = {f"{task} {name}": v for task, metrics in (event.get("tasks") or {}).items() for name, v in metrics.items()}
    return {**event["metrics"], **tasks}
