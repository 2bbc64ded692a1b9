"""What a sweep would do, found out without doing it: no Ray, no folder, nothing trained."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from grokray.sweep.config import SweepConfig, as_shaping
from grokray.sweep.samples import LOOKED_AT, SAMPLED, SHAPE_AND_TABLES, proposals, sample_of_shapes
from grokray.trial import TrialConfig

if TYPE_CHECKING:
    from grokray.engine.shape import ShapeKey

FIRST = 5


@dataclass(frozen=True, kw_only=True)
class ShapePreview:
    """Trials of one shape share a stack. Sizes in bytes: `state_bytes` of each trial, `table_bytes` shared by all.
    `evaluated` is about the share of the time that the evaluations of such a trial take."""

    shape: ShapeKey
    state_bytes: int
    table_bytes: int
    evaluated: float


@dataclass(frozen=True, kw_only=True)
class SmallBatches:
    """Of `looked_at` configurations those whose epochs end with a batch of few rows: `number` of them; `last` is how
    many rows the smallest has, of `example`."""

    looked_at: int
    number: int = 0
    last: int = 0
    example: TrialConfig | None = None


@dataclass(frozen=True, kw_only=True)
class OwnMeasuresTaken:
    """Measures of the user's own, and how long taking them of the first trial takes, in seconds."""

    names: tuple[str, ...]
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Preview:
    """`first` are configurations of this part by their parameters' names, without those that are absent; `most_steps`
    is what all trials take together if none ends early; `shapes` are of `sampled` configurations, perhaps not all.
    `repeats` are configurations whose trials are those of an earlier one; 0 if there are too many to look, or tpe
    proposes them."""

    configurations: int
    trials: int
    first: tuple[dict[str, Any], ...]
    shapes: tuple[ShapePreview, ...]
    sampled: int
    all_shapes: bool
    most_steps: int
    rungs: tuple[int, ...]
    repeats: int
    small: SmallBatches
    own: OwnMeasuresTaken | None


def preview(config: SweepConfig) -> Preview:
    """Raises ConfigError where the search proposes a trial that cannot be."""
    configurations = config.num_configurations()
    first = proposals(config, min(FIRST, configurations))
    sample = sample_of_shapes(config)
    return Preview(
        configurations=configurations,
        trials=configurations * len(config.seeds),
        first=tuple(first),
        shapes=_shapes([config.trial_config(choice, config.seeds[0]) for choice in sample]),
        sampled=len(sample),
        all_shapes=len(sample) < SAMPLED if config.method == "grid" else len(sample) >= configurations,
        most_steps=_most_steps(config, configurations) * len(config.seeds),
        rungs=config.scheduler.rungs(config.max_steps()),
        repeats=_repeats(config, configurations),
        small=_small_batches(config, min(SAMPLED, configurations)),
        own=_own_measures(config, first[0]) if first else None,
    )


def _own_measures(config: SweepConfig, choice: dict[str, Any]) -> OwnMeasuresTaken | None:
    """Of what was tried out as the search space was loaded."""
    from grokray.sweep.inputs import measures_of
    from grokray.sweep.measure_file import measures_in

    if (measures := measures_of(config)) is None:
        return None
    from grokray.sweep.own_measures import seconds_of

    file = measures_in(*measures)
    return OwnMeasuresTaken(
        names=tuple(file.measures), seconds=seconds_of(file, config.trial_config(choice, config.seeds[0]))
    )


def _repeats(config: SweepConfig, configurations: int) -> int:
    endless = any(parameter.grid_values() is None for parameter in config.parameters.values() if not parameter.when)
    if config.method == "tpe" or endless or configurations > LOOKED_AT:
        return 0
    choices = proposals(config, configurations)
    return len(choices) - len({config.trial_config(choice, config.seeds[0]).id for choice in choices})


def _small_batches(config: SweepConfig, number: int) -> SmallBatches:
    from grokray.tasks.dataset import build_dataset
    from grokray.tasks.last_batch import small_last_batch

    trials = [config.trial_config(choice, config.seeds[0]) for choice in proposals(config, number)]
    lasts = [(small_last_batch(trial, len(build_dataset(trial).split.train)), trial) for trial in trials]
    if not (small := [one for one in lasts if one[0]]):
        return SmallBatches(looked_at=len(trials))
    last, example = min(small, key=lambda one: one[0] / one[1].batch_size)
    return SmallBatches(looked_at=len(trials), number=len(small), last=last, example=example)


def _most_steps(config: SweepConfig, configurations: int) -> int:
    """Of one seed: the sum, where a grid has different ones and is not too large to look at, else a bound."""
    steps = config.parameters.get("num_steps")
    if config.method != "grid" or steps is None or steps.is_fixed or configurations > LOOKED_AT:
        return configurations * config.max_steps()
    default = TrialConfig.model_fields["num_steps"].default
    return sum(choice.get("num_steps", default) for choice in proposals(config, configurations))


def _shapes(configs: list[TrialConfig]) -> tuple[ShapePreview, ...]:
    from grokray.engine.chunks import evaluation_steps
    from grokray.engine.memory import state_bytes
    from grokray.engine.shape import shape_of
    from grokray.tasks.dataset import build_dataset

    # One dataset for all trials that differ in what leaves the shape alone.
    distinct = {tuple(as_shaping(name, getattr(c, name, None)) for name in SHAPE_AND_TABLES): c for c in configs}
    found: dict[ShapeKey, ShapePreview] = {}
    for config in distinct.values():
        dataset = build_dataset(config)
        shape = shape_of(dataset)
        known, evaluation = found.get(shape), evaluation_steps(shape, dataset)
        found[shape] = ShapePreview(
            shape=shape,
            state_bytes=state_bytes(shape),
            table_bytes=dataset.table.nbytes + (known.table_bytes if known else 0),
            evaluated=evaluation / (evaluation + min(config.eval_interval, config.num_steps)),
        )
    return tuple(found.values())
