"""What defines one trial.

A `TrialConfig` holds the clear names only, with every value resolved. The original's names (`prime`, `seed`,
`max_bit_length_train`, …) are translated before it is made, in `grokray.tasks.resolve`.
"""

from __future__ import annotations

import hashlib
import json
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

# Enters every trial's id. Raise it when the same config would train differently than before.
TRIAL_VERSION = 1


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
    training_fraction: float = Field(default=0.5, gt=0, lt=1)
    split: Literal["random", "commutative"] = "random"
    curriculum: Literal["random", "ordered"] = "random"

    # The model
    num_layers: int = Field(default=2, ge=1, le=64)
    dim_model: int = Field(default=128, ge=1, le=8192)
    num_heads: int = Field(default=4, ge=1, le=256)
    norm: Literal["pre", "post", "input"] = "pre"
    dropout: float = Field(default=0.0, ge=0, lt=1)
    dtype: Literal["float32", "float64"] = "float32"

    # Training
    batch_size: int = Field(default=512, ge=1, le=1_048_576)
    learning_rate: float = Field(default=1e-3, gt=0, le=10)
    weight_decay: float = Field(default=1.0, ge=0, le=1000)
    warmup_steps: int = Field(default=9, ge=0)
    num_steps: int = Field(default=20_000, ge=1, le=2**31 - 1)
    init_seed: int = Field(default=0, ge=0, lt=2**63)
    split_seed: int = Field(default=0, ge=0, lt=2**63)
    order_seed: int = Field(default=0, ge=0, lt=2**63)

    # When it is measured, and when it ends
    eval_interval: int = Field(default=100, ge=1)
    threshold: float = Field(default=0.99, gt=0, le=1, description="Accuracy of an event; exact match.")
    sustain: int = Field(default=3, ge=1, description="Consecutive evaluations that make a grok_step.")
    continue_training: bool = Field(default=False, description="Train on to num_steps after grokking.")

    @model_validator(mode="after")
    def _heads_divide_width(self) -> TrialConfig:
        if self.dim_model % self.num_heads:
            raise ValueError(f"num_heads is {self.num_heads}, but must divide dim_model, which is {self.dim_model}")
        return self

    @property
    def id(self) -> str:
        """16 hexadecimal digits, from every field that differs from its default.

        A field that a later version adds leaves the ids of existing trials as they are.
        """
        fields = self.model_dump(exclude_defaults=True)
        text = json.dumps([TRIAL_VERSION, fields], sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:16]
