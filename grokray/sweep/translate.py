"""What a W&B sweep file says in other words than grokray, put into grokray's, with a note on each thing.

The original's own sweep file is read as it is: W&B's keys that mean nothing here are left out, lists under `value`
are taken as `values`, and what is no parameter of a trial (`device`, `seed`, …) goes where it belongs.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from grokray.sweep.metrics import ALIASES
from grokray.sweep.rules import Fault
from grokray.sweep.yaml_text import Keys

WANDB_KEYS = ("program", "description", "command", "run_cap", "early_terminate", "project", "entity")


@dataclass
class Translation:
    """`moved` says where a key stood in the file, for the places of errors."""

    data: dict[str, Any]
    notes: list[str] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    moved: dict[Keys, Keys] = field(default_factory=dict)

    def origin(self, keys: Keys) -> Keys:
        """Where these keys of the translated data stood in the file."""
        for length in range(len(keys), 0, -1):
            if keys[:length] in self.moved:
                return (*self.moved[keys[:length]], *keys[length:])
        return keys


def translate(data: dict[str, Any]) -> Translation:
    """Never fails: what cannot be translated is left for validation, or is among the faults."""
    done = Translation(data=dict(data))
    _drop_wandb_keys(done)
    if done.data.get("method") == "bayes":
        done.notes.append("method: bayes is taken as tpe")
    _remark_on_metrics(done)
    if isinstance(done.data.get("parameters"), dict):
        done.data["parameters"] = dict(done.data["parameters"])
        _join_tasks(done)
        lists = [name for name in done.data["parameters"] if _spell_list(done, name)]
        if lists:
            done.notes.append(f"a list under value is taken as values: {', '.join(lists)}")
        _remark_on_exponents(done)
        _move(done, "device", "device")
        _move(done, "wandb_tracking", "tracking", "wandb")
        _move_seeds(done)
        _drop_multitask(done)
    _move_destination(done)
    if done.notes:
        kept = done.data.get("notes", [])
        done.data["notes"] = kept + [n for n in done.notes if n not in kept] if isinstance(kept, list) else kept
    return done


def _drop_wandb_keys(done: Translation) -> None:
    ignored = [key for key in WANDB_KEYS[:3] if key in done.data]
    for key in ignored:
        del done.data[key]
    if ignored:
        done.notes.append(f"{', '.join(ignored)}: ignored")
    if "run_cap" in done.data:
        cap = done.data.pop("run_cap")
        if "num_trials" in done.data:
            done.notes.append("run_cap: ignored beside num_trials")
        else:
            done.data["num_trials"] = cap
            done.moved["num_trials",] = ("run_cap",)
            done.notes.append("run_cap is taken as num_trials")
    if "early_terminate" in done.data:
        del done.data["early_terminate"]
        done.notes.append(
            "early_terminate: ignored; early stopping is asked for under scheduler, as type: grok_asha or asha"
        )


def _spell_list(done: Translation, name: str) -> bool:
    spec = done.data["parameters"][name]
    if not isinstance(spec, dict) or "values" in spec:
        return False
    done.moved["parameters", name, "values"] = ("parameters", name, "value")
    if not isinstance(spec.get("value"), list):
        return False
    rest = {k: v for k, v in spec.items() if k != "value" and (k, v) != ("distribution", "constant")}
    done.data["parameters"][name] = {"values": spec["value"], **rest}
    return True


def _remark_on_exponents(done: Translation) -> None:
    for name, spec in done.data["parameters"].items():
        if isinstance(spec, dict) and spec.get("distribution") in ("log_uniform", "q_log_uniform"):
            instead = f"{spec['distribution']}_values"
            done.notes.append(f"parameters.{name}: min and max are exponents of e, as in W&B; {instead} takes values")


def _remark_on_metrics(done: Translation) -> None:
    """Validation knows the other names of metrics; here it is only said what they are taken as."""
    metric, scheduler = done.data.get("metric"), done.data.get("scheduler")
    named = [one.get("name") for one in (metric if isinstance(metric, list) else [metric]) if isinstance(one, dict)]
    named += [scheduler.get("metric")] if isinstance(scheduler, dict) else []
    for name in dict.fromkeys(name for name in named if isinstance(name, str) and name in ALIASES):
        done.notes.append(f"metric: {name} is taken as {ALIASES[name]}")


def _move(done: Translation, name: str, section: str, key: str | None = None) -> None:
    """A parameter with one value that is the sweep's, not the trial's; `key` of the section, where it has keys."""
    there = done.data.get(section)
    place = (section,) if key is None or section not in done.data else (section, key)
    joins = isinstance(there, dict) and key not in there and len(place) > 1
    values = _take(done, name, None if joins else section)
    if values is None:
        return
    if len(values) != 1:
        done.faults.append((("parameters", name), f"{name} must have one value: it is the same for the whole sweep"))
        return
    done.data[section] = values[0] if key is None else {**(there or {}), key: values[0]}
    done.moved[place] = ("parameters", name)
    done.notes.append(f"parameters.{name} is taken as {section}")


def _move_destination(done: Translation) -> None:
    """Where W&B's runs go stands at the top of a W&B sweep file."""
    tracking = done.data.get("tracking", {})
    for key in ("project", "entity"):
        if key in done.data and isinstance(tracking, dict):
            tracking = {key: done.data.pop(key), **tracking}
            done.moved.setdefault(("tracking", key), (key,))
            done.notes.append(f"{key} is taken as tracking.{key}")
            done.data["tracking"] = tracking


def _move_seeds(done: Translation) -> None:
    values = _take(done, "seed", "seeds")
    if values is not None:
        done.data["seeds"] = values
        done.moved["seeds",] = ("parameters", "seed")
        done.notes.append("parameters.seed is taken as seeds")


def _join_tasks(done: Translation) -> None:
    """A list of operations that is one multitask trial, as one text: a list among `values`, or under `value` beside
    `multitask: {value: true}`."""
    spec = done.data["parameters"].get("operation")
    if not isinstance(spec, dict):
        return
    spec = dict(spec)
    if _only_value(done, "multitask") is True and "value" in spec:
        spec["value"] = _joined(spec["value"])
    if isinstance(spec.get("values"), list):
        spec["values"] = [_joined(value) for value in spec["values"]]
    done.data["parameters"]["operation"] = spec


def _joined(value: Any) -> Any:
    is_list = isinstance(value, list) and value and all(isinstance(part, str) for part in value)
    return ",".join(value) if is_list else value


def _drop_multitask(done: Translation) -> None:
    """Whether there are several tasks is known from `operation`; what contradicts it is left for the trial's check."""
    spec = done.data["parameters"].get("operation")
    text = json.dumps(spec) if isinstance(spec, dict) else ""
    if _only_value(done, "multitask") is True or _only_value(done, "multitask") is False and "," not in text:
        del done.data["parameters"]["multitask"]


def _only_value(done: Translation, name: str) -> Any:
    """A parameter's value where it has just one and nothing else, or None."""
    spec = done.data["parameters"].get(name)
    if not isinstance(spec, dict) or set(spec) - {"value", "values", "distribution"}:
        return None
    values = spec.get("values", [spec["value"]] if "value" in spec else None)
    return values[0] if isinstance(values, list) and len(values) == 1 else None


def _take(done: Translation, name: str, section: str | None) -> list[Any] | None:
    """Remove the parameter and give its values; None if it is not there or has no listed values."""
    spec = done.data["parameters"].pop(name, None)
    if spec is None:
        return None
    if section in done.data:
        message = f"{name} stands under parameters and as {section}, but must be in one place"
        done.faults.append((("parameters", name), message))
        return None
    values = spec.get("values", [spec["value"]] if "value" in spec else None) if isinstance(spec, dict) else None
    if not isinstance(values, list) or set(spec) - {"value", "values", "distribution"}:
        done.faults.append((("parameters", name), f"{name} must have value or values, and nothing else"))
        return None
    return values
