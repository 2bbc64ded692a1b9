"""The tensors that hold the trials of a stack: row k of each belongs to the trial in slot k.

Rows are kept packed: the trials that train fill the first slots, parked ones follow, free ones come last. A step runs
on neighbouring rows of every tensor, which are contiguous, so nothing is copied between steps.
"""

from __future__ import annotations

import torch
from torch import Tensor

from grokray.engine.checkpoint import KINDS
from grokray.engine.measures import OF_THE_STEP
from grokray.engine.optimizer import PART_RATES
from grokray.engine.shape import ShapeKey
from grokray.trial import MODEL_PARTS, TrialConfig

# Numbers of a TrialConfig that each slot has for itself.
SETTINGS = (
    *("learning_rate", "weight_decay", "beta1", "beta2", "epsilon", "warmup_steps", "num_steps"),
    *("dropout", "weight_noise", "input_noise", "gradient_noise", "grokfast_alpha", "grokfast_lambda"),
)
# And those that stand for its learning_rate_schedule: the share of the rate that is lost in the end, and 0 or 1.
SCHEDULE = ("learning_rate_fall", "cosine")


def settings_of(shape: ShapeKey, config: TrialConfig) -> dict[str, float]:
    """The values of SETTINGS and SCHEDULE, and of PART_RATES where the shape has them."""
    schedule = config.learning_rate_schedule
    fall = 0.0 if schedule == "constant" else 1 - config.learning_rate_end
    return {
        **{name: getattr(config, name) for name in SETTINGS},
        **dict(zip(SCHEDULE, (fall, float(schedule == "cosine")), strict=True)),
        **(_part_rates(config) if shape.rates_by_part else {}),
    }


def _part_rates(config: TrialConfig) -> dict[str, float]:
    """A part that is frozen has a learning rate of 0."""
    frozen = (config.frozen_parts or "").split(",")
    rates = {part: (config.learning_rate, config.weight_decay) for part in MODEL_PARTS}
    rate, decay = config.embedding_learning_rate, config.embedding_weight_decay
    rates["embeddings"] = (
        config.learning_rate if rate is None else rate,
        config.weight_decay if decay is None else decay,
    )
    both = [(0.0 if part in frozen else rate, decay) for part, (rate, decay) in rates.items()]
    return dict(zip(PART_RATES, (number for one in both for number in one), strict=True))


def states_of(shape: ShapeKey) -> tuple[str, ...]:
    """The kinds of tensors that a trial goes on from, each as large as its parameters."""
    return KINDS if shape.averages_gradients else tuple(kind for kind in KINDS if kind != "average")


class Slots:
    """Room for `capacity` trials; `reserve` doubles it. Shapes:

    parameters, moment1, moment2 (capacity, row_size) of the shape's dtype, and average, the gradients' moving average,
    where the shape filters them · SETTINGS, SCHEDULE, active, OF_THE_STEP (capacity,) float64, and PART_RATES where
    the shape has them · steps_before (capacity,) float64:
    updates of which the moments were there before the trial's first · step, rows, first_bad (capacity,) int32: updates
    done, training rows, the first update whose loss was not finite (−1: none) ·
    key (capacity, 2) int32: of dropout and noise · order (capacity, max_rows) int32: this epoch's training rows in
    their order · prefixes (capacity, batch_sharing.prefixes) int32: rows that begin with each prefix, where batches
    share them.
    """

    def __init__(self, shape: ShapeKey, device: torch.device) -> None:
        self.capacity, self.max_rows, self.device = 0, 1, device
        row, dtype = (shape.layout.row_size,), shape.torch_dtype
        self.states = states_of(shape)
        kinds = {
            **dict.fromkeys(self.states, (row, dtype)),
            **dict.fromkeys((*SETTINGS, *SCHEDULE, "active", "steps_before", *OF_THE_STEP), ((), torch.float64)),
            **dict.fromkeys(PART_RATES if shape.rates_by_part else (), ((), torch.float64)),
            "step": ((), torch.int32),
            "rows": ((), torch.int32),
            "first_bad": ((), torch.int32),
            "key": ((2,), torch.int32),
            "order": ((1,), torch.int32),
        }
        if shape.batch_sharing.length:
            kinds["prefixes"] = ((shape.batch_sharing.prefixes,), torch.int32)
        # Another dictionary whenever one of them is replaced: what was recorded on them is outdated then.
        self.tensors = {n: torch.zeros((0, *dims), dtype=t, device=device) for n, (dims, t) in kinds.items()}

    def __getattr__(self, name: str) -> Tensor:
        try:
            return self.__dict__["tensors"][name]
        except KeyError:
            raise AttributeError(name) from None

    def span(self, first: int, width: int) -> dict[str, Tensor]:
        """Views of `width` slots."""
        return {name: t[first : first + width] for name, t in self.tensors.items()}

    @property
    def slot_bytes(self) -> int:
        """What one slot holds."""
        return sum(t.element_size() * t.shape[1:].numel() for t in self.tensors.values())

    def reserve(self, slots: int, rows: int) -> None:
        """Make room for so many slots and training rows; what is there keeps its place."""
        if rows > self.max_rows:
            self.max_rows = rows
            old = self.tensors["order"]
            wider = torch.zeros((self.capacity, rows), dtype=old.dtype, device=old.device)
            wider[:, : old.shape[1]] = old
            self.tensors = {**self.tensors, "order": wider}
        if slots > self.capacity:
            new = 1 << (slots - 1).bit_length()
            grown = {}
            for name, old in self.tensors.items():
                grown[name] = torch.zeros((new, *old.shape[1:]), dtype=old.dtype, device=old.device)
                grown[name][: self.capacity] = old
            self.tensors, self.capacity = grown, new

    def clear(self, slot: int) -> None:
        for t in self.tensors.values():
            t[slot].zero_()

    def swap(self, a: int, b: int) -> None:
        if a != b:
            for t in self.tensors.values():  # row by row: a list of slots would be copied to a GPU, and waited for
                kept = t[a].clone()
                t[a].copy_(t[b])
                t[b].copy_(kept)
