"""A trial on its way in: what the user wrote, what it means in clear names, and what is wrong with it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from numbers import Integral, Real
from typing import Any, get_args

from pydantic import Field, ValidationError

from grokray.errors import Problem
from grokray.tasks.problems import problem_of
from grokray.trial import TrialConfig
from grokray.wording import show

LARGEST_NUMBER = 65_536


class _Parameters(TrialConfig):
    """The clear names and the original's, for types and ranges only; what they mean together is not known here."""

    prime: int | None = Field(default=None, ge=2, le=LARGEST_NUMBER)
    seed: int | None = Field(default=None, ge=0, lt=2**63)
    max_bit_length_train: int | None = Field(default=None, ge=1, le=LARGEST_NUMBER)
    max_bit_length_val_out: int | None = Field(default=None, ge=1, le=LARGEST_NUMBER)
    multitask: bool | None = None


PARAMETERS: tuple[str, ...] = tuple(_Parameters.model_fields)
DEFAULTS: dict[str, Any] = {name: field.default for name, field in _Parameters.model_fields.items()}
_KINDS = {name: {field.annotation, *get_args(field.annotation)} for name, field in _Parameters.model_fields.items()}


class Draft:
    """`given` holds what the user wrote, as far as each value is sound by itself; `values` the clear names, growing.

    `source` says by which of the user's names a clear name got its value. `faulty` holds names whose values
    are good for nothing, so that nothing that follows from them is reported as well.
    """

    def __init__(self, parameters: Mapping[str, Any]) -> None:
        self.problems: list[Problem] = []
        self.faulty: set[str] = set()
        self.given = self._sound_ones(
            {str(name): _as_plain(name, value) for name, value in parameters.items() if not _absent(name, value)}
        )
        self.values = {name: value for name, value in self.given.items() if name in TrialConfig.model_fields}
        self.source: dict[str, str] = {}

    def add(self, field: str, message: str) -> None:
        """Add a problem, after which the field's value is good for nothing."""
        self.problems.append(Problem(field=field, message=message))
        self.faulty.add(field)

    def object_to(self, field: str, rule: str) -> None:
        """Add `max_bit_length_train is 12, <rule>`: a clear name's problem in the words of the user.

        The value stays good for other checks.
        """
        name = self.source.get(field, field)
        message = f"{name} is {show(self.given.get(name, self.values.get(field)))}, {rule}"
        self.problems.append(Problem(field=name, message=message))

    def drop(self, fields: Collection[str]) -> None:
        """Let go of what the trial has no use for."""
        self.values = {name: value for name, value in self.values.items() if name not in fields}

    def sound(self, *fields: str) -> bool:
        return self.faulty.isdisjoint(fields)

    def _sound_ones(self, given: dict[str, Any]) -> dict[str, Any]:
        try:
            _Parameters.model_validate(given, strict=True)
        except ValidationError as errors:
            # What is of no one field is for `checks`: TrialConfig looks for it only where each value is sound.
            of_fields = [error for error in errors.errors(include_url=False) if error["loc"]]
            found = [problem_of(error, PARAMETERS) for error in of_fields]
            self.problems += found
            self.faulty |= {problem.field for problem in found if problem.field}
        return {name: value for name, value in given.items() if name not in self.faulty}


def _absent(name: Any, value: Any) -> bool:
    """None is "not given" wherever a parameter may be none."""
    return value is None and type(None) in _KINDS.get(name, ())


def _as_plain(name: Any, value: Any) -> Any:
    """Numbers that samplers and YAML write otherwise (NumPy's, 1e5 for a whole number, −0.0) as the plain ones, and
    several operations as one text."""
    kinds = _KINDS.get(name, set())
    if name == "operation" and isinstance(value, list | tuple) and all(isinstance(part, str) for part in value):
        return ",".join(value)
    if type(value) is bool or not isinstance(value, Real):
        return value
    if int in kinds and isinstance(value, Integral):
        return int(value)
    try:
        number = float(value)
    except OverflowError:  # a whole number beyond all ranges, which will be said
        return value
    if int in kinds and number.is_integer():
        return int(number)
    return number + 0.0 if float in kinds else value
