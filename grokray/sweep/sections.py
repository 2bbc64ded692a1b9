"""The sections of a sweep's file apart from its parameters: one small frozen model each."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    model_validator,
)
from pydantic_core import InitErrorDetails

from grokray.sweep.grammar import fault, one_of
from grokray.sweep.metrics import ALIASES, CURVE_METRICS, METRICS, ROBUSTNESS, Goal
from grokray.trial import LARGEST_COUNT, Measures
from grokray.wording import nearest


def _whole(value: Any) -> Any:
    # 1e5 is a float in YAML, and a natural way to write a number of steps.
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _metric_name(value: Any) -> Any:
    return ALIASES.get(value, value) if isinstance(value, str) else value


def _seeds(value: Any, checked: ValidatorFunctionWrapHandler) -> Any:
    """A list whose seeds `checked` looks at, one by one; how many there are stands for the first so many."""
    value = _whole(value)
    if isinstance(value, int) and not isinstance(value, bool):
        if not 1 <= value <= MAX_SEEDS:
            raise fault(None, f"must be a list of seeds, or how many: 1 to {MAX_SEEDS}")
        return tuple(range(value))
    if not isinstance(value, list | tuple) or not 1 <= len(value) <= MAX_SEEDS:
        raise fault(None, f"must be a list of 1 to {MAX_SEEDS} seeds, or how many")
    seeds = tuple(map(_whole, value))
    if len(set(map(repr, seeds))) == len(seeds):
        return checked(seeds)
    faults: list[InitErrorDetails] = [{"type": fault(None, "must hold each seed once"), "input": value}]
    try:
        checked(seeds)
    except ValidationError as error:  # to be mended in one go
        faults += [{k: e[k] for k in ("type", "loc", "input", "ctx") if k in e} for e in error.errors()]  # type: ignore
    raise ValidationError.from_exception_data("seeds", faults)


Keep = Literal["none", "last", "best", "last+best", "all"]
KEEP: tuple[str, ...] = get_args(Keep)


def rule_of_keeping(value: Any) -> Any:
    """true and false, from a file or as a text, are what this was before it had more values."""
    return {"true": "last", "false": "none"}.get(str(value).lower(), value)


def _keep(value: Any) -> Any:
    value = rule_of_keeping(value)
    if isinstance(value, str) and value in KEEP:
        return value
    raise fault(None, f"must be one of {', '.join(KEEP)}{nearest(value, KEEP)}")


MAX_SEEDS = 10_000
MAX_CONFIGURATIONS = 10_000_000
MAX_EXAMPLES = 100_000  # of each part, at every measurement
Whole = Annotated[int, BeforeValidator(_whole)]
Count = Annotated[Whole, Field(ge=1, le=LARGEST_COUNT)]
Seed = Annotated[Whole, Field(ge=0, lt=2**63)]
Seeds = Annotated[tuple[Seed, ...], WrapValidator(_seeds)]
MetricName = Annotated[str, one_of(METRICS), BeforeValidator(_metric_name)]
# What grok_asha compares trials by: a metric of its measurements, and what is made of it.
Signal = Literal["heldout_loss_slope", "weight_norm_contraction", "fourier_gini"]
SIGNAL_METRICS: dict[Signal, str] = {
    "heldout_loss_slope": "heldout_loss",
    "weight_norm_contraction": "weight_norm",
    "fourier_gini": "fourier_gini",
}
CurveMetric = Annotated[str, one_of(CURVE_METRICS), BeforeValidator(_metric_name)]


class Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class Metric(Section):
    """What the search aims at, or one of several such. For grid, random and sobol it only orders the summary."""

    name: MetricName = Field(default="grok_step", description="The metric.")
    goal: Goal = Field(
        default_factory=lambda data: METRICS.get(data.get("name", ""), "minimize"),
        description="Which way is better; by default as the metric has it.",
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.name == ROBUSTNESS and self.goal == "minimize":
            raise fault("goal", "must be maximize for robustness: trials that fail count as not grokked")
        return self


def _all_different(metrics: tuple[Metric, ...]) -> tuple[Metric, ...]:
    for metric in metrics:
        if sum(metric.name == other.name for other in metrics) > 1:
            raise fault(None, f"must name each metric once, and {metric.name} is there twice")
    return metrics


MAX_METRICS = 4
Several = Annotated[
    tuple[Metric, ...],
    Field(min_length=1, max_length=MAX_METRICS),
    BeforeValidator(lambda value: tuple(value) if isinstance(value, list) else value),
    AfterValidator(_all_different),
]
Metrics = Annotated[
    Annotated[Metric, Tag("one")] | Annotated[Several, Tag("several")],
    Discriminator(lambda value: "several" if isinstance(value, list | tuple) else "one"),
]


class TrialSection(Section):
    """How every trial is measured, kept and retried."""

    eval_interval: Count = Field(default=100, description="Training steps between two measurements.")
    eval_start: bool = Field(default=False, description="Measure before the first step too, for the curve alone.")
    eval_train_rows: Count | None = Field(
        default=None, description="Training rows that are measured, drawn at random once; all if left out."
    )
    sustain: Count = Field(default=3, description="Consecutive measurements that make a grok_step.")
    threshold: float = Field(default=0.99, gt=0, le=1, description="Accuracy (exact match) that counts as grokked.")
    continue_training: bool = Field(default=False, description="Train on to num_steps after grokking.")
    measure: Measures = Field(default="", description="Also measured: names of a list, or in one text by commas.")
    checkpoint_interval: Count = Field(default=1000, description="Training steps between two checkpoints.")
    retries: Whole = Field(default=3, ge=0, le=1000, description="How often a failed trial is tried again.")
    keep_checkpoints: Annotated[Keep, BeforeValidator(_keep)] = Field(
        default="none", description="Checkpoints kept of a trial that has ended; all keeps those by step too."
    )
    examples: Whole = Field(
        default=0, ge=0, le=MAX_EXAMPLES, description="Examples of each part written at every measurement."
    )
    measure_file: str | None = Field(
        default=None, min_length=1, description="Python file of measures of your own: docs/measures.md."
    )


# The fields of `trial` that say what a trial is, and so belong to its TrialConfig.
DEFINING = ("eval_interval", "sustain", "threshold", "continue_training", "measure", "eval_train_rows", "eval_start")


class SchedulerSection(Section):
    """What every scheduler says of itself."""

    type: str

    def rungs(self, max_steps: int) -> tuple[int, ...]:
        """The steps below max_steps at which a trial waits for a decision."""
        return ()

    def expected_steps(self, num_steps: int, max_steps: int) -> float:
        """About how many steps a trial with a budget of num_steps trains; max_steps is the largest budget."""
        return num_steps

    def rule(self) -> str:
        """What happens at a rung, for people."""
        return ""


class Fifo(SchedulerSection):
    """Every trial runs to its own end."""

    type: Literal["fifo"] = Field(default="fifo", description="fifo: no trial is stopped early.")


class Rungs(SchedulerSection):
    """Stops trials at rungs: grace_period, grace_period·reduction_factor, …, in training steps."""

    grace_period: Count = Field(description="Training steps before a trial may be stopped.")
    reduction_factor: Whole = Field(default=3, ge=2, le=1000, description="One of so many goes on at each rung.")
    audit_fraction: float = Field(
        default=0.1, ge=0, le=1, description="Share of the trials to be stopped that run on all the same, at random."
    )

    def rungs(self, max_steps: int) -> tuple[int, ...]:
        """grace_period · reduction_factorᵏ below max_steps: 2,000, 6,000, 18,000 of 20,000."""
        out, rung = [], self.grace_period
        while rung < max_steps:
            out.append(rung)
            rung *= self.reduction_factor
        return tuple(out)


class Asha(Rungs):
    """Stops trials that are behind at a rung."""

    type: Literal["asha"] = Field(description="asha: the worse trials are stopped early.")
    metric: CurveMetric = Field(default="heldout_exact_match", description="What trials are compared by.")

    @property
    def goal(self) -> Goal:
        return METRICS[self.metric]

    def expected_steps(self, num_steps: int, max_steps: int) -> float:
        """Every rung costs about the same, a grace period for each trial, those that are audited aside."""
        stopped = min(num_steps, self.grace_period * (len(self.rungs(max_steps)) + 1))
        return stopped + self.audit_fraction * (num_steps - stopped)

    def rule(self) -> str:
        return f"at each the best 1 in {self.reduction_factor} goes on"


class GrokAsha(Rungs):
    """Stops trials that do not fit their training pairs, and those that have fitted them and show no progress."""

    type: Literal["grok_asha"] = Field(
        description="grok_asha: asha by signals that tell waiting for grokking from never grokking."
    )
    reduction_factor: Whole = Field(default=2, ge=2, le=1000, description="Each rung is so many times the one before.")
    signal: Signal = Field(default="heldout_loss_slope", description="What trials past their patience are compared by.")
    stop_share: float = Field(default=0.5, gt=0, lt=1, description="The lowest share of these that is stopped.")
    patience: Count = Field(
        default_factory=lambda data: data.get("grace_period", 1),
        description="Training steps that a trial may wait after memorization; by default grace_period.",
    )
    fit_threshold: float = Field(
        default=0.9, gt=0, le=1, description="Accuracy (exact match) on the training pairs that counts as fitted."
    )
    fit_by: Count = Field(
        default_factory=lambda data: data.get("grace_period", 1),
        description="Step by which training pairs must be fitted; by default grace_period.",
    )

    def expected_steps(self, num_steps: int, max_steps: int) -> float:
        """As if every trial could be compared from the second rung on, and none grokked."""
        steps, going, last = 0.0, 1.0, 0
        for number, rung in enumerate(self.rungs(num_steps)):
            steps, last = steps + going * (rung - last), rung
            going *= 1 - self.stop_share * (1 - self.audit_fraction) if number else 1
        return steps + going * (num_steps - last)

    def rule(self) -> str:
        return (
            f"from step {self.fit_by:,} on those that have not fitted their training pairs are stopped, and of those "
            f"that have for {self.patience:,} steps the lowest {100 * self.stop_share:g} % in {self.signal}"
        )


SCHEDULERS: dict[str, type[SchedulerSection]] = {"fifo": Fifo, "asha": Asha, "grok_asha": GrokAsha}
Scheduler = Annotated[Fifo | Asha | GrokAsha, Field(discriminator="type")]


class Resources(Section):
    """What one trial takes: fractions of a CPU core and of a GPU; whole numbers above 1 for `execution: process`."""

    cpu: float = Field(gt=0, description="CPU cores for one trial; 0.05 if fused, 1 if process.")
    gpu: float = Field(default=0.0, ge=0, description="GPUs for one trial; 0.02 seats 50 trials on each GPU.")


def _how_much(value: Any) -> Any:
    return {"min": "minimal", "max": "maximal"}.get(value, value) if isinstance(value, str) else value


_PROJECT = r"[^/\\\n#?%:]{1,128}"


def _project(value: Any) -> Any:
    if not isinstance(value, str) or not re.fullmatch(_PROJECT, value):
        raise fault(None, r"must be a text of 1 to 128 characters, none of them / \ # ? % :")
    return value


class Tracking(Section):
    """Who else is told; grokray keeps its own records in any case."""

    wandb: Annotated[
        Literal["disabled", "minimal", "maximal"],
        BeforeValidator(_how_much, json_schema_input_type=Literal["disabled", "minimal", "maximal", "min", "max"]),
    ] = Field(default="disabled", description="What Weights & Biases gets: nothing, little, or all there is.")
    mode: Literal["auto", "online", "offline"] = Field(
        default="auto", description="offline keeps W&B's files in the sweep's folder; auto is online if there is a key."
    )
    project: Annotated[str, BeforeValidator(_project)] = Field(
        default="grokray", description="W&B's project.", json_schema_extra={"pattern": f"^{_PROJECT}$"}
    )
    entity: str | None = Field(default=None, description="W&B's user or team; by default the key's own.")
    tensorboard: bool = Field(default=False, description="Write scalars for TensorBoard into the sweep's folder.")
