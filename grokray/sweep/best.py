"""Which of a trial's measurements was the best: by held-out exact match, ties by held-out loss."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from grokray.engine.checkpoint import Checkpoint
from grokray.sweep.checkpoints import TrialCheckpoints


class Best:
    """Holds the best state in memory until `take`, so that one that is soon surpassed costs no file.

    Nothing is lost by that: who takes it whenever the trial's own state is saved finds the rest again on the way on.
    """

    def __init__(self, files: TrialCheckpoints) -> None:
        self._unsaved: Checkpoint | None = None
        known = files.best_so_far()
        self._rank = (-math.inf, -math.inf) if known is None else rank(known.metrics)

    def observe(self, metrics: Mapping[str, float], state: Callable[[], Checkpoint]) -> None:
        """`state()` is asked for only if the measurement is the best so far."""
        new = rank(metrics)
        if new > self._rank:
            self._rank, self._unsaved = new, state()

    def take(self) -> Checkpoint | None:
        """The best state if it is not yet on the disk; it is the caller's then."""
        unsaved, self._unsaved = self._unsaved, None
        return unsaved


def rank(metrics: Mapping[str, float]) -> tuple[float, float]:
    """More is better; what is no number is worst."""
    exact, loss = metrics.get("heldout_exact_match", math.nan), metrics.get("heldout_loss", math.nan)
    return (-math.inf if math.isnan(exact) else exact, -math.inf if math.isnan(loss) else -loss)
