"""What is kept of a running trial besides its measurements, on demand: its last and best states, and examples."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from grokray.engine.checkpoint import Checkpoint
from grokray.engine.examples import example_rows, examples
from grokray.engine.shape import shape_of
from grokray.records.store import Store
from grokray.sweep.best import Best
from grokray.sweep.checkpoints import TrialCheckpoints
from grokray.sweep.example_file import ExampleFile
from grokray.tasks.dataset import build_dataset
from grokray.trial import TrialConfig

if TYPE_CHECKING:
    import torch


class Examples:
    """Writes the same `number` rows of each part at every measurement."""

    def __init__(self, store: Store, trial_id: str, config: TrialConfig, number: int, *, from_step: int) -> None:
        self._file = ExampleFile(store, trial_id, from_step=from_step)
        self._dataset = build_dataset(config)
        self._shape = shape_of(self._dataset)
        self._rows = example_rows(self._dataset, number)

    def write(self, state: Checkpoint, device: torch.device) -> None:
        parameters = {name: t.to(device) for name, t in state.tensors["parameters"].items()}
        self._file.append(state.step, examples(self._shape, parameters, self._dataset, self._rows))


class Keepsakes:
    """`files` are the trial's checkpoints. `from_step` is where it starts from; `is_due` says of a step
    whether a checkpoint is written there as a matter of course."""

    def __init__(
        self,
        store: Store,
        trial_id: str,
        config: TrialConfig,
        *,
        keep: str,
        examples: int,
        from_step: int,
        is_due: Callable[[int], bool] = lambda step: True,
    ) -> None:
        self.files = TrialCheckpoints(store, trial_id, keep, is_due)
        self._best = Best(self.files) if self.files.best else None
        self._examples = Examples(store, trial_id, config, examples, from_step=from_step) if examples else None

    @property
    def need_last_state(self) -> bool:
        """Whether anything is kept of the state in which the trial ends."""
        return self.files.last or self._best is not None or self._examples is not None

    def measured(self, metrics: dict[str, float], state: Callable[[], Checkpoint], device: torch.device) -> None:
        if self._best is not None:
            self._best.observe(metrics, state)
        if self._examples is not None:
            self._examples.write(state(), device)

    def take_best(self) -> Checkpoint | None:
        """The best state so far, if it is to be written now."""
        return None if self._best is None else self._best.take()
