"""A sweep's folder of any size, with tables and without training: for benchmarks and tests of the analysis.

The truth is a log-normal accelerated failure time: steps to grok are halved by a doubling of weight decay and by each
tenth of training fraction, and stretched by dropout and by some bases. All phases are there. Where trials are pruned it
is at rungs, by a signal that is correlated with the time to grok, and a share of them is audited.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from grokray.records.collect import write_tables
from grokray.records.folder import SweepFolder
from grokray.records.schema import CURVES_SCHEMA, TRIALS_SCHEMA
from grokray.sweep.load import load_text
from grokray.trial import TrialConfig

SPACE = """\
name: {name}
method: {method}
num_trials: {configurations}
seeds: {seeds}
seed: {seed}
parameters:
  operation: {{value: x/y_mod}}
  modulus: {{value: 97}}
  task_type: {{values: [classification, sequence]}}
  base: {{values: [2, 10, 64], when: {{task_type: sequence}}}}
  weight_decay: {{distribution: log_uniform_values, min: 0.01, max: 3}}
  dropout: {{min: 0.0, max: 0.4}}
  training_fraction: {{min: 0.2, max: 0.8}}
  num_steps: {{value: {steps}}}
trial: {{eval_interval: {interval}, sustain: 3, threshold: 0.99}}
scheduler: {scheduler}
"""
SCHEDULERS = {
    "fifo": "{type: fifo}",
    "grok_asha": "{type: grok_asha, grace_period: 2000, audit_fraction: 0.15}",
    "unaudited": "{type: asha, grace_period: 2000, audit_fraction: 0}",
}
DEFAULTS = {name: info.get_default() for name, info in TrialConfig.model_fields.items()}
PART_TRIALS = 5_000
AUDIT, STOPPED_SHARE = 0.15, 0.5
ACCURACY = 0.998  # that a trial comes to


@dataclass(frozen=True, kw_only=True)
class Truth:
    """(n,) each. Steps are in evaluations' grid, infinite where never; `end` is the last measurement's step."""

    memorized: np.ndarray
    grokked: np.ndarray
    end: np.ndarray
    outcome: np.ndarray
    stop_step: np.ndarray
    audited: np.ndarray


def make_sweep(
    path: str | Path,
    trials: int,
    *,
    seeds: int = 3,
    steps: int = 20_000,
    interval: int = 100,
    scheduler: str = "grok_asha",
    method: str = "random",
    seed: int = 0,
    name: str = "synthetic",
    curves: bool = True,
    running: int = 0,
) -> SweepFolder:
    """`trials` is rounded up to whole configurations; the last `running` of them have not ended."""
    configurations = -(-trials // seeds)
    text = SPACE.format(
        name=name,
        method=method,
        configurations=configurations,
        seeds=list(range(seeds)),
        seed=seed,
        steps=steps,
        interval=interval,
        scheduler=SCHEDULERS[scheduler],
    )
    config = load_text(text, f"{name}.yaml", name)
    meta = {
        "versions": {"grokray": "0.1.0", "torch": "2.13.0", "ray": "2.60.0"},
        "command": f"grokray sweep {name}.yaml",
    }
    folder = SweepFolder.create_or_open(path, config.to_yaml(), config.fingerprint(), meta)
    rng = np.random.default_rng(seed)
    settings = _settings(rng, configurations, seeds)
    truth = _truth(rng, settings, steps, interval, scheduler)
    if running:
        truth.outcome[-running:] = None
        truth.grokked[-running:] = np.inf
        truth.end[-running:] = interval * 3
        truth.stop_step[-running:] = np.nan
        truth.audited[-running:] = False
    table = _table(settings, truth, steps, interval)
    write_tables(folder, table, _curves(rng, table, truth, interval) if curves else [CURVES_SCHEMA.empty_table()])
    return folder


def _settings(rng: np.random.Generator, configurations: int, seeds: int) -> dict[str, np.ndarray]:
    sequence = rng.random(configurations) < 0.5
    drawn = {
        "task_type": np.where(sequence, "sequence", "classification").astype(object),
        "base": np.where(sequence, rng.choice([2.0, 10.0, 64.0], configurations), np.nan),
        "weight_decay": np.exp(rng.uniform(np.log(0.01), np.log(3), configurations)),
        "dropout": rng.uniform(0, 0.4, configurations),
        "training_fraction": rng.uniform(0.2, 0.8, configurations),
    }
    settings = {name: np.repeat(values, seeds) for name, values in drawn.items()}
    settings["configuration"] = np.repeat(np.arange(configurations), seeds)
    settings["seed"] = np.tile(np.arange(seeds), configurations)
    settings["luck"] = np.repeat(rng.normal(size=configurations), seeds)
    return settings


def _truth(rng: np.random.Generator, s: dict[str, np.ndarray], steps: int, interval: int, scheduler: str) -> Truth:
    n = len(s["seed"])
    base = {2.0: 0.9, 10.0: -0.2, 64.0: 0.5}
    slower = np.array([base.get(value, 0.0) for value in s["base"]])
    log_time = np.log(0.3 * steps) - 0.55 * np.log2(s["weight_decay"]) - 0.7 * 10 * (s["training_fraction"] - 0.5)
    log_time += 2.0 * s["dropout"] + slower + 0.3 * s["luck"] + 0.3 * rng.normal(size=n)
    fit = 0.02 * steps * np.exp(1.5 * s["dropout"] + 0.2 * rng.normal(size=n))
    confused = (s["weight_decay"] > 1.5) & (s["dropout"] > 0.25) & (rng.random(n) < 0.8)
    diverged = rng.random(n) < 0.01
    memorized = np.where(confused | diverged, np.inf, _on_grid(fit, interval))
    grokked = np.maximum(_on_grid(np.exp(log_time), interval), memorized)
    grokked[(grokked > steps - 2 * interval) | confused | diverged] = np.inf
    end = np.where(np.isfinite(grokked), grokked + 2 * interval, steps)
    end[diverged] = _on_grid(rng.uniform(0.05, 0.5, n) * steps, interval)[diverged]
    outcome = np.where(np.isfinite(grokked), "grokked", np.where(diverged, "diverged", "budget")).astype(object)
    truth = Truth(
        memorized=memorized,
        grokked=grokked,
        end=end,
        outcome=outcome,
        stop_step=np.full(n, np.nan),
        audited=np.zeros(n, bool),
    )
    if scheduler != "fifo":
        _prune(rng, truth, log_time, (0.2 * steps, 0.4 * steps), 0.0 if scheduler == "unaudited" else AUDIT)
    return truth


def _prune(
    rng: np.random.Generator, truth: Truth, log_time: np.ndarray, rungs: tuple[float, ...], chance: float
) -> None:
    signal = log_time + 0.7 * rng.normal(size=len(log_time))
    for rung in rungs:
        there = (truth.end > rung) & np.isnan(truth.stop_step)
        unwanted = there & (signal > np.quantile(signal[there], 1 - STOPPED_SHARE))
        truth.stop_step[unwanted] = rung
        truth.audited[unwanted] = rng.random(int(unwanted.sum())) < chance
        cut = unwanted & ~truth.audited
        truth.end[cut], truth.outcome[cut], truth.grokked[cut] = rung, "pruned", np.inf


def _on_grid(steps: np.ndarray, interval: int) -> np.ndarray:
    """The first measurement that sees the event."""
    return np.ceil(np.maximum(steps, 1) / interval) * interval


def _table(s: dict[str, np.ndarray], truth: Truth, steps: int, interval: int) -> pa.Table:
    n = len(s["seed"])
    seen = np.where(truth.memorized <= truth.end, truth.memorized, np.nan)
    grokked = np.isfinite(truth.grokked)
    grok_step = np.where(grokked, truth.grokked, np.nan)
    generalised = np.where(grokked, truth.grokked - interval, np.nan)
    delay = generalised - seen
    phase = np.where(np.isnan(seen), "confusion", np.where(~grokked, "memorization", "")).astype(object)
    phase[grokked] = np.where(delay[grokked] >= 1_000, "grokking", "comprehension")
    phase[truth.outcome == "diverged"] = "diverged"
    running = np.array([value is None for value in truth.outcome])
    reason = np.where(grokked, None, np.where(running, "running", truth.outcome))
    wanted = ~np.isnan(truth.stop_step)
    probability = np.where(wanted, AUDIT if truth.audited.any() else 0.0, np.nan)
    ids = [
        hashlib.sha256(f"{c} {x}".encode()).hexdigest()[:16] for c, x in zip(s["weight_decay"], s["seed"], strict=True)
    ]
    sequence = s["task_type"] == "sequence"
    best = np.where(grokked, ACCURACY, np.where(np.isnan(seen), 0.05, 0.3))
    columns: dict[str, Any] = {
        **{name: [value] * n for name, value in DEFAULTS.items()},
        **{name: s[name] for name in ("configuration", "seed", "task_type", "weight_decay", "dropout")},
        "training_fraction": s["training_fraction"],
        "base": s["base"],
        "digit_order": np.where(sequence, "most_first", None),
        **dict.fromkeys(("init_seed", "split_seed", "order_seed"), s["seed"]),
        "num_steps": [steps] * n,
        "eval_interval": [interval] * n,
        "trial_id": ids,
        "trial_index": np.arange(n),
        "state": np.where(running, "running", "ended"),
        "outcome": truth.outcome,
        "phase": phase,
        "memorization_step": seen,
        "memorization_step_lower": seen - interval,
        "grok_step": grok_step,
        "grok_step_lower": grok_step - interval,
        "grok_delay": grok_step - seen,
        "duration_steps": np.where(grokked, grok_step, truth.end),
        "event_observed": grokked,
        "censor_reason": reason,
        "stop_step": truth.stop_step,
        "audited": truth.audited,
        "audit_probability": probability,
        "steps_trained": truth.end,
        "wall_time_s": truth.end / 100,
        "final_train_exact_match": np.where(np.isnan(seen), 0.4, 1.0),
        "final_heldout_exact_match": best,
        "final_heldout_loss": np.where(grokked, 0.01, 5.0 + s["luck"]),
        "best_heldout_exact_match": best,
        "best_heldout_exact_match_step": truth.end,
        "best_heldout_loss": np.where(grokked, 0.01, 4.0),
        "grokray_version": ["0.1.0"] * n,
        "torch_version": ["2.13.0"] * n,
        "ray_version": ["2.60.0"] * n,
    }
    return pa.table([_array(columns.get(f.name, [None] * n), f.type) for f in TRIALS_SCHEMA], schema=TRIALS_SCHEMA)


def _array(values: Any, kind: pa.DataType) -> pa.Array:
    if isinstance(values, np.ndarray) and values.dtype.kind == "f":
        return pa.array(values, from_pandas=True).cast(kind)
    return (
        pa.array(values, type=kind, from_pandas=True)
        if not isinstance(values, np.ndarray)
        else pa.array(values.tolist() if values.dtype.kind in "OU" else values, type=kind)
    )


def _curves(rng: np.random.Generator, trials: pa.Table, truth: Truth, interval: int) -> Iterator[pa.Table]:
    """Sigmoids through the events, with a little noise."""
    ids = np.array(trials["trial_id"].to_pylist(), dtype=object)
    for start in range(0, len(ids), PART_TRIALS):
        rows = np.arange(start, min(start + PART_TRIALS, len(ids)))
        counts = (truth.end[rows] // interval).astype(int)
        trial = np.repeat(rows, counts)
        step = interval * (1 + np.arange(len(trial)) - np.repeat(np.cumsum(counts) - counts, counts))
        train = _rise(rng, step, truth.memorized[trial], interval, 0.45)
        heldout = _rise(rng, step, truth.grokked[trial], interval, 0.35)
        values = {
            "trial_index": trial,
            "attempt": np.ones(len(trial), int),
            "step": step,
            "train_exact_match": train,
            "train_token_accuracy": train,
            "heldout_exact_match": heldout,
            "heldout_token_accuracy": heldout,
            "train_loss": 0.002 + 4 * (1 - train),
            "heldout_loss": 0.01 + 8 * (1 - heldout) + 0.2 * rng.random(len(trial)),
            "wall_time_s": step / 100,
        }
        identity = pa.DictionaryArray.from_arrays(pa.array(trial - start), pa.array(ids[rows].tolist())).cast(
            pa.string()
        )
        arrays = [
            identity
            if f.name == "trial_id"
            else pa.array(values[f.name]).cast(f.type)
            if f.name in values
            else pa.nulls(len(trial), f.type)
            for f in CURVES_SCHEMA
        ]
        yield pa.table(arrays, schema=CURVES_SCHEMA)


def _rise(rng: np.random.Generator, step: np.ndarray, event: np.ndarray, interval: int, rest: float) -> np.ndarray:
    """Below 0.9 until the event, and above 0.99 from it on; where it never comes, up to `rest`."""
    until = np.minimum(step / np.where(np.isfinite(event), event, 1e12), 1) ** 6
    before = np.where(np.isfinite(event), 0.02 + 0.85 * until, rest * (1 - np.exp(-step / (20 * interval))))
    before = np.clip(before + 0.01 * rng.normal(size=len(step)), 0, 0.89)
    return np.where(step >= event, ACCURACY - 0.005 * rng.random(len(step)), before)
