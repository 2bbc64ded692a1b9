"""`grokray sweep --dry-run`: what would be run, as text."""

from __future__ import annotations

from rich.console import Console
from rich.text import Text

from grokray.cli.preview import Preview, ShapePreview, preview
from grokray.cli.tables import Column, fitted
from grokray.cli.wording import count, memory, value
from grokray.sweep.config import SweepConfig
from grokray.sweep.sections import Asha


def show_dry_run(console: Console, config: SweepConfig) -> None:
    """Raises ConfigError where the search proposes a trial that cannot be."""
    found = preview(config)
    per_seed = f"{count(found.configurations, 'configuration')} × {count(len(config.seeds), 'seed')}"
    console.print(Text(f"{config.name} ({config.method}): {per_seed} = {count(found.trials, 'trial')}"))
    for note in config.notes:
        console.print(Text(f"note: {note}"))
    console.print()
    _show_first(console, config, found)
    _show_shapes(console, found)
    budget = config.max_steps()
    console.print(Text(f"steps: at most {found.most_steps:,} ({found.trials:,} × {budget:,}), fewer as trials grok"))
    if isinstance(config.scheduler, Asha):
        rungs = ", ".join(f"{rung:,}" for rung in found.rungs) or "none below num_steps"
        console.print(Text(f"rungs: {rungs}; at each the best 1 in {config.scheduler.reduction_factor} goes on"))
    console.print(Text("nothing was run"))


def _show_first(console: Console, config: SweepConfig, found: Preview) -> None:
    names = [name for name, parameter in config.parameters.items() if not parameter.is_fixed]
    if not names or not found.first:
        console.print(Text("no parameter varies\n"))
        return
    columns = [Column(name="#", cells=[str(i) for i in range(len(found.first))])]
    columns += [Column(name=n, cells=[value(c.get(n)) for c in found.first], optional=True) for n in names]
    console.print(fitted(columns, console.width))
    rest = found.configurations - len(found.first)
    if rest:
        learns = ", as tpe learns from what came before" if config.method == "tpe" else ""
        console.print(Text(f"and {rest:,} more{learns}"))
    console.print()


def _show_shapes(console: Console, found: Preview) -> None:
    shown: list[tuple[str, list[str], bool]] = [
        ("layers", [str(s.shape.num_layers) for s in found.shapes], True),
        ("width", [str(s.shape.dim_model) for s in found.shapes], True),
        ("heads", [str(s.shape.num_heads) for s in found.shapes], True),
        ("vocabulary", [str(s.shape.vocabulary_size) for s in found.shapes], True),
        ("length", [str(s.shape.length) for s in found.shapes], True),
        ("slot", [memory(s.slot_bytes) for s in found.shapes], True),
        ("tables", [memory(s.table_bytes) for s in found.shapes], True),
        ("norm", [s.shape.norm for s in found.shapes], False),
        ("batch", [str(s.shape.batch_size) for s in found.shapes], True),
    ]
    columns = [
        Column(name=name, cells=cells, number=number, optional=name in ("heads", "tables", "norm", "batch"))
        for name, cells, number in shown
    ]
    console.print(fitted(columns, console.width))
    where = "" if found.all_shapes else f" among the first {found.sampled:,} configurations"
    console.print(Text(f"{count(len(found.shapes), 'shape')}{where}; trials of one shape are trained together"))
    console.print(Text(_memory(found.shapes)))
    console.print()


def _memory(shapes: tuple[ShapePreview, ...]) -> str:
    largest = max(s.slot_bytes for s in shapes)
    return f"memory: up to {memory(largest)} a slot (weights and AdamW's moments), tables shared by all"
