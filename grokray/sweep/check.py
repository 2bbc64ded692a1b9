"""Tries out whether the trials of a search space can be, and what of it they use: every one of a grid, the corners of
anything larger.

Nothing is trained and no table is built: each configuration is only resolved to its TrialConfig.
"""

from __future__ import annotations

import random
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import islice

from grokray.errors import ConfigError, Problem
from grokray.sweep import space
from grokray.sweep.config import SweepConfig
from grokray.sweep.initial import remarks
from grokray.sweep.measure_file import FIELD, MeasureFile, measures_in, read_text
from grokray.sweep.multiples import Scalar
from grokray.sweep.parameters import Parameter
from grokray.sweep.rules import Fault
from grokray.tasks.draft import DEFAULTS
from grokray.tasks.malformed import Malformed
from grokray.tasks.resolve import instead, left_out
from grokray.trial import TrialConfig
from grokray.wording import count

MAX_GRID = 20_000
MAX_CORNERS = 5_000
MAX_MEASURED = 4  # trials of which measures of the user's own are taken
MAX_STARTING = 16  # trials of which the held-out rows are looked at
SHOWN_PER_FIELD = 3
# Whole words: `split` is not mentioned where `split_seed` is.
_WORD = re.compile(r"\w+")


def try_out(config: SweepConfig, *, omitted: frozenset[str] = frozenset()) -> tuple[list[Fault], list[str]]:
    """What no trial can have, each distinct problem once, at the parameter it is about; and notes of what no trial has
    a use for, and of trials too short to be seen to grok.

    `omitted` names parameters left out for faults of their own: what mentions them is no fault of the others.
    """
    found: dict[tuple[str | None, str], Problem] = {}
    used: set[str] = set()
    unused: dict[str, str] = {}  # and what may have been meant instead
    lengths: dict[tuple[int, int, int], TrialConfig] = {}  # one trial of each
    kinds: dict[tuple[str, str], TrialConfig] = {}  # likewise
    starting: list[TrialConfig] = []  # from weights of a checkpoint
    for parameters in _tried(config):
        try:
            trial = config.trial_config(parameters, config.seeds[0])
            idle = left_out(parameters, trial)
            unused |= {name: instead(name, trial) for name in idle}
            # A default says nothing: a trial that has no use for the parameter has it too.
            used |= {name for name, value in parameters.items() if name not in idle and value != DEFAULTS[name]}
            used |= {f"measure {name}" for name in trial.measures} - idle
            lengths.setdefault((trial.num_steps, trial.eval_interval, trial.sustain), trial)
            kinds.setdefault((trial.operation, trial.task_type), trial)
            if trial.initial_checkpoint is not None and len(starting) < MAX_STARTING:
                starting += [config.trial_config(parameters, seed) for seed in config.seeds[:MAX_STARTING]]
        except ConfigError as error:
            for problem in error.problems:
                if omitted.isdisjoint(_WORD.findall(problem.message)):
                    found.setdefault((problem.field, problem.message), problem)
    in_order = sorted(unused.keys() - used, key=[*config.parameters, *unused].index)
    notes = [f"{name} is given, but no trial has a use for it{unused[name]}" for name in in_order]
    faults = [*_faults(list(found.values()), config), *([] if found else _measures(config, [*kinds.values()]))]
    return faults, [*notes, *_too_short(lengths.values()), *remarks(starting)]


def _measures(config: SweepConfig, trials: Sequence[TrialConfig]) -> Iterator[Fault]:
    """What is wrong with measures of the user's own, which are taken of these trials before their first step."""
    if (path := config.measures_at) is not None:
        try:
            tried_measures(path, trials[:MAX_MEASURED])
        except Malformed as error:
            yield ("trial", FIELD), f"trial.{FIELD} is {config.trial.measure_file}, {error.rule}"


def tried_measures(path: str, trials: Sequence[TrialConfig]) -> MeasureFile:
    """Raises Malformed where they cannot be taken of these trials before their first step."""
    file = measures_in(read_text(path), path)
    from grokray.sweep.own_measures import faults_before

    if found := faults_before(file, trials):
        first = "before the first step of a trial"
        raise Malformed([f"its {name} fails {first}: {fault}" for name, fault in found.items()])
    return file


def _too_short(trials: Collection[TrialConfig]) -> Iterator[str]:
    """A note where trials end before a grok_step could be confirmed."""
    short = [trial for trial in trials if trial.num_measurements < trial.sustain]
    if short:
        longest = max(short, key=lambda trial: trial.num_measurements)
        number = longest.num_measurements
        measured = f"at most {count(number, 'measurement')}"
        budget = f"num_steps {longest.num_steps:,} at eval_interval {longest.eval_interval:,}"
        who = "no trial can" if len(short) == len(trials) else "some trials cannot"
        yield f"{who} be seen to grok: {measured} in {budget}, but sustain is {longest.sustain}"


def _tried(config: SweepConfig) -> Iterator[space.Choice]:
    if config.method == "grid" and config.grid_size() <= MAX_GRID:
        return config.grid()
    if space.count(config.parameters, Parameter.extremes) <= MAX_CORNERS:
        return space.combinations(config.parameters, Parameter.extremes)
    return _sampled(config.parameters)


def _sampled(parameters: Mapping[str, Parameter]) -> Iterator[space.Choice]:
    """Each value at least once amid random others, then random corners up to the limit. The same every time."""
    rng = random.Random(0)
    extremes = {name: parameter.extremes() for name, parameter in parameters.items()}

    def corner(forced: Mapping[str, Scalar]) -> space.Choice:
        return space.choose(parameters, lambda name, _: forced[name] if name in forced else rng.choice(extremes[name]))

    singles = ((name, value) for name, values in extremes.items() for value in values)
    for name, value in islice(singles, 4 * MAX_CORNERS):
        yield corner({**_condition(parameters, name), name: value})
    for _ in range(MAX_CORNERS):
        yield corner({})


def _condition(parameters: Mapping[str, Parameter], name: str) -> dict[str, Scalar]:
    """Values of the ancestors with which the parameter is there."""
    needed: dict[str, Scalar] = {}
    for parent, allowed in parameters[name].when.items():
        needed |= {**_condition(parameters, parent), parent: allowed[0]}
    return needed


def _faults(problems: list[Problem], config: SweepConfig) -> Iterator[Fault]:
    shown: dict[str | None, int] = {}
    for problem in problems:
        shown[problem.field] = shown.get(problem.field, 0) + 1
        if shown[problem.field] <= SHOWN_PER_FIELD:
            yield _keys(problem.field, config), _with_hint(problem, config)
    for field, number in shown.items():
        if number > SHOWN_PER_FIELD:
            yield _keys(field, config), f"{field or 'configurations'}: {number - SHOWN_PER_FIELD} more such problems"


def _keys(field: str | None, config: SweepConfig) -> tuple[str, ...]:
    if field in config.parameters:
        return ("parameters", field)
    return ("trial", field) if field in type(config.trial).model_fields else ("parameters",)


def _with_hint(problem: Problem, config: SweepConfig) -> str:
    parameter = config.parameters.get(problem.field or "")
    if parameter is not None and parameter.distribution.endswith("normal"):
        return f"{problem.message} (the distribution {parameter.distribution} can be cut with min and max)"
    return problem.message
