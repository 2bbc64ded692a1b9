"""Nanda et al. 2023's progress measures along the checkpoints that were kept of a trial."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from grokray.errors import ConfigError, Problem
from grokray.sweep.kept import kept_checkpoints

if TYPE_CHECKING:
    import pandas as pd
    from torch import Tensor

    from grokray.engine.restored import Restored
    from grokray.engine.waves import Answers

SHARE = 0.95
ROWS = 4096  # of a pass through the model


@dataclass(frozen=True, eq=False)
class ProgressMeasures:
    """`frequencies` are the key frequencies, of 1 … `order` // 2. `table` has a row for each checkpoint, by step:

    train_loss, heldout_loss  of the trial's own loss function, the mean over pairs
    restricted_loss           of all pairs, from what the key frequencies make of the logits, with each token's mean
    excluded_loss             of the training pairs, from what the key frequencies leave of the logits
    key_share                 what the key frequencies explain of the logits' variance among pairs
    """

    trial_id: str
    frequencies: tuple[int, ...]
    order: int
    table: pd.DataFrame

    def __repr__(self) -> str:
        of = f"trial {self.trial_id} at {len(self.table)} checkpoints"
        return f"<progress measures of {of}, key frequencies {list(self.frequencies)}>"


def progress_measures(
    path: str | Path, *, trial: str | None = None, frequencies: Sequence[int] | None = None, share: float = SHARE
) -> ProgressMeasures:
    """How far a circuit of few frequencies has formed, see docs/progress.md.

    `path` is the folder or URI of a sweep or of one trial, `trial` the id, or how it begins; `keep_checkpoints: all`
    keeps what is needed. Key frequencies are `frequencies`, or else the fewest that explain `share` of what all
    frequencies explain of the last checkpoint's logits. Raises ConfigError for a task without such frequencies, and
    for frequencies that it does not have; CheckpointError where no checkpoint was kept, or one is damaged.
    """
    import pandas as pd

    from grokray.engine.restored import restored
    from grokray.engine.waves import answers_of, key_frequencies, powers_of

    if not 0 < share <= 1:
        raise ConfigError([Problem(message=f"share is {share:g}, but must be in (0, 1]")])
    at_steps = kept_checkpoints(str(path), trial=trial)
    last = restored(at_steps[-1]())
    answers = answers_of(last.dataset)
    if frequencies is None:
        found = key_frequencies(powers_of(_logits(last, answers), answers), share)
    else:
        found = _checked(frequencies, answers.order)
    rows = [_row(restored(load()), answers, found) for load in at_steps]
    return ProgressMeasures(last.checkpoint.trial_id, found, answers.order, pd.DataFrame(rows))


def _checked(frequencies: Sequence[int], order: int) -> tuple[int, ...]:
    for k in frequencies:
        if isinstance(k, bool) or not isinstance(k, int) or not 1 <= k <= order // 2:
            message = f"frequencies has {k!r}, but they are whole numbers from 1 to {order // 2}"
            raise ConfigError([Problem(message=message)])
    if not frequencies:
        raise ConfigError([Problem(message="frequencies is empty, but must have one at least")])
    return tuple(sorted(set(frequencies)))


def _row(trained: Restored, answers: Answers, frequencies: tuple[int, ...]) -> dict[str, float]:
    import torch

    from grokray.engine.loss import answer_losses
    from grokray.engine.waves import parts_of, powers_of

    table, split = trained.dataset.table, trained.dataset.split
    logits, right = _logits(trained, answers), table.targets[answers.rows, 0]
    restricted, excluded = parts_of(logits, answers, frequencies)
    train = torch.isin(answers.rows, split.train)

    def loss(logits: Tensor, counted: Tensor) -> float:
        return answer_losses(logits[counted], right[counted], trained.config.loss).mean().item()

    everything = torch.ones_like(train)
    variance = (logits - logits.mean(0)).square().sum()
    return {
        "step": trained.step,
        "train_loss": loss(logits, train),
        "heldout_loss": loss(logits, ~train),
        "restricted_loss": loss(restricted, everything),
        "excluded_loss": loss(excluded, train),
        "key_share": (powers_of(logits, answers)[list(frequencies)].sum() / variance).item(),
    }


def _logits(trained: Restored, answers: Answers) -> Tensor:
    """(n, vocabulary_size) float64, at the answer."""
    import torch

    tokens = trained.dataset.table.tokens[answers.rows]
    with torch.no_grad():
        return torch.cat([trained.model(some)[:, -1].double() for some in tokens.split(ROWS)])
