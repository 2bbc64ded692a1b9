"""The options of `grokray train`, made from what a trial can have: a field of TrialConfig is an option here.

Values stay texts until `parameters_from` gives them types, so that one door (`grokray.tasks.resolve`) says what is
wrong with them.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Literal, get_args, get_origin

import typer

from grokray.cli.usage import number_in
from grokray.errors import ConfigError, Problem
from grokray.sweep.initial import resolved
from grokray.sweep.schema import DESCRIPTIONS
from grokray.tasks.draft import PARAMETERS
from grokray.trial import TrialConfig

# The first parameter of each group of the help; the others follow in the order of PARAMETERS.
GROUPS = {
    "operation": "The task",
    "num_layers": "The model",
    "batch_size": "Training",
    "eval_interval": "Measurements, and when it ends",
    "prime": "The original's names",
}
_TRUTH = {"true": True, "false": False}
# Names by commas. Each may also have the option to itself: of --measure a --measure b both are meant.
_LISTS = ("measure", "initial_parts", "frozen_parts")
_METAVARS = {int: "INT", float: "NUMBER", bool: "BOOL"}
# Where the search space's wording does not suit a single trial.
_DESCRIPTIONS = {"seed": "Sets init_seed, split_seed and order_seed."}


def with_trial_options(command: Callable[..., int]) -> Callable[..., int]:
    """`command(ctx, parameters, **its_own)`, taking an option for each parameter in place of `parameters`."""
    own = [p for name, p in inspect.signature(command, eval_str=True).parameters.items() if name != "parameters"]

    def train(ctx: typer.Context, **given: Any) -> int:
        parameters = parameters_from({name: given.pop(name) for name in PARAMETERS})
        return command(ctx, parameters, **given)

    options = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=_option(name, group))
        for name, group in _groups().items()
    ]
    signature = inspect.Signature(
        [own[0], *options, *(p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in own[1:])]
    )
    vars(train)["__signature__"] = signature
    train.__annotations__ = {p.name: p.annotation for p in signature.parameters.values()}
    return train


def parameters_from(texts: Mapping[str, str | Sequence[str] | None]) -> dict[str, Any]:
    """{"weight_decay": "1", "seed": None} → {"weight_decay": 1}; None is an option that was not given."""
    whole = {n: text if text is None or isinstance(text, str) else ",".join(text) for n, text in texts.items()}
    return {name: _typed(name, text) for name, text in whole.items() if text is not None}


def trial_from(parameters: Mapping[str, Any], command: str = "train") -> TrialConfig:
    """As `resolve`, but its problems name options: `--dropout is 2, but must be less than 1`."""
    try:
        return resolved(parameters)
    except ConfigError as error:
        problems = [Problem(message=_as_option(p), field=p.field) for p in error.problems]
        raise ConfigError(problems, hint=f"grokray {command} --help") from error


def spell_out_flags(words: list[str]) -> list[str]:
    """`--continue_training` alone means `--continue_training=true`."""
    flags = {name for name in PARAMETERS if _kind(name) is bool}
    spelled = []
    for word, following in zip(words, [*words[1:], "-"], strict=True):
        is_flag = word.startswith("--") and word[2:].replace("-", "_") in flags
        spelled.append(f"{word}=true" if is_flag and following.startswith("-") else word)
    return spelled


def _groups() -> dict[str, str]:
    """Each parameter's group."""
    groups, group = {}, ""
    for name in PARAMETERS:
        group = groups[name] = GROUPS.get(name, group)
    return groups


def _option(name: str, group: str) -> Any:
    metavar = _METAVARS.get(_kind(name), "TEXT")
    return Annotated[
        list[str] | None if name in _LISTS else str | None,
        typer.Option(f"--{name}", metavar=metavar, help=_help(name), rich_help_panel=group, show_default=False),
    ]


def _help(name: str) -> str:
    field, kind = TrialConfig.model_fields.get(name), _kind(name)
    parts = [_DESCRIPTIONS.get(name) or DESCRIPTIONS[name].replace("; usually under trial", "")]
    if get_origin(kind) is Literal:
        parts.append(f"One of {', '.join(map(str, get_args(kind)))}.")
    if field is not None and field.default not in (None, "") and "Default" not in parts[0]:
        parts.append(f"Default: {str(field.default).lower() if kind is bool else field.default}.")
    return " ".join(parts)


def _kind(name: str) -> Any:
    """int, float, str, bool or a Literal; the original's names are of whole numbers, but for multitask."""
    field = TrialConfig.model_fields.get(name)
    if field is None:
        return bool if name == "multitask" else int
    kinds = [k for k in get_args(field.annotation) if k is not type(None)]
    return kinds[0] if kinds and type(None) in get_args(field.annotation) else field.annotation


def _typed(name: str, text: str) -> Any:
    """A number or a truth where the parameter is one and the text says one; else the text, which is refused later."""
    kind = _kind(name)
    if kind is bool:
        return _TRUTH.get(text.lower(), text)
    try:
        return number_in(text) if kind in (int, float) else text
    except ValueError:
        return text


def _as_option(problem: Problem) -> str:
    starts_with_it = problem.field in PARAMETERS and problem.message.startswith(f"{problem.field} ")
    return f"--{problem.message}" if starts_with_it else problem.message
