"""What configurations are worth to the search. The proposer is told once the last trial of one has ended."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from grokray.sweep.config import SweepConfig
from grokray.sweep.objective import values_of_configuration, values_of_trial
from grokray.sweep.proposer import Proposer

Values = tuple[float, ...]  # one for each metric


class Worth:
    def __init__(self, config: SweepConfig, proposer: Proposer) -> None:
        self._config, self._proposer, self._max_steps = config, proposer, config.max_steps()
        self._of_trials: dict[int, list[Values]] = {}  # of configurations that have begun to end
        self._of: dict[int, Values] = {}  # of those that have ended
        self._repeats: dict[int, list[int]] = {}  # configuration -> later proposals that equal it

    def count(
        self,
        index: int,
        outcome: str,
        *,
        trials: int,
        metrics: Mapping[str, float | None],
        events: Mapping[str, Any],
    ) -> None:
        """One of so many `trials` of configuration `index` has ended; `metrics` and `events` are its last ones."""
        values = values_of_trial(
            self._config.metrics,
            max_steps=self._max_steps,
            metrics=metrics,
            events=events,
            ran=outcome not in ("diverged", "failed"),
            stopped=outcome == "pruned",
        )
        known = self._of_trials.setdefault(index, [])
        known.append(values)
        if len(known) == trials:
            self._of[index] = values_of_configuration(self._config.metrics, self._of_trials.pop(index))
            for told in [index, *self._repeats.pop(index, [])]:
                self._proposer.tell(told, self._of[index])

    def repeat(self, index: int, twin: int) -> None:
        """A proposal is worth what the earlier one is that it equals."""
        value = self._of.get(twin)
        if value is None:
            self._repeats.setdefault(twin, []).append(index)
        else:
            self._proposer.tell(index, value)

    def refuse(self, index: int) -> None:
        """A configuration that cannot be is worth as little as one that fails."""
        worst = values_of_trial(self._config.metrics, max_steps=self._max_steps, metrics={}, events={}, ran=False)
        self._proposer.tell(index, worst)
