"""What `grokray train` prints: a line for each evaluation, and what became of the trial."""

from __future__ import annotations

import sys
from collections.abc import Collection
from typing import TYPE_CHECKING

from grokray.cli.wording import PART_NAMES, duration
from grokray.tasks.file_rows import reaches_beyond
from grokray.wording import NOTHING, count, percent

if TYPE_CHECKING:
    from grokray.cli.train_source import Repeated
    from grokray.engine.engine import Measurement
    from grokray.records.trial_state import TrialState
    from grokray.trial import TrialConfig

OWN_ENDS = ("grokked", "budget", "diverged")
ENDS = {"budget": "all steps done, not grokked", "diverged": "its loss is no number any more"}


class TrainLines:
    """Lines of at most 60 characters; `quiet` leaves the result alone."""

    def __init__(self, config: TrialConfig, *, quiet: bool) -> None:
        self.config, self.quiet = config, quiet
        beyond = config.operand_limit_out is not None or config.operation == "arc" or reaches_beyond(config.data_file)
        self.parts = [p for p in PART_NAMES if p != "out_of_domain" or beyond]
        self._told: set[str] = set()
        self._unmeasured: set[str] = set()

    def notes(self, unused: Collection[str]) -> None:
        if self.quiet:
            return
        from grokray.tasks.dataset import build_dataset
        from grokray.tasks.last_batch import small_last_batch, what_it_may_do
        from grokray.tasks.resolve import instead

        for name in sorted(unused):
            print(f"note: the trial has no use for --{name}{instead(name, self.config)}", flush=True)
        if (number := self.config.num_measurements) < (sustain := self.config.sustain):
            measured = count(number, "measurement")
            print(f"note: {measured}, but sustain is {sustain}: it cannot grok", flush=True)
        if last := small_last_batch(self.config, len(build_dataset(self.config).split.train)):
            print(f"note: its epochs end with a batch of {what_it_may_do(last)}", flush=True)
        if self.config.initial_checkpoint is not None:
            from grokray.sweep.initial import remarks

            for remark in remarks([self.config]):
                print(f"note: {remark}", flush=True)

    def started(self, step: int, folder: str) -> None:
        if self.quiet:
            return
        print(f"trial {self.config.id} in {folder}", flush=True)
        if step:
            print(f"going on from step {step:,}")
        groups = "".join(f"{PART_NAMES[part]:>16}" for part in self.parts)
        names = "".join(f"{'loss':>8}{'exact':>8}" for _ in self.parts)
        print(f"{'':10}{groups}\n{'step':>10}{names}", flush=True)

    def measured(self, m: Measurement) -> None:
        if self.quiet:
            return
        cells = "".join(
            f"{_loss(m.metrics.get(f'{part}_loss')):>8}{percent(m.metrics.get(f'{part}_exact_match')):>8}"
            for part in self.parts
        )
        print(f"{m.step:>10,}{cells}", flush=True)
        self._tell(m, "memorization_step", "memorized")
        self._tell(m, "grok_step", "grokked")

    def fault(self, measure: str, error: str) -> None:
        """Of each measure of the user's own once."""
        if measure not in self._unmeasured:
            self._unmeasured.add(measure)
            print(f"not measured: {measure}, as {error}", file=sys.stderr, flush=True)

    def _tell(self, m: Measurement, event: str, verb: str) -> None:
        step = m.events.get(event)
        if step is None or event in self._told:
            return
        self._told.add(event)
        print(f"{'':10}  {verb} after step {m.events[f'{event}_lower']:,}, by step {step:,}", flush=True)

    def interrupted(self, trial: TrialState) -> None:
        step = trial.checkpoint.step if trial.checkpoint else 0
        print(f"stopped at step {step:,}, of {self.config.num_steps:,}", flush=True)

    def result(self, trial: TrialState, folder: str, *, kept: bool = False) -> None:
        """`kept`: its checkpoints are."""
        outcome = trial.outcome or ""
        print(f"outcome: {outcome}" + (f" ({ENDS[outcome]})" if outcome in ENDS else ""))
        print(f"phase: {trial.phase or NOTHING}")
        print(f"memorized: {_step(trial, 'memorization_step')}, grokked: {_step(trial, 'grok_step')}")
        print(f"best held-out exact match: {percent(trial.best.get('heldout_exact_match'))}")
        wall = "" if trial.wall_time_s is None else f" in {duration(trial.wall_time_s)} of training"
        print(f"trained: {count(trial.steps_trained, 'step')}{wall}")
        print(f"curve: {folder.rstrip('/')}/curves/")
        if kept:
            print(f"checkpoints: {folder.rstrip('/')}/checkpoints/{trial.trial_id}/")
        sys.stdout.flush()

    def comparison(self, repeated: Repeated, folder: str) -> int:
        """Whether this curve is that of the trial which it repeats; the exit code."""
        from grokray.cli.curves import curve_of, parting
        from grokray.records.folder import SweepFolder

        then = curve_of(SweepFolder.open(repeated.folder), repeated.trial_id)
        now = curve_of(SweepFolder.open(folder), repeated.trial_id)
        where = parting(then, now, ended=repeated.outcome in OWN_ENDS)
        other = f"that in {repeated.folder.rstrip('/')}"
        if where is not None:
            print(f"curve differs from {other} first at {where}", flush=True)
            return 1
        state = "" if repeated.outcome in OWN_ENDS else f", where it is {repeated.outcome or 'unfinished'}"
        print(f"curve is identical to {other}: {count(len(then), 'measurement')}, up to step {max(then):,}{state}")
        return 0


def _loss(loss: float | None) -> str:
    if loss is None:
        return NOTHING
    if not loss >= 1e5:
        return f"{loss:.4f}"[:7]
    return f"{loss:.1e}" if loss < 1e99 else f"{loss:.0e}"  # of at most seven characters


def _step(trial: TrialState, event: str) -> str:
    step = trial.events.get(event)
    return "no" if step is None else f"by step {step:,}"
