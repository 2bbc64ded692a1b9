"""How often a trial may still fail.

A trial's own error counts against it. The death of a node counts against nobody, since spot instances are taken away;
nor does a folder that cannot be written, which ends the sweep (`searcher.py`). The death of an engine hits all its
tenants, of whom at most one is to blame: whoever was there at two deaths in a row, without progress in between, is
retried alone, on an engine of its own, and only deaths there count against it. Others wait for that engine, so who has
trained there well past where it was when the engines died is let back into company; a trial computes the same there.
Where it was the company that killed them, they die again: each time it has to come twice as far.
"""

from __future__ import annotations

from dataclasses import dataclass

SUSPECT_AFTER = 2


@dataclass(kw_only=True)
class _Record:
    own: int = 0
    alone: int = 0
    in_company: int = 0
    progress: int = 0
    cleared: int = 0
    error: str = ""


class Failures:
    def __init__(self, *, retries: int) -> None:
        self.retries = retries
        self._records: dict[str, _Record] = {}

    def count(self, trial_id: str, error: str, *, fault: str, started: bool, alone: bool, progress: int) -> None:
        """`fault` is `trial` for the trial's own error, `engine` or `node` for a death, `folder` where the folder
        could not be used; `progress` is the last step that was measured. `started` is False where the trial was still
        waiting for its seat: then it is not to blame. `alone`: it had no neighbours."""
        if fault in ("node", "folder") or (fault == "engine" and not started):
            return
        record = self._records.setdefault(trial_id, _Record())
        record.error = error
        if fault == "trial":
            record.own += 1
        elif alone:
            record.alone += 1
        else:
            if progress > record.progress:
                record.in_company = 0
            record.in_company += 1
        record.progress = max(record.progress, progress)

    def given_up(self, trial_id: str) -> str | None:
        """Why the trial is not tried again; None if it is."""
        record = self._records.get(trial_id)
        if record is None or max(record.own, record.alone) <= self.retries:
            return None
        return record.error

    def suspect(self, trial_id: str) -> bool:
        """Whether the trial shall be retried alone."""
        record = self._records.get(trial_id)
        return record is not None and record.in_company >= SUSPECT_AFTER

    def alone_until(self, trial_id: str, margin: int) -> int | None:
        """The step at which a suspect has shown that it is not to blame: `margin` steps past its last measurement
        before an engine died, of which a killed engine may have lost some. None for who is not suspect."""
        if not self.suspect(trial_id):
            return None
        record = self._records[trial_id]
        return record.progress + margin * 2**record.cleared

    def clear(self, trial_id: str) -> None:
        """A suspect has come so far alone: it is one no more."""
        record = self._records[trial_id]
        record.in_company, record.cleared = 0, record.cleared + 1
