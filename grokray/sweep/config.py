"""`SweepConfig`: a whole sweep, validated and frozen. `grokray.sweep.load` makes one from a YAML file."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PrivateAttr, ValidationInfo, model_validator
from pydantic_core import PydanticCustomError
from ruamel.yaml import YAML

from grokray.sweep import rules, space
from grokray.sweep.holds import holds
from grokray.sweep.initial import resolved
from grokray.sweep.parameters import Parameter
from grokray.sweep.part import Part, numbers
from grokray.sweep.sections import (
    DEFINING,
    MAX_CONFIGURATIONS,
    Fifo,
    Metric,
    Metrics,
    Resources,
    Scheduler,
    Seed,
    Seeds,
    Tracking,
    TrialSection,
    Whole,
)
from grokray.trial import PART_FIELDS, PATHS, TrialConfig

if TYPE_CHECKING:
    from optuna.trial import BaseTrial

# Keys added later: part of the fingerprint only where they are set, so that folders of earlier versions keep theirs.
LATER = ("measure", "eval_train_rows", "eval_start", "audit_fraction")
# Parameters whose values set the shapes of models apart. Dropout does, or no dropout, for some models only: it is left
# out, so up to twice too much may be planned for a shape, as payoff.MARGIN allows for.
SHAPING = (
    *("operation", "task_type", "base", "fixed_sequence_length", "modulus", "prime", "operand_limit"),
    *("operand_limit_out", "max_bit_length_train", "max_bit_length_val_out", "list_length", "list_rows", "multitask"),
    *("arc_tasks", "arc_subset", "arc_max_cells", "arc_context", "data_file"),
    *("num_layers", "dim_model", "num_heads", "norm", "activation"),
    *("dtype", "precision", "batch_size", "accumulation_steps", "optimizer", "loss", "gradient_filter"),
    *("input_noise", *PART_FIELDS),
)
WHETHER_ANY = ("dropout", "input_noise", *PART_FIELDS)  # of these it only counts whether there is any
CPU_OF_A_TRIAL = {"fused": 0.05, "process": 1.0}
Strings = Annotated[tuple[str, ...], BeforeValidator(lambda v: tuple(v) if isinstance(v, list) else v)]


class SweepConfig(BaseModel):
    """Field order is the order in the resolved YAML. For grid, `num_trials` is an upper limit: the first so many."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    name: str = Field(pattern=r"^\w[\w .+-]{0,99}$", description="Names the sweep; by default the file's own name.")
    method: Annotated[
        Literal["grid", "random", "tpe", "sobol"], BeforeValidator(lambda v: "tpe" if v == "bayes" else v)
    ] = Field(description="How configurations are chosen. bayes is W&B's word for tpe.")
    metric: Metrics = Field(
        default=Metric(),
        description="What the search aims at: one metric, or a list of up to 4, the first one foremost.",
    )
    num_trials: Whole | None = Field(
        default=None,
        ge=1,
        le=MAX_CONFIGURATIONS,
        description="Configurations; each runs once for each seed. For grid a limit. May be raised later.",
    )
    seeds: Seeds = Field(
        default=(0,),
        description="Each configuration runs once for each; 3 means 0, 1, 2. More may come later, but for tpe.",
    )
    seed: Seed = Field(default=0, description="Of the search itself.")
    parameters: dict[str, Parameter] = Field(min_length=1, description="What is searched, in W&B's grammar.")
    trial: TrialSection = Field(default=TrialSection(), description="How every trial is measured and kept.")
    scheduler: Scheduler = Field(default=Fifo(), description="Which trials are stopped early.")
    resources: Resources = Field(default=Resources(cpu=0.05), description="What one trial takes of the machine.")
    execution: Literal["fused", "process"] = Field(
        default="fused", description="fused: many trials in one engine. process: one worker process per trial."
    )
    compile: Literal["auto", "on", "off"] = Field(
        default="auto", description="Whether models are compiled; auto: where that pays."
    )
    device: Literal["auto", "cpu", "cuda"] = Field(default="auto", description="Where trials are trained.")
    tracking: Tracking = Field(default=Tracking(), description="Trackers besides grokray's own records.")
    part: Part | None = Field(
        default=None, description="K/N: only the K-th of every N configurations. The others are for other drivers."
    )
    notes: Strings = Field(
        default=(), description="Remarks; loading adds what it read otherwise than written, or for nothing."
    )

    # Not part of the search space, which goes on naming the paths.
    _stand_ins: Mapping[str, str] = PrivateAttr(default={})

    @model_validator(mode="before")
    @classmethod
    def _default_resources(cls, data: Any) -> Any:
        if not isinstance(data, Mapping) or not isinstance(data.get("resources", {}), Mapping):
            return data
        cpu = CPU_OF_A_TRIAL.get(str(data.get("execution")), CPU_OF_A_TRIAL["fused"])
        return {**data, "resources": {"cpu": cpu, **data.get("resources", {})}}

    @model_validator(mode="after")
    def _check(self, info: ValidationInfo) -> Self:
        faults = rules.faults(self, omitted=(info.context or {}).get("omitted", frozenset()))
        if faults:
            text = "; ".join(message for _, message in faults).replace("{", "{{").replace("}", "}}")
            raise PydanticCustomError("grokray_faults", text, {"faults": faults})  # pyright: ignore
        return self

    @property
    def stand_ins(self) -> Mapping[str, str]:
        """Path → the copy that stands in for it."""
        return self._stand_ins

    def with_stand_ins(self, stand_ins: Mapping[str, str]) -> Self:
        """The same search space, whose trials find at the copies what has gone from the paths."""
        config = self.model_copy()
        config._stand_ins = dict(stand_ins)
        return config

    @property
    def measures_at(self) -> str | None:
        """Where the user's own measures are, if there are any."""
        path = self.trial.measure_file
        return path and self._stand_ins.get(path, path)

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """What the search aims at, the foremost first."""
        return self.metric if isinstance(self.metric, tuple) else (self.metric,)

    @property
    def first_index(self) -> int:
        """Of the proposals of this part of the sweep."""
        return 0 if self.part is None else numbers(self.part)[0] - 1

    @property
    def stride(self) -> int:
        """From one proposal of this part of the sweep to its next."""
        return 1 if self.part is None else numbers(self.part)[1]

    def grid(self) -> Iterator[space.Choice]:
        """The configurations of a grid in file order, the last parameter changing fastest; at most num_trials."""
        return islice(space.combinations(self.parameters, _listed), self.num_trials)

    def grid_size(self) -> int:
        """Of the whole grid, whatever part of it this is."""
        size = space.count(self.parameters, _listed)
        return size if self.num_trials is None else min(size, self.num_trials)

    def max_steps(self) -> int:
        """The longest budget that a trial of the sweep may have."""
        parameter = self.parameters.get("num_steps")
        if parameter is None:
            return TrialConfig.model_fields["num_steps"].default
        return max(int(steps) for steps in parameter.extremes() if steps is not None)

    def num_configurations(self) -> int:
        """How many configurations there will be, seeds aside."""
        whole = self.grid_size() if self.method == "grid" else self.num_trials or 0
        return len(range(self.first_index, whole, self.stride))

    def all_trials(self) -> int:
        """How many trials there will be: each configuration with each seed."""
        return self.num_configurations() * len(self.seeds)

    def sample(self, trial: BaseTrial) -> space.Choice:
        """One configuration as an Optuna trial suggests it; absent are the parameters whose condition is false."""
        return space.choose(self.parameters, lambda name, parameter: parameter.suggest(trial, name))

    def from_units(self, us: Sequence[float]) -> space.Choice:
        """The configuration at one point of the unit cube; us  # (dimensions,), each in [0, 1)."""
        quantile = dict(zip(self._searched(), us, strict=True))
        return space.choose(self.parameters, lambda name, parameter: parameter.from_unit(quantile.get(name, 0.0)))

    def dimensions(self) -> int:
        """How many parameters have more than one value."""
        return len(self._searched())

    def trial_config(self, parameters: Mapping[str, Any], seed: int) -> TrialConfig:
        """The trial of one configuration and seed. Raises ConfigError where no such trial can be."""
        section = {name: getattr(self.trial, name) for name in DEFINING}
        return resolved({**section, "seed": seed, **parameters, **self._where_it_lies(parameters)})

    def named(self, trial: TrialConfig, parameters: Mapping[str, Any]) -> TrialConfig:
        """The trial of that configuration as it is written down: by the paths that the search space names, whatever
        stands in for them. Else trials of one file would seem to be of two."""
        named = {name: path for name, path in self._paths(parameters).items() if path in self._stand_ins}
        return trial.model_copy(update=named) if named else trial

    def fingerprint(self) -> dict[str, str]:
        """What defines the search, flat, as JSON texts: a sweep's folder is for one of these.

        How and where it runs (resources, execution, compile, device, tracking, retries, checkpoints) and what it is
        called may change from one run on the folder to the next. The order of parameters is part of a grid's order.
        """
        return {
            "method": _json(self.method),
            "num_trials": _json(self.num_trials),
            **({} if self.part is None else {"part": _json(self.part)}),
            "seeds": _json(self.seeds),
            "seed": _json(self.seed),
            "parameters": _json(list(self.parameters)),
            **{f"parameters.{name}": _json(self._defined_by(name)) for name in self.parameters},
            **self._aims(),
            **{f"trial.{name}": _json(getattr(self.trial, name)) for name in DEFINING if name not in LATER},
            **{f"trial.{name}": _json(getattr(self.trial, name)) for name in LATER if getattr(self.trial, name, None)},
            **{f"scheduler.{k}": _json(v) for k, v in self.scheduler.model_dump().items() if k not in LATER or v},
        }

    def planned_steps(self, num_steps: int) -> float:
        """About how many trial-steps will be trained of the shape of a trial with so many steps.

        As if shapes were equally frequent, and each trial ran for as long as the scheduler lets it on average.
        """
        steps = self.scheduler.expected_steps(num_steps, self.max_steps())
        return self.all_trials() * steps / self.planned_shapes()

    def planned_shapes(self) -> int:
        """About how many shapes its trials have."""
        return max(math.prod(_choices(name, self.parameters[name]) for name in SHAPING if name in self.parameters), 1)

    def to_yaml(self) -> str:
        """The resolved file, defaults included: loads back to an equal config."""
        data = self.model_dump(mode="json", exclude={"parameters"})
        data["parameters"] = {name: parameter.spec() for name, parameter in self.parameters.items()}
        data["trial"] = {key: value for key, value in data["trial"].items() if key not in self.parameters}
        text = io.StringIO()
        yaml = YAML(typ="safe", pure=True)
        yaml.default_flow_style, yaml.sort_base_mapping_type_on_output, yaml.width = False, False, 120  # pyright: ignore
        yaml.dump({name: data[name] for name in type(self).model_fields if data[name] not in (None, [])}, text)
        return text.getvalue()

    def _aims(self) -> dict[str, str]:
        """`metric.name` and `metric.goal`; of further ones `metric[1].name` and so on."""
        prefixes = ["metric", *(f"metric[{number}]" for number in range(1, len(self.metrics)))]
        pairs = zip(prefixes, self.metrics, strict=True)
        return {f"{prefix}.{key}": _json(value) for prefix, m in pairs for key, value in m.model_dump().items()}

    def _defined_by(self, name: str) -> dict[str, Any]:
        """A parameter as YAML has it, but a path by what lies there: it may be moved, and not be changed."""
        parameter = self.parameters[name]
        if name not in PATHS:
            return parameter.spec()
        # Of several paths the journal tells which is meant by name, so these stay where they are.
        found = holds(name, self.parameters, self._stand_ins)
        return {"holds": found, **{k: v for k, v in parameter.spec().items() if k != "value"}}

    def _where_it_lies(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """The paths as they are now: a copy may stand in for what has gone."""
        return {name: self._stand_ins.get(path, path) for name, path in self._paths(parameters).items()}

    def _paths(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """As the search space names them: what was proposed earlier may name the one path of a name as it was called
        then."""
        known = {name: self.parameters[name] for name in PATHS if name in parameters and name in self.parameters}
        return {name: p.values[0] if p.is_fixed else parameters[name] for name, p in known.items()}

    def _searched(self) -> list[str]:
        return [name for name, parameter in self.parameters.items() if not parameter.is_fixed]


def as_shaping(name: str, value: Any) -> Any:
    """What of a parameter's value tells shapes apart."""
    if name in PART_FIELDS:
        return value is not None  # a rate of 0 is one, too
    return bool(value) if name in WHETHER_ANY else value


def _choices(name: str, parameter: Parameter) -> int:
    """How many values that tell shapes apart a parameter may take; one of a range is as good as constant here."""
    values = parameter.grid_values() or [None]
    return len({as_shaping(name, value) for value in values}) if name in WHETHER_ANY else len(values)


def _listed(parameter: Parameter) -> Sequence[Any]:
    values = parameter.grid_values()
    assert values is not None  # checked in rules.py
    return values


def _json(value: Any) -> str:
    return json.dumps(value, sort_keys=True)
