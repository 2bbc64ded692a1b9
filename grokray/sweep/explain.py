"""Pydantic's errors as sentences that give key, value, rule and the nearest valid name."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from grokray.errors import Problem
from grokray.sweep.config import SweepConfig
from grokray.sweep.grammar import PARAMETER_KEYS, nearest_or_all
from grokray.sweep.rules import Fault
from grokray.sweep.sections import SCHEDULERS, Fifo, Metric, Resources, Tracking, TrialSection
from grokray.sweep.translate import WANDB_KEYS
from grokray.sweep.yaml_text import Document, dotted
from grokray.wording import nearest, show

SECTIONS = {"trial": TrialSection, "metric": Metric, "resources": Resources, "tracking": Tracking}

UNIONS = ("scheduler", "metric")


def explain(error: ValidationError, data: dict[str, Any]) -> list[Fault]:
    """One fault for each error. `data` is what was validated."""
    faults: list[Fault] = []
    for detail in error.errors():
        if detail["type"] == "grokray_faults":
            faults.extend(detail.get("ctx", {})["faults"])
        elif detail["type"] != "default_factory_not_called":  # follows from another fault
            faults.append(_fault(detail, data))
    return faults


def no_mapping(document: Document, keys: str) -> tuple[Problem, ...]:
    """What is wrong with a file that holds no mapping with such keys."""
    if () in document.broken:  # that it could not be read is said already
        return document.problems
    reason = "is empty" if document.data is None else f"holds {show(document.data)}"
    message = f"the file {reason}, but must be a mapping with {keys}"
    return (*document.problems, Problem(message=message, place=document.place(())))


def _fault(detail: ErrorDetails, data: dict[str, Any]) -> Fault:
    keys = _keys(detail, data)
    name, kind, context = dotted(keys), detail["type"], detail.get("ctx", {})
    if kind == "extra_forbidden":
        return keys, f"unknown key {name}{_valid(keys, data)}"
    if kind in ("missing", "union_tag_not_found"):
        return keys, f"{name}{'.type' if kind != 'missing' else ''} is missing{_choices(keys)}"
    if kind == "union_tag_invalid":
        near = nearest(context["tag"], SCHEDULERS)
        return keys, f"{name}.type is {show(context['tag'])}, but must be {_either(SCHEDULERS)}{near}"
    if kind == "literal_error":
        options = context["expected"].replace("'", "").replace(" or ", ", ").split(", ")
        rule = f"must be {context['expected']}{nearest(detail['input'], options)}"
    elif kind == "string_pattern_mismatch":
        rule = "must be 1 to 100 letters, digits, spaces or any of _ . + -"
    elif kind == "too_short":
        rule = "must not be empty"
    elif kind == "too_long":
        rule = f"must hold at most {context['max_length']}"
    elif kind == "less_than" and isinstance(context["lt"], int):
        rule = f"must be below {context['lt']}"  # pydantic rounds large ones
    elif kind in ("model_type", "dict_type", "model_attributes_type"):
        rule = "must be a mapping, such as {key: value}"
    else:
        rule = context["rule"] if kind == "grokray" else _rule(detail["msg"])
    value = _at(data, keys, detail["input"])
    return keys, f"{name} {rule}" if isinstance(value, dict) and value else f"{name} is {show(value)}, but {rule}"


def _keys(detail: ErrorDetails, data: dict[str, Any]) -> tuple[str | int, ...]:
    """The keys in the file: pydantic adds the tag of a union, and our own faults name a key of their mapping."""
    keys = tuple(k for i, k in enumerate(detail["loc"]) if not (i == 1 and detail["loc"][0] in UNIONS))
    key = detail.get("ctx", {}).get("key")
    if key is not None:
        keys = (*keys, key)
    if keys[-2:] == ("values", 0) and isinstance(spec := _at(data, keys[:-2], None), dict) and "value" in spec:
        keys = (*keys[:-2], "value")
    return keys


def _at(data: Any, keys: tuple[str | int, ...], default: Any) -> Any:
    for key in keys:
        try:
            data = data[key]
        except (KeyError, IndexError, TypeError):
            return default
    return data


def _valid(keys: tuple[str | int, ...], data: dict[str, Any]) -> str:
    """The nearest key, or all that there are."""
    names = _valid_keys(keys, data)
    if len(keys) == 1:  # W&B's keys are understood, but not recommended
        return nearest(keys[0], names) or nearest_or_all(keys[0], [*SweepConfig.model_fields], "the keys are")
    where = "a parameter" if keys[0] == "parameters" else keys[0]
    return nearest_or_all(
        keys[-1],
        names,
        f"{'the keys' if len(names) > 1 else 'the only key'} of {where} {'are' if len(names) > 1 else 'is'}",
    )


def _valid_keys(keys: tuple[str | int, ...], data: dict[str, Any]) -> list[str]:
    if len(keys) == 1:
        return [*SweepConfig.model_fields, *WANDB_KEYS]
    if keys[0] == "parameters":
        return list(PARAMETER_KEYS)
    if keys[0] == "scheduler":
        return list(SCHEDULERS.get(data["scheduler"].get("type"), Fifo).model_fields)
    return list(SECTIONS[str(keys[0])].model_fields)


def _choices(keys: tuple[str | int, ...]) -> str:
    if keys == ("method",):
        return ", but must be grid, random, tpe or sobol"
    return f", but must be {_either(SCHEDULERS)}" if keys == ("scheduler",) else ""


def _either(names: Iterable[str]) -> str:
    """'fifo', 'asha' or 'grok_asha'"""
    *first, last = map(repr, names)
    return f"{', '.join(first)} or {last}"


def _rule(message: str) -> str:
    message = message.removeprefix("Value error, ")
    for theirs, ours in _WORDS.items():
        message = message.replace(theirs, ours)
    return message[:1].lower() + message[1:]


_WORDS = {
    "Input should be a valid integer": "must be a whole number",
    "Input should be a valid number": "must be a number",
    "Input should be a valid string": "must be a text",
    "Input should be a valid boolean": "must be true or false",
    "Input should be a valid tuple": "must be a list",
    "Input should be": "must be",
    "greater than or equal to": "at least",
    "less than or equal to": "at most",
    "greater than": "above",
    "less than": "below",
}
