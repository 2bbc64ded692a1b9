"""How often a trial may still fail.

A trial's own error counts against it. The death of an engine hits all its tenants, of whom at most one is to blame:
it counts only against those that made no progress since the last time, and a trial that was there twice in a row is
retried on an engine apart from the rest, where it can take nobody down with it.
"""

from __future__ import annotations

from dataclasses import dataclass

SUSPECT_AFTER = 2


@dataclass(kw_only=True)
class _Record:
    strikes: int = 0
    engine_strikes: int = 0
    progress: int = -1
    error: str = ""


class Faults:
    def __init__(self, *, retries: int) -> None:
        self.retries = retries
        self._records: dict[str, _Record] = {}

    def count(self, trial_id: str, error: str, *, fault: str, started: bool, progress: int) -> None:
        """`fault` is `trial` for the trial's own error, `engine` or `node` for a death; `progress` is its last step.

        A trial that was still waiting for its seat when the engine died is not to blame.
        """
        record = self._records.setdefault(trial_id, _Record())
        record.error = error
        if fault == "trial":
            record.strikes += 1
        elif started:
            if progress > record.progress >= 0:
                record.engine_strikes = 0
            record.engine_strikes += 1
        record.progress = max(record.progress, progress)

    def given_up(self, trial_id: str) -> str | None:
        """Why the trial is not tried again; None if it is."""
        record = self._records.get(trial_id)
        if record is None or max(record.strikes, record.engine_strikes) <= self.retries:
            return None
        return record.error

    def suspect(self, trial_id: str) -> bool:
        """Whether the trial shall be retried apart from the rest."""
        record = self._records.get(trial_id)
        return record is not None and record.engine_strikes >= SUSPECT_AFTER
