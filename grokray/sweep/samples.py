"""Some configurations of a sweep, looked at before it runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any

from grokray.errors import ConfigError
from grokray.sweep.config import SHAPING, SweepConfig, as_shaping
from grokray.sweep.proposer import make_proposer

SAMPLED = 64  # configurations whose shapes are looked at
LOOKED_AT = 10_000  # of more than that not every configuration is gone through
# What a stack's shape and its tables depend on; of a grid all combinations of these are looked at. Dropout too, which
# makes a shape of its own for some models only: one look too many costs little here.
SHAPE_AND_TABLES = (
    *SHAPING,
    "digit_order",
    "parity_bits",
    "dropout",
    "label_noise",
    "data_dir",
    "data_file",
    "data",
    "arc_holdout",
)


def proposals(config: SweepConfig, number: int) -> list[dict[str, Any]]:
    """The first `number` configurations of this part of the sweep, without those that cannot be chosen."""
    proposer = make_proposer(config)
    proposals = (proposer.propose(config.first_index + i * config.stride) for i in range(number))
    return [dict(proposer.choice(parameters)) for parameters in proposals if parameters is not None]


def sample_of_shapes(config: SweepConfig) -> list[Mapping[str, Any]]:
    """Configurations of as many shapes as there are, or of the first that are found."""
    if config.method != "grid":
        return list(proposals(config, min(SAMPLED, config.num_configurations())))
    if config.part is not None and config.num_configurations() <= LOOKED_AT:  # it may lack shapes of the whole
        return _distinct(proposals(config, config.num_configurations()), {*SHAPE_AND_TABLES} & config.parameters.keys())
    needed = {*SHAPE_AND_TABLES} & config.parameters.keys()
    while parents := {parent for name in needed for parent in config.parameters[name].when} - needed:
        needed |= parents
    shaping = {name: p for name, p in config.parameters.items() if name in needed}
    fewer = config.model_copy(update={"parameters": shaping, "num_trials": None})
    return _distinct(fewer.grid() if shaping else ({},), shaping)


def _distinct(choices: Iterable[Mapping[str, Any]], shaping: Iterable[str]) -> list[Mapping[str, Any]]:
    """The first choice of each shape, of so many shapes as are looked at."""
    names, found = [*shaping], {}
    for choice in choices:
        found.setdefault(tuple(as_shaping(name, choice.get(name)) for name in names), choice)
        if len(found) == SAMPLED:
            break
    return list(found.values())


def sample_of_trials(config: SweepConfig) -> tuple[dict[str, Any], ...]:
    """Configs of trials, one of each choice in `sample_of_shapes` that is possible."""
    found = []
    for choice in sample_of_shapes(config):
        with suppress(ConfigError):  # a combination that no trial can have
            found.append(config.trial_config(choice, config.seeds[0]).model_dump())
    return tuple(found)
