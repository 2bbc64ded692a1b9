"""`grokray eval`: a checkpoint's losses and accuracies, on the data that its trial trained on and was tested on."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from grokray.cli.checkpoint_path import CheckpointArgument, TrialOption, WhichOption, load_trial
from grokray.cli.usage import threads_of

if TYPE_CHECKING:
    from grokray.engine.evaluation import Evaluation
    from grokray.engine.restored import Restored

METRICS = ("loss", "token_accuracy", "exact_match")
# Of a float32 model that other kernels compute: compiled ones round differently from these.
ROUNDING: dict[str, float] = {"rel_tol": 1e-4, "abs_tol": 1e-7}


def evaluate(
    checkpoint: CheckpointArgument,
    trial: TrialOption = None,
    which: WhichOption = "last",
    device: Annotated[str, typer.Option(metavar="TEXT", help="auto, cpu, cuda, or such as cuda:1.")] = "cpu",
    threads: Annotated[str, typer.Option(metavar="INT", help="CPU threads.")] = "1",
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON object.")] = False,
) -> int:
    """Measure a checkpoint again: training, held-out and out-of-domain examples of its trial."""
    number = threads_of(threads)
    import torch

    from grokray.engine.restored import measure

    torch.set_num_threads(number)
    found = load_trial(checkpoint, trial=trial, which=which, device=device)
    evaluation, rows = measure(found), _rows(found)
    metrics = evaluation.metrics
    # What was measured of the step itself cannot be measured again.
    then = {name: value for name, value in found.checkpoint.metrics.items() if name in metrics}
    if as_json:
        print(json.dumps(_as_plain(found, evaluation, rows[""], then)))
        return 0
    print(f"trial: {found.checkpoint.trial_id}, {found.config.operation}, at step {found.checkpoint.step:,}")
    for task, values in {"": metrics, **evaluation.tasks}.items():
        if task:
            print(f"\n{task}")
        _show(rows[task], values)
    for name, value in metrics.items():
        if not name.endswith(METRICS):
            print(f"{name}: {value:.6g}")
    print(_compared(then, metrics) if then else _nothing_kept(found))
    return 0


def _rows(trial: Restored) -> dict[str, dict[str, int]]:
    """Examples of each part that are measured: of all tasks together under "", and of each where there are several."""
    from grokray.engine.chunks import evaluated_rows
    from grokray.trial import PARTS

    table, (rows, part) = trial.dataset.table, evaluated_rows(trial.dataset)
    out = {"": {name: int((part == i).sum()) for i, name in enumerate(PARTS)}}
    for number, task in enumerate(table.task_names if len(table.task_names) > 1 else ()):
        own = part[table.task[rows] == number]
        out[task] = {name: int((own == i).sum()) for i, name in enumerate(PARTS)}
    return out


def _as_plain(
    trial: Restored, evaluation: Evaluation, rows: Mapping[str, int], then: Mapping[str, float]
) -> dict[str, Any]:
    tasks = {name: _plain(values) for name, values in evaluation.tasks.items()}
    return {
        "trial_id": trial.checkpoint.trial_id,
        "step": trial.checkpoint.step,
        "config": trial.checkpoint.config,
        "examples": dict(rows),
        "metrics": _plain(evaluation.metrics),
        **({"tasks": tasks} if tasks else {}),
        "as_the_run_measured": first_difference(then, evaluation.metrics) is None if then else None,
        "as_the_run_measured_to_rounding": same_to_rounding(then, evaluation.metrics) if then else None,
    }


def first_difference(then: Mapping[str, float | None], now: Mapping[str, float | None]) -> tuple[str, str] | None:
    """The first metric that differs, and how: ("heldout_loss", "is 1.5, was 1.25 (by 0.25)")."""
    for name in {**then, **now}:
        was, is_now = _finite(then.get(name)), _finite(now.get(name))
        if was != is_now:
            by = "" if was is None or is_now is None else f" (by {abs(is_now - was):.3g})"
            return name, f"is {_shown(is_now)}, was {_shown(was)}{by}"
    return None


def same_to_rounding(then: Mapping[str, float | None], now: Mapping[str, float | None]) -> bool:
    pairs = [(_finite(then.get(name)), _finite(now.get(name))) for name in {**then, **now}]
    return all(a == b or (a is not None and b is not None and math.isclose(a, b, **ROUNDING)) for a, b in pairs)


def _show(rows: Mapping[str, int], metrics: Mapping[str, float]) -> None:
    from grokray.cli.screen import screen
    from grokray.cli.tables import Column, fitted
    from grokray.cli.wording import PART_NAMES
    from grokray.wording import NOTHING, percent

    parts = [part for part, number in rows.items() if number]

    def cells(metric: str) -> list[str]:
        values = [metrics.get(f"{part}_{metric}") for part in parts]
        if metric == "loss":
            return [NOTHING if v is None else f"{v:.6g}" for v in values]
        return [percent(v) for v in values]

    columns = [
        Column(name="", cells=[PART_NAMES[part] for part in parts], number=False),
        Column(name="examples", cells=[f"{rows[part]:,}" for part in parts]),
        *(Column(name=metric.replace("_", " "), cells=cells(metric)) for metric in METRICS),
    ]
    console = screen()
    console.print(fitted(columns, console.width))


def _nothing_kept(trial: Restored) -> str:
    if trial.config.eval_start and trial.step == 0:
        return "what the run measured before its first step is in its curve alone"
    return "the run did not measure at this step"


def _compared(then: Mapping[str, float], now: Mapping[str, float]) -> str:
    different = first_difference(then, now)
    if different is None:
        return "exactly as the run measured"
    verdict = "as the run measured, but for rounding" if same_to_rounding(then, now) else "the run measured otherwise"
    return f"{verdict}: {' '.join(different)}"


def _plain(metrics: Mapping[str, float]) -> dict[str, float | None]:
    return {name: _finite(value) for name, value in metrics.items()}


def _finite(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else value


def _shown(value: float | None) -> str:
    return "no number" if value is None else repr(value)
