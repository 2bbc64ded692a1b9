"""Label noise: some training rows ask for the whole answer of another one; nothing that is held out is touched.

A worked example, `x+y_mod` modulo 97: the row `8 + 5 =` asks for 13; noisy, it may ask for 40, the answer of `20 + 20`.
In a sequence the tokens that teacher forcing reads are those of the new answer too.

A trial with noise has a table of its own, in which these rows are rewritten. So what is called its training accuracy is
that on the noisy answers, which is what memorising means; and trials of one split and noise share a table as ever.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from grokray.tasks.sizes import training_count
from grokray.tasks.splits import Split
from grokray.tasks.tables import Table
from grokray.trial import TrialConfig

# Draws for a row before it keeps its own answer, since perhaps no other one is to be had.
TRIES = 256


@dataclass(frozen=True, eq=False)
class Noise:
    """`rows` (noisy,) int64 of a table, ascending, ask for the answers of `donors` (noisy,)."""

    rows: Tensor
    donors: Tensor


def noise_key(config: TrialConfig) -> tuple[object, ...]:
    """What shapes the noise beside the table's own key."""
    return "label_noise", config.label_noise, config.split_seed, config.training_fraction, config.split


def draw_noise(table: Table, split: Split, config: TrialConfig) -> Noise:
    """`label_noise` of each task's training rows, rounded down, with donors of another answer from the same task.

    From `split_seed` alone; a larger share of the same split only adds rows. A donor's answer fits into the row's
    length: in variable length, a long question gets no longer answer than there is room for.
    """
    generator = torch.Generator().manual_seed(_seed(config.split_seed))
    train = split.train.sort().values
    rows, donors = [], []
    for task in range(len(table.task_names)):
        of_task = train[table.task[train] == task]
        donor = _donors(table, of_task, generator)
        first = torch.randperm(len(of_task), generator=generator)
        first = first[: training_count(len(of_task), config.label_noise)]
        first = first[donor[first] >= 0].sort().values
        rows.append(of_task[first])
        donors.append(donor[first])
    return Noise(torch.cat(rows), torch.cat(donors))


def with_noise(table: Table, noise: Noise) -> Table:
    """The table with the answers of these rows replaced: tokens, positions, targets and z."""
    tokens, targets = table.tokens.clone(), table.targets.clone()
    equals_at = table.positions[noise.rows, :1]  # (noisy, 1)
    answer = targets[noise.donors]  # (noisy, answers)
    count = (answer >= 0).sum(1, keepdim=True)
    place = torch.arange(tokens.shape[1]) - equals_at - 1  # (noisy, length): which answer token stands there
    read = answer.gather(1, place.clamp(0, answer.shape[1] - 1))
    read = read.masked_fill(place >= count - 1, table.vocabulary.pad or 0).int()
    tokens[noise.rows] = torch.where(place < 0, tokens[noise.rows], read)
    targets[noise.rows] = answer
    positions = table.positions
    if not table.uniform:
        positions = positions.clone()
        positions[noise.rows] = equals_at + torch.arange(answer.shape[1]).minimum(count - 1)
    z = table.z
    if z is not None:
        z = z.index_copy(0, noise.rows, z[noise.donors])
    return replace(table, tokens=tokens, positions=positions, targets=targets, z=z)


def _donors(table: Table, rows: Tensor, generator: torch.Generator) -> Tensor:
    """For each of the rows (rows,) another one whose answer it may have, −1 where none was found."""
    counts = (table.targets >= 0).sum(1)
    room = table.tokens.shape[1] - table.positions[:, 0]
    donors, missing = torch.full_like(rows, -1), torch.arange(len(rows))
    for _ in range(TRIES):
        if not len(missing):
            break
        row = rows[missing]
        drawn = rows[torch.randint(len(rows), (len(missing),), generator=generator)]
        good = (counts[drawn] <= room[row]) & (table.targets[drawn] != table.targets[row]).any(1)
        donors[missing[good]] = drawn[good]
        missing = missing[~good]
    return donors


def _seed(split_seed: int) -> int:
    """Unlike that of the split, so that which rows are noisy is not a function of which are trained on."""
    digest = hashlib.sha256(f"label noise {split_seed}".encode()).digest()
    return int.from_bytes(digest[:7], "big")
