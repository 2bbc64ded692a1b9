"""`grokray sweep --dry-run`: what would be run, as text."""

from __future__ import annotations

from rich.console import Console
from rich.text import Text

from grokray.arguments import check_switches
from grokray.cli.display import show_notes
from grokray.cli.preview import Preview, ShapePreview, SmallBatches, preview
from grokray.cli.tables import Column, fitted
from grokray.cli.wording import memory, value
from grokray.records.folder import SweepFolder
from grokray.records.uri import hide_secrets
from grokray.sweep.config import SweepConfig
from grokray.sweep.sections import Rungs
from grokray.sweep.tracked import check_tracking
from grokray.tasks.last_batch import what_it_may_do
from grokray.trial import TrialConfig
from grokray.wording import count, listed

# Fields of a shape, by what their columns are called.
FIELDS = {
    "num_layers": "layers",
    "dim_model": "width",
    "num_heads": "heads",
    "vocabulary_size": "vocabulary",
    "length": "length",
    "answers": "answer",
    "uniform": "answers aligned",
    "norm": "norm",
    "batch_size": "batch",
    "dtype": "dtype",
    "precision": "precision",
    "activation": "activation",
    "accumulation_steps": "accumulation",
    "optimizer": "optimizer",
    "loss": "loss",
    "gradient_filter": "filter",
    "sharing": "shared",
    "chunk_rows": "rows a chunk",
    "by_token": "by token",
    "batch_sharing": "shared in batches",
    "rates_by_part": "rates by part",
}
IF_DIFFERENT = (
    *("answers", "uniform", "dtype", "precision", "activation", "accumulation_steps"),
    *("optimizer", "loss", "gradient_filter", "rates_by_part"),
)
DEAR = 30  # percent of the time
# How the engine computes a shape; of use only where nothing else tells two shapes apart.
IF_NOTHING_ELSE = ("sharing", "chunk_rows", "by_token", "batch_sharing")


def show_dry_run(console: Console, config: SweepConfig, out: str) -> None:
    """Raises ConfigError where the search proposes a trial that cannot be, or a tracker lacks what it needs;
    FolderError where it cannot be run.
    """
    remarks: list[str] = []
    check_switches()
    check_tracking(config.tracking, remarks.append)
    found, folder = preview(config), SweepFolder.find(out, config.fingerprint())
    per_seed = f"{count(found.configurations, 'configuration')} × {count(len(config.seeds), 'seed')}"
    console.print(Text(f"{config.name} ({config.method}): {per_seed} = {count(found.trials, 'trial')}"))
    show_notes(console, config)
    for remark in remarks:
        console.print(Text(remark))
    if found.repeats:
        console.print(
            Text(f"note: configurations that repeat an earlier one, and are not trained again: {found.repeats:,}")
        )
    if found.trials:
        console.print()
        _show_trials(console, config, found)
    else:
        console.print(Text(f"part {config.part} is empty: there are fewer configurations than parts"))
    console.print(Text(_folder(folder, out, found.trials)), soft_wrap=True)
    console.print(Text("nothing was run"))


def _show_trials(console: Console, config: SweepConfig, found: Preview) -> None:
    _show_first(console, config, found)
    _show_shapes(console, found)
    console.print(Text(_steps(config, found)))
    console.print(Text(_evaluations(config, found)))
    if found.own is not None:
        taken = f"{1000 * found.own.seconds:,.1f} ms each time of the first trial"
        console.print(Text(f"measures of your own: {listed(found.own.names)}, {taken}"))
    if found.small.example is not None:
        console.print(Text(_small_batches(found.small, found.small.example)))
    if isinstance(config.scheduler, Rungs):
        for line in _rungs(config.scheduler, found):
            console.print(Text(line))


def _rungs(scheduler: Rungs, found: Preview) -> list[str]:
    if not found.rungs:
        return [f"rungs: none, as grace_period is {scheduler.grace_period:,} and no trial is longer: none is stopped"]
    rungs = ", ".join(f"{rung:,}" for rung in found.rungs)
    audited = f"{100 * scheduler.audit_fraction:g} % of those to be stopped run on all the same"
    return [f"rungs: {rungs}; {scheduler.rule()}", f"audit: {audited}"]


def _folder(folder: SweepFolder | None, out: str, trials: int) -> str:
    if folder is None:
        return f"folder: {hide_secrets(out)}, which is to be made"
    ended = sum(trial.done for trial in folder.state().trials.values())
    grows = "" if folder.growth is None else f"; it grows: {folder.growth}"
    return f"folder: {hide_secrets(out)}, which holds this sweep: {ended:,} of {count(trials, 'trial')} ended{grows}"


def _steps(config: SweepConfig, found: Preview) -> str:
    budget, trains_on = config.max_steps(), config.parameters.get("continue_training")
    made_of = f" ({found.trials:,} × {budget:,})" if found.most_steps == found.trials * budget else ""
    always = config.trial.continue_training if trains_on is None else all(trains_on.grid_values() or [False])
    return f"steps: at most {found.most_steps:,}{made_of}" + ("" if always else ", fewer as trials grok")


def _evaluations(config: SweepConfig, found: Preview) -> str:
    shares = sorted(round(100 * shape.evaluated) for shape in found.shapes)
    least, most = shares[0], shares[-1]
    share = f"{most}" if least == most else f"{least} to {most}"
    text = f"evaluations: some {share} % of the time at eval_interval {config.trial.eval_interval:,}"
    return text + (", a larger one saves" if most > DEAR else "")


def _small_batches(found: SmallBatches, example: TrialConfig) -> str:
    where = f"batch_size {example.batch_size:,} and training_fraction {example.training_fraction:.3g}"
    which = f"{found.number:,} of {found.looked_at:,}" if found.looked_at > 1 else "it"
    return f"note: epochs of {which} end with a small batch, with {where} of {what_it_may_do(found.last)}"


def _show_first(console: Console, config: SweepConfig, found: Preview) -> None:
    names = [name for name, parameter in config.parameters.items() if not parameter.is_fixed]
    if not names or not found.first:
        console.print(Text("no parameter varies\n"))
        return
    numbers = [config.first_index + i * config.stride for i in range(len(found.first))]
    columns = [Column(name="#", cells=[str(number) for number in numbers])]
    columns += [Column(name=n, cells=[value(c.get(n)) for c in found.first], optional=True) for n in names]
    console.print(fitted(columns, console.width))
    rest = found.configurations - len(found.first)
    if rest:
        learns = ", as tpe learns from what came before" if config.method == "tpe" else ""
        console.print(Text(f"and {rest:,} more{learns}"))
    console.print()


def _show_shapes(console: Console, found: Preview) -> None:
    shapes = found.shapes
    columns = [_shape_column(field, name, shapes) for field, name in FIELDS.items() if _is_shown(field, shapes)]
    columns += [
        Column(name="slot", cells=[memory(s.state_bytes) for s in shapes]),
        Column(name="tables", cells=[memory(s.table_bytes) for s in shapes], optional=True),
    ]
    console.print(fitted(columns, console.width))
    where = "" if found.all_shapes else f" among the first {found.sampled:,} configurations"
    console.print(Text(f"{count(len(shapes), 'shape')}{where}; trials of one shape are trained together"))
    console.print(Text(_memory(shapes)))
    console.print()


def _shape_column(field: str, name: str, shapes: tuple[ShapePreview, ...]) -> Column:
    """What sets two shapes apart stays where the terminal is narrow; what they share may go."""
    values = [getattr(s.shape, field) for s in shapes]
    is_number = isinstance(values[0], int) and not isinstance(values[0], bool)
    return Column(name=name, cells=[value(v) for v in values], optional=len({*values}) == 1, number=is_number)


def _is_shown(field: str, shapes: tuple[ShapePreview, ...]) -> bool:
    differs = len({getattr(s.shape, field) for s in shapes}) > 1
    if field not in IF_NOTHING_ELSE:
        return field not in IF_DIFFERENT or differs
    others = [name for name in FIELDS if name not in IF_NOTHING_ELSE]
    return differs and len({tuple(getattr(s.shape, name) for name in others) for s in shapes}) < len(shapes)


def _memory(shapes: tuple[ShapePreview, ...]) -> str:
    largest = max(s.state_bytes for s in shapes)
    average = ", a filter's average" * any(s.shape.averages_gradients for s in shapes)
    return f"memory: up to {memory(largest)} a slot (weights, the optimizer's moments{average}), tables shared by all"
