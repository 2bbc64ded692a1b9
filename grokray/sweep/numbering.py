"""The numbers of a sweep's trials: a new one has the next, and one that the journal has keeps its own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from grokray.records.trial_state import TrialState


class Numbering:
    def __init__(self) -> None:
        self._next = 0
        self._taken: set[int] = set()  # while the journal is replayed
        self._before: dict[int, int] = {}  # then, by seed, the number of the last one that was known

    def replay_begins(self, trials: Mapping[str, TrialState]) -> None:
        """`trials` are those of the journal."""
        self._taken = {trial.index for trial in trials.values() if trial.index is not None}
        self._next = 1 + max(self._taken, default=-1)

    def replay_ends(self) -> None:
        self._taken, self._before = set(), {}

    def new(self, seeds: Iterable[int]) -> dict[int, int]:
        """The next ones, by seed."""
        numbers = {seed: self._next + place for place, seed in enumerate(seeds)}
        self._next += len(numbers)
        return numbers

    def known(self, ids: Mapping[int, str], trials: Mapping[str, TrialState]) -> dict[int, int]:
        """By seed, in their order, of a configuration's trials those that the journal has, or had: one whose line was
        damaged has left the number free that its place among the others tells, or, where its seed came late, that comes
        after its seed's last one. One of a later seed has none. `ids` are those of all its trials."""
        numbers = {seed: trials[trial_id].index for seed, trial_id in ids.items() if trial_id in trials}
        first = next(
            (number - place for place, seed in enumerate(ids) if (number := numbers.get(seed)) is not None), None
        )
        if first is None:
            return {}
        for place, seed in enumerate(ids):
            if seed not in numbers:
                numbers[seed] = self._take_free(first + place, self._before.get(seed, -2) + 1)
        found = sorted((number, seed) for seed, number in numbers.items() if number is not None)
        self._before |= {seed: number for number, seed in found}
        return {seed: number for number, seed in found}

    def _take_free(self, *numbers: int) -> int | None:
        """The first of them that is."""
        free = next((n for n in numbers if 0 <= n < self._next and n not in self._taken), None)
        self._taken |= set() if free is None else {free}
        return free
