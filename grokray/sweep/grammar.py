"""The grammar of one parameter: which keys a distribution has, and what they may hold."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

from pydantic import BeforeValidator
from pydantic_core import PydanticCustomError

from grokray.sweep.multiples import Scalar, multiples_within
from grokray.wording import nearest

if TYPE_CHECKING:
    from grokray.sweep.parameters import Parameter

# Distribution → keys that it needs, keys that it may have.
KEYS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "constant": (("values",), ()),
    "categorical": (("values",), ("probabilities",)),
    "int_uniform": (("min", "max"), ()),
    "uniform": (("min", "max"), ()),
    "q_uniform": (("min", "max"), ("q",)),
    "log_uniform": (("min", "max"), ()),  # W&B's meaning: min and max are exponents of e
    "log_uniform_values": (("min", "max"), ()),
    "inv_log_uniform_values": (("min", "max"), ()),  # log(1/x) uniform, which is log x uniform
    "q_log_uniform": (("min", "max"), ("q",)),
    "q_log_uniform_values": (("min", "max"), ("q",)),
    "normal": ((), ("mu", "sigma", "min", "max")),
    "log_normal": ((), ("mu", "sigma", "min", "max")),
    "q_normal": ((), ("mu", "sigma", "min", "max", "q")),
    "q_log_normal": ((), ("mu", "sigma", "min", "max", "q")),
}
PARAMETER_KEYS = ("value", "values", "probabilities", "distribution", "min", "max", "mu", "sigma", "q", "when")
MAX_MULTIPLES = 2**53  # as many as a floating-point quantile can tell apart
EXPONENT_LIMIT = 700  # e to the power of more than 709 is no floating-point number


def fault(key: str | None, rule: str) -> PydanticCustomError:
    """A fault of one key of the value being validated; `rule` reads on from "<key> is <value>, but "."""
    return PydanticCustomError("grokray", "{rule}", {"key": key, "rule": rule})


def nearest_or_all(name: object, names: Collection[str], whose: str) -> str:
    """As `nearest`; where none is similar, all of them: `; the keys of trial are eval_interval, sustain and …`."""
    *first, last = names
    every = f"{', '.join(first)} and {last}" if first else last
    return nearest(name, names) or f"; {whose} {every}"


def one_of(names: Collection[str]) -> BeforeValidator:
    """Validates that a value is one of the names."""

    def validate(value: Any) -> str:
        if isinstance(value, str) and value in names:
            return value
        raise fault(None, f"must be one of {', '.join(names)}{nearest(value, names)}")

    return BeforeValidator(validate)


def spell_out(spec: Any) -> Any:
    """Name the distribution that W&B leaves to be guessed. Raises a fault where it cannot be."""
    if not isinstance(spec, Mapping):
        raise fault(None, "must be a mapping, such as {value: 1} or {values: [1, 2]}")
    spec = dict(spec)
    if "value" in spec and "values" in spec:
        raise fault("values", "must not stand beside value: give one of the two")
    if "value" in spec:
        spec["values"] = [spec.pop("value")]
        spec.setdefault("distribution", "constant")
    if spec.get("distribution") == "categorical_w_probabilities":
        spec["distribution"] = "categorical"
    if "distribution" not in spec:
        spec["distribution"] = _guess(spec)
    if spec["distribution"] == "constant" and isinstance(spec.get("values"), list | tuple) and len(spec["values"]) != 1:
        raise fault("values", "must hold one value for the distribution constant")
    return spec


def _guess(spec: dict[str, Any]) -> str:
    if "values" in spec:
        return "categorical"
    if "min" in spec or "max" in spec:
        ends = [spec[k] for k in ("min", "max") if k in spec]
        return "int_uniform" if all(isinstance(end, int) for end in ends) else "uniform"
    for key in spec:
        if key not in PARAMETER_KEYS:
            raise fault(key, f"is no key of a parameter{nearest_or_all(key, PARAMETER_KEYS, 'the keys are')}")
    raise fault(None, "must have value, values, min and max, or a distribution")


def check(p: Parameter) -> None:
    """Raises the first fault of a parameter whose keys have the right types."""
    _check_keys(p)
    _check_values(p)
    _check_range(p)


def _check_keys(p: Parameter) -> None:
    needed, allowed = KEYS[p.distribution]
    given = p.model_fields_set - {"distribution", "when"}
    for key in needed:
        if key not in given:
            raise fault(None, f"must have {key} for the distribution {p.distribution}")
    for key in sorted(given - set(needed) - set(allowed)):
        has = ", ".join((*needed, *allowed))
        raise fault(key, f"does not belong to the distribution {p.distribution}, which has {has}")
    for key in sorted(given):
        if getattr(p, key) is None:
            raise fault(key, "must be a number")


def _check_values(p: Parameter) -> None:
    if "values" not in KEYS[p.distribution][0]:
        return
    if not p.values:
        raise fault("values", "must hold at least one value")
    seen: set[tuple[bool, Scalar]] = set()
    for value in p.values:
        if _identity(value) in seen:
            raise fault("values", f"must hold each value once, and {value!r} is there twice")
        seen.add(_identity(value))
    if p.probabilities is None:
        return
    if len(p.probabilities) != len(p.values):
        raise fault("probabilities", f"must be as many as the values: {len(p.values)}")
    if min(p.probabilities) < 0 or not math.isclose(sum(p.probabilities), 1, abs_tol=1e-6):
        raise fault("probabilities", "must be 0 or more each and 1 in sum")


def _check_range(p: Parameter) -> None:
    if p.distribution == "int_uniform":
        for key in ("min", "max"):
            if not isinstance(getattr(p, key), int):
                raise fault(key, "must be a whole number for the distribution int_uniform")
    if p.min is not None and p.max is not None and p.min >= p.max:
        raise fault("min", f"must be below max, which is {p.max}")
    for key in ("q", "sigma"):
        if getattr(p, key) is not None and getattr(p, key) <= 0:
            raise fault(key, "must be above 0")
    if "uniform" in p.distribution:
        _check_ends(p.distribution, p.min, p.max)
    if p.distribution.startswith("q_"):
        _check_multiples(p)


def _check_ends(distribution: str, low: Any, high: Any) -> None:
    if distribution.endswith("log_uniform_values") and low <= 0:
        raise fault("min", f"must be above 0 for the distribution {distribution}")
    if distribution.endswith("log_uniform") and max(abs(low), abs(high)) > EXPONENT_LIMIT:
        raise fault("max", f"must be within ±{EXPONENT_LIMIT}: it is an exponent; log_uniform_values takes values")
    if distribution == "uniform" and math.isinf(float(high) - float(low)):
        raise fault("max", "must not be infinitely far above min")


def _check_multiples(p: Parameter) -> None:
    (low, high), q = ends(p), 1 if p.q is None else p.q
    first, last = multiples_within(low, high, q)
    if first is None or last is None:
        return
    if first > last:
        raise fault("q" if p.q else "max", f"must leave a multiple of {q} from {low} to {high}")
    if last - first >= MAX_MULTIPLES:
        raise fault("q" if p.q else "max", f"must leave fewer than {MAX_MULTIPLES} multiples of {q}")


def ends(p: Parameter) -> tuple[Any, Any]:
    """The least and the greatest value; None where there is none."""
    if p.distribution.endswith("log_uniform"):
        return math.exp(p.min), math.exp(p.max)
    return p.min, p.max


def same(a: Scalar, b: Scalar) -> bool:
    """Equal as YAML has it: 1 is 1.0, but not true."""
    return _identity(a) == _identity(b)


def _identity(value: Scalar) -> tuple[bool, Scalar]:
    return isinstance(value, bool), value
