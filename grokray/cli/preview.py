"""What a sweep would do, found out without doing it: no Ray, no folder, nothing trained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

from grokray.sweep.config import SweepConfig
from grokray.trial import TrialConfig

if TYPE_CHECKING:
    from grokray.engine.shape import ShapeKey

FIRST = 5
SAMPLED = 64  # configurations whose shapes are looked at
ROWS_OF_STATE = 3  # a slot's weights and two moments; a gradient filter adds one
# What a stack's shape depends on; of a grid all combinations of these are looked at.
SHAPING = (
    *("operation", "task_type", "base", "digit_order", "fixed_sequence_length", "modulus", "prime", "operand_limit"),
    *("operand_limit_out", "max_bit_length_train", "max_bit_length_val_out", "num_layers", "dim_model", "num_heads"),
    *("list_length", "label_noise"),
    *("data_dir", "data", "arc_subset", "arc_tasks", "arc_max_cells", "arc_context", "arc_holdout"),
    *("norm", "batch_size", "dtype", "precision", "accumulation_steps", "optimizer", "loss", "gradient_filter"),
)


@dataclass(frozen=True, kw_only=True)
class ShapePreview:
    """Trials of one shape share a stack. Sizes in bytes: `slot_bytes` of each trial, `table_bytes` shared by all."""

    shape: ShapeKey
    slot_bytes: int
    table_bytes: int


@dataclass(frozen=True, kw_only=True)
class Preview:
    """`first` are configurations by their parameters' names, without those that are absent; `most_steps` is what
    all trials take together if none ends early; `shapes` are of `sampled` configurations, perhaps not all of them."""

    configurations: int
    trials: int
    first: tuple[dict[str, Any], ...]
    shapes: tuple[ShapePreview, ...]
    sampled: int
    all_shapes: bool
    most_steps: int
    rungs: tuple[int, ...]


def preview(config: SweepConfig) -> Preview:
    """Raises ConfigError where the search proposes a trial that cannot be."""
    configurations = config.num_configurations()
    first = _proposals(config, min(FIRST, configurations))
    sample = _sample(config, configurations)
    return Preview(
        configurations=configurations,
        trials=configurations * len(config.seeds),
        first=tuple(first),
        shapes=_shapes([config.trial_config(choice, config.seeds[0]) for choice in sample]),
        sampled=len(sample),
        all_shapes=len(sample) < SAMPLED if config.method == "grid" else len(sample) >= configurations,
        most_steps=configurations * len(config.seeds) * config.max_steps(),
        rungs=config.scheduler.rungs(config.max_steps()),
    )


def _proposals(config: SweepConfig, number: int) -> list[dict[str, Any]]:
    from grokray.sweep.proposer import make_proposer

    proposer = make_proposer(config)
    proposals = (proposer.propose(index) for index in range(number))
    return [dict(proposer.choice(parameters)) for parameters in proposals if parameters is not None]


def _sample(config: SweepConfig, configurations: int) -> list[Mapping[str, Any]]:
    if config.method != "grid":
        return list(_proposals(config, min(SAMPLED, configurations)))
    needed = {*SHAPING} & config.parameters.keys()
    while parents := {parent for name in needed for parent in config.parameters[name].when} - needed:
        needed |= parents
    shaping = {name: p for name, p in config.parameters.items() if name in needed}
    fewer = config.model_copy(update={"parameters": shaping, "num_trials": None})
    return list(islice(fewer.grid(), SAMPLED)) if shaping else [{}]


def _shapes(configs: list[TrialConfig]) -> tuple[ShapePreview, ...]:
    from grokray.engine.shape import shape_of
    from grokray.tasks.dataset import build_dataset

    # One dataset for all trials that differ in what leaves the shape alone.
    distinct = {tuple(getattr(c, name, None) for name in SHAPING): c for c in configs}
    found: dict[ShapeKey, ShapePreview] = {}
    for config in distinct.values():
        dataset = build_dataset(config)
        shape = shape_of(dataset)
        rows = ROWS_OF_STATE + (shape.gradient_filter != "none")
        state = rows * shape.layout.row_size * shape.torch_dtype.itemsize
        known = found.get(shape)
        found[shape] = ShapePreview(
            shape=shape,
            slot_bytes=state,
            table_bytes=dataset.table.nbytes + (known.table_bytes if known else 0),
        )
    return tuple(found.values())
