"""Faults of parameters as sentences with value and rule: "training_fraction is 1.2, but must be less than 1"."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from grokray.errors import Problem
from grokray.wording import nearest, show


def problem_of(error: Mapping[str, Any], parameters: Collection[str]) -> Problem:
    """One entry of pydantic's `ValidationError.errors()`; `parameters` are the names to suggest for an unknown one."""
    name = str(error["loc"][0])
    if error["type"] == "extra_forbidden":
        return unknown_parameter(name, parameters)
    return Problem(field=name, message=f"{name} is {show(error['input'])}, but {rule_of(error)}")


def names_in(errors: Iterable[Mapping[str, Any]]) -> str:
    """`dim_model, norm`: the fields of a config that such errors are about; `its config` where they name none."""
    return ", ".join(str(error["loc"][0]) for error in errors if error["loc"]) or "its config"


def unknown_parameter(name: str, parameters: Collection[str]) -> Problem:
    return Problem(field=name, message=f"{name} is not a parameter{nearest(name, parameters)}")


def rule_of(error: Mapping[str, Any]) -> str:
    """What such an error asks for: "must be a whole number"."""
    kind, context = error["type"], error.get("ctx", {})
    if kind in _COMPARISONS:
        comparison, key = _COMPARISONS[kind]
        return f"must be {comparison} {_short(context[key])}"
    if kind == "literal_error":
        return f"must be one of {context['expected']}"
    return _RULES.get(kind, str(error["msg"]))


def _short(bound: float) -> str:
    return str(int(bound)) if bound == int(bound) else str(bound)


_COMPARISONS = {
    "greater_than": ("greater than", "gt"),
    "greater_than_equal": ("at least", "ge"),
    "less_than": ("less than", "lt"),
    "less_than_equal": ("at most", "le"),
}
_RULES = {
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "finite_number": "must be finite",
    "bool_type": "must be true or false",
    "string_type": "must be a text",
    "dict_type": "must be a mapping",
    "model_type": "must be a mapping",
    "string_unicode": "must be a text in this terminal's encoding",
    "string_too_short": "must not be empty",
    "string_pattern_mismatch": "must be 16 hexadecimal digits, in lower case",  # only hashes have a pattern
}
