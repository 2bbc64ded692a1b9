"""Nanda et al. 2023's progress measures along the checkpoints that were kept of a trial."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from numbers import Integral, Real
from pathlib import Path
from typing import TYPE_CHECKING

from grokray.arguments import refused
from grokray.errors import CheckpointError, ConfigError, Problem
from grokray.sweep.kept import kept_checkpoints
from grokray.wording import count

if TYPE_CHECKING:
    import pandas as pd
    from torch import Tensor

    from grokray.engine.checkpoint import Checkpoint
    from grokray.engine.restored import Restored
    from grokray.engine.waves import Answers

SHARE = 0.95
ROWS = 4096  # of a pass through the model
ROUNDING = 1e-25  # of the logits' squares: what varies by less does not


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
        of = f"trial {self.trial_id} at {count(len(self.table), 'checkpoint')}"
        return f"<progress measures of {of}, key frequencies {list(self.frequencies)}>"


def progress_measures(
    path: str | Path,
    *,
    trial: str | None = None,
    frequencies: Sequence[int] | None = None,
    share: float | None = None,
) -> ProgressMeasures:
    """How far a circuit of few frequencies has formed, see docs/progress.md.

    `path` is the folder or URI of a sweep or of one trial, `trial` the id, or how it begins; `keep_checkpoints: all`
    keeps what is needed. Key frequencies are `frequencies`, or else the fewest that explain `share`, 0.95 if not given,
    of what all frequencies explain of the logits at the last checkpoint at which they are numbers. Raises ConfigError
    for a task without such frequencies, or frequencies that it does not have; CheckpointError where no checkpoint was
    kept, one is damaged, or none has a frequency that explains anything; FolderError for a folder that is no sweep's.
    """
    import pandas as pd

    from grokray.engine.waves import answers_of

    _check(frequencies, share)
    at_steps = kept_checkpoints(path, trial=trial)
    newest_first = _loaded(reversed(at_steps))
    newest = next(newest_first, None)
    if newest is None:
        raise CheckpointError(f"the checkpoints in {path} are gone")
    answers = answers_of(newest.dataset)
    if frequencies is not None:
        found = _checked(frequencies, answers.order)
    else:
        found = _found(chain([newest], newest_first), answers, SHARE if share is None else share)
    rows = [_row(trained, answers, found) for trained in _loaded(at_steps)]
    return ProgressMeasures(newest.checkpoint.trial_id, found, answers.order, pd.DataFrame(rows))


def _loaded(loads: Iterable[Callable[[], Checkpoint | None]]) -> Iterator[Restored]:
    from grokray.engine.restored import restored

    for load in loads:
        if (checkpoint := load()) is not None:
            yield restored(checkpoint)


def _check(frequencies: Sequence[int] | None, share: float | None) -> None:
    """What can be seen before a checkpoint is read."""
    if share is not None and frequencies is not None:
        message = "share finds the frequencies, so no frequencies may stand beside it"
        raise ConfigError([Problem(message=message, field="share")])
    if share is not None and not (isinstance(share, Real) and 0 < share <= 1):
        raise refused("share", share, "must be in (0, 1]")
    if isinstance(frequencies, str) or not (frequencies is None or isinstance(frequencies, Collection)):
        raise refused("frequencies", frequencies, "must be a list of whole numbers")


def _checked(frequencies: Sequence[int], order: int) -> tuple[int, ...]:
    for k in frequencies:
        if isinstance(k, bool) or not isinstance(k, Integral) or not 1 <= k <= order // 2:
            message = f"frequencies has {k}, but they are whole numbers from 1 to {order // 2}"
            raise ConfigError([Problem(message=message, field="frequencies")])
    if not len(frequencies):
        message = "frequencies is empty, but must have one at least"
        raise ConfigError([Problem(message=message, field="frequencies")])
    return tuple(sorted({int(k) for k in frequencies}))


def _found(newest_first: Iterable[Restored], answers: Answers, share: float) -> tuple[int, ...]:
    from grokray.engine.waves import Sums, key_frequencies, powers_of

    for trained in newest_first:
        sums = Sums(answers.order)
        for at, logits in _together(trained, answers.rows, answers.at):
            sums.add(at, logits)
        if found := key_frequencies(powers_of(sums.means().of_answer), share):
            return found
    raise CheckpointError("at no checkpoint does any frequency explain anything of the logits")


def _row(trained: Restored, answers: Answers, frequencies: tuple[int, ...]) -> dict[str, float]:
    import torch

    from grokray.engine.loss import answer_losses
    from grokray.engine.waves import Sums, powers_of, waves_of

    loss, right = trained.config.loss, trained.dataset.table.targets[answers.rows, 0]
    train = torch.isin(answers.rows, trained.dataset.split.train)
    sums, losses = Sums(answers.order), []
    for at, wanted, logits in _together(trained, answers.rows, answers.at, right):
        sums.add(at, logits)
        losses.append(answer_losses(logits, wanted, loss))
    means, of_pairs = sums.means(), torch.cat(losses)
    waves = waves_of(means.of_answer, frequencies)
    # The waves are the same for all pairs of an answer, and each answer has as many.
    right_of_answer = right.new_empty(answers.order).scatter_(0, answers.at, right)
    restricted = answer_losses(means.of_answer.mean(0) + waves, right_of_answer, loss)
    excluded = torch.cat(
        [
            answer_losses(logits - waves[at], wanted, loss)
            for at, wanted, logits in _together(trained, answers.rows[train], answers.at[train], right[train])
        ]
    )
    of_key = powers_of(means.of_answer)[list(frequencies)].sum().item()
    return {
        "step": trained.step,
        "train_loss": of_pairs[train].mean().item(),
        "heldout_loss": of_pairs[~train].mean().item(),
        "restricted_loss": restricted.mean().item(),
        "excluded_loss": excluded.mean().item(),
        "key_share": of_key / means.variance if means.variance > ROUNDING * means.squares else math.nan,
    }


def _together(trained: Restored, rows: Tensor, *others: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """Of some rows at a time: `others`, each (n,), and the logits at the answer, (n, vocabulary_size) float64."""
    import torch

    tokens = trained.dataset.table.tokens
    for some, *beside in zip(rows.split(ROWS), *(other.split(ROWS) for other in others), strict=True):
        with torch.no_grad():
            logits = trained.model(tokens[some])[:, -1].double()
        yield *beside, logits
