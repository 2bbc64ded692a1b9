"""Tune pickles its searcher, callbacks and stopper into snapshots. Ours hold open files, and the journal is the
truth."""

from __future__ import annotations

from typing import Any


class Unsaved:
    """Pickles as a mere note that it was here."""

    def __reduce__(self) -> tuple[Any, ...]:
        return str, (f"{type(self).__name__} is not saved: grokray resumes from its journal",)
