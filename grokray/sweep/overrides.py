"""`key=value` from the command line, set into the data of a search space before it is validated."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import replace
from typing import Any

from grokray.errors import ConfigError, Problem
from grokray.sweep.sections import SCHEDULERS
from grokray.sweep.yaml_text import Document, Keys, parse_yaml

KEYS_OF_SCHEDULERS = frozenset().union(*(section.model_fields for section in SCHEDULERS.values()))
# What may be said of the sweep, and the parameter of the original's files that says the same.
OF_THE_ORIGINAL = {
    ("device",): "device",
    ("seeds",): "seed",
    ("tracking",): "wandb_tracking",
    ("tracking", "wandb"): "wandb_tracking",
}


def apply_overrides(document: Document, overrides: Sequence[str], options: Mapping[str, object]) -> Document:
    """The document with each `key=value` set, in order; keys are dotted, values are YAML. `options` come last: keys
    that have an option of their own on the command line, such as num_trials: 8.

    Example: `parameters.weight_decay=1` is short for `parameters.weight_decay.value=1`, a list for `values`.
    """
    data, places, problems = deepcopy(document.data), dict(document.places), list(document.problems)
    settings = [(text, f"--set {text}") for text in overrides]
    settings += [(f"{key}={value}", f"--{key.replace('_', '-')} {value}") for key, value in options.items()]
    for text, place in settings:
        try:
            keys, value = _parse(text, place)
            _set(data, keys, value, place)
        except ConfigError as error:
            problems += error.problems
            continue
        _place(places, keys, place)
    return replace(document, data=data, places=places, problems=tuple(problems))


def _place(places: dict[Keys, str], keys: tuple[str, ...], place: str) -> None:
    anchor = keys[:2] if _is_whole(keys) else keys
    for known in [known for known in places if known[: len(anchor)] == anchor and "when" not in known]:
        del places[known]
    for length in range(1, len(anchor)):
        places.setdefault(anchor[:length], place)
    places[anchor] = place


def _is_whole(keys: tuple[str, ...]) -> bool:
    return len(keys) == 3 and keys[0] == "parameters" and keys[2] in ("value", "values")


def _parse(text: str, place: str) -> tuple[tuple[str, ...], Any]:
    key, equals, value = text.partition("=")
    keys = tuple(key.strip().split("."))
    if not equals or not all(keys):
        raise _refused(place, "an override must be key=value, such as trial.eval_interval=50")
    if not value.strip():  # as of a shell's variable that is not set; YAML would read it as null, the default
        raise _refused(place, f"{key.strip()} has no value, but must have one; null stands for none")
    try:
        parsed = parse_yaml(value, place, keys)
    except ConfigError as error:
        raise _refused(place, error.problems[0].message) from None
    if parsed.problems:
        raise _refused(place, parsed.problems[0].message)
    if keys[0] == "parameters" and len(keys) == 2 and not isinstance(parsed.data, dict):
        return (*keys, "values" if isinstance(parsed.data, list) else "value"), parsed.data
    return keys, parsed.data


def _set(data: dict[str, Any], keys: tuple[str, ...], value: Any, place: str) -> None:
    inner = data
    for depth, key in enumerate(keys[:-1]):
        inner = inner.setdefault(key, {})
        if not isinstance(inner, dict):
            raise _refused(place, f"{'.'.join(keys[: depth + 1])} has no keys of its own")
    if keys == ("scheduler", "type") and isinstance(value, str) and value in SCHEDULERS:
        for key in inner.keys() & (KEYS_OF_SCHEDULERS - SCHEDULERS[value].model_fields.keys()):
            del inner[key]  # what another type has, and this one has not
    if (elsewhere := OF_THE_ORIGINAL.get(keys)) and isinstance(data.get("parameters"), dict):
        data["parameters"].pop(elsewhere, None)
    if _is_whole(keys):  # says anew what the parameter is: all but its condition goes
        for key in set(inner) - {"when"}:
            del inner[key]
    inner[keys[-1]] = value


def _refused(place: str, message: str) -> ConfigError:
    return ConfigError([Problem(message=message, place=place)])
