"""A trial's checkpoint files: what it goes on from after a crash, and what is kept once it has ended.

In `checkpoints/<trial>/`:

    0000001000-<sha256>.pt         by step: to go on from; with `all` every one of them is kept
    last-0000002600-<sha256>.pt    the state in which the trial ended
    best-0000002400-<sha256>.pt    of its measurements the one with the best held-out exact match
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from grokray.errors import CheckpointError, FileMissing
from grokray.records.folder import CHECKPOINTS
from grokray.records.store import Store

if TYPE_CHECKING:  # the driver tidies up without torch
    from grokray.engine.checkpoint import Checkpoint

log = logging.getLogger(__name__)
Kind = Literal["step", "last", "best"]

_NAME = re.compile(r"(?:(last|best)-)?(\d{10})-([0-9a-f]{64})\.pt")


@dataclass(frozen=True, kw_only=True)
class CheckpointFile:
    """`name` is relative to the folder."""

    name: str
    kind: Kind
    step: int
    sha256: str

    @classmethod
    def of(cls, name: str) -> CheckpointFile | None:
        """What a file's name says; None if it is no checkpoint's."""
        found = _NAME.fullmatch(name.rpartition("/")[2])
        if found is None:
            return None
        return cls(name=name, kind=found[1] or "step", step=int(found[2]), sha256=found[3])  # type: ignore[arg-type]


class TrialCheckpoints:
    """One trial's files in a sweep's folder, kept by one rule of `sections.KEEP`."""

    def __init__(
        self, store: Store, trial_id: str, keep: str, is_due: Callable[[int], bool] = lambda step: True
    ) -> None:
        """Steps that are not due are those of interruptions: with `all` their files go once there is a newer one."""
        self.store, self.trial_id, self.folder = store, trial_id, f"{CHECKPOINTS}/{trial_id}"
        self.is_due = is_due
        self.last, self.best, self.every = (word in keep or keep == "all" for word in ("last", "best", "all"))

    def files(self) -> list[CheckpointFile]:
        """By step, `last` and `best` among them."""
        found = (CheckpointFile.of(name) for name in self.store.list(self.folder))
        return sorted((file for file in found if file is not None), key=lambda file: (file.step, file.kind))

    def write(self, checkpoint: Checkpoint, kind: Kind = "step") -> tuple[CheckpointFile, int]:
        """Write a checkpoint, then delete those of its kind that it replaces; the file and its bytes. Those of later
        steps stay: an engine that lost contact may not know that the trial goes on elsewhere."""
        file, size = self._put(checkpoint, kind)
        for old in self.files():
            replaced = old.kind == kind and old.name != file.name and old.step <= file.step
            if replaced and not self._stays(old):
                self.store.delete(old.name)
        return file, size

    def newest_step(self) -> int:
        """That of the newest checkpoint to go on from, whole or not; 0 if there is none."""
        return max((file.step for file in self.files() if file.kind == "step"), default=0)

    def latest(self) -> Checkpoint | None:
        """What the trial goes on from: the newest that is whole. A damaged one counts as not written."""
        return next(self._whole("step"), None)

    def best_so_far(self) -> Checkpoint | None:
        return next(self._whole("best"), None)

    def settle(self) -> None:
        """The trial has ended: leave what is to be kept, and nothing else. Once more does no harm."""
        if not (self.last or self.best or self.every):
            self.store.delete_tree(self.folder)
            return
        files = self.files()
        furthest = _furthest(files, "last")
        if self.last:
            # Where it was stopped from outside, its newest state is its last one. Nothing is deleted for it: the
            # process that trained it may be writing a newer one at this moment.
            newest = self.latest()
            if newest and newest.step > furthest:
                furthest = newest.step
                self._put(newest, "last")
        for file in files:
            if not self._is_kept(file, furthest):
                self.store.delete(file.name)

    def is_settled(self, names: Iterable[str]) -> bool:
        """Whether `settle` would find nothing to do, going by the names of all that lies there."""
        if not (self.last or self.best or self.every):
            return not [*names]
        files = [file for name in names if (file := CheckpointFile.of(name)) is not None]
        furthest = _furthest(files, "last")
        all_stay = all(self._is_kept(file, furthest) for file in files)
        return all_stay and not (self.last and _furthest(files, "step") > furthest)

    def _is_kept(self, file: CheckpointFile, furthest: int) -> bool:
        """Of an ended trial. Of its `last` ones that at the step `furthest` is: where it had failed, was run again and
        ended sooner, that is what the tables tell of."""
        if file.kind == "step":
            return self._stays(file)
        return self.best if file.kind == "best" else self.last and file.step == furthest

    def _stays(self, old: CheckpointFile) -> bool:
        """Beside a newer one of its kind."""
        return old.kind == "step" and self.every and self.is_due(old.step)

    def _put(self, checkpoint: Checkpoint, kind: Kind) -> tuple[CheckpointFile, int]:
        from grokray.engine.checkpoint import to_bytes

        data, sha256 = to_bytes(checkpoint)
        prefix = "" if kind == "step" else f"{kind}-"
        name = f"{self.folder}/{prefix}{checkpoint.step:010d}-{sha256}.pt"
        self.store.write_atomic(name, data)
        return CheckpointFile(name=name, kind=kind, step=checkpoint.step, sha256=sha256), len(data)

    def _whole(self, kind: Kind) -> Iterator[Checkpoint]:
        from grokray.engine.checkpoint import from_bytes

        for file in reversed(self.files()):
            if file.kind == kind:
                try:
                    yield from_bytes(self.store.read_bytes(file.name), file.sha256, name=file.name)
                except FileMissing:  # replaced by a newer one since they were listed
                    continue
                except CheckpointError as error:
                    log.warning("%s; going on without it", error)


def _furthest(files: Iterable[CheckpointFile], kind: Kind) -> int:
    """The last step of that kind; -1 if there is none."""
    return max((file.step for file in files if file.kind == kind), default=-1)


def is_checkpoint_step(step: int, interval: int, eval_interval: int) -> bool:
    """Whether an evaluation's step is a multiple of the longest stretch of evaluations within the interval: so at most
    one interval is ever computed twice, and the steps are the same ones after a restart."""
    return step % (max(interval // eval_interval, 1) * eval_interval) == 0


def trials_with_checkpoints(store: Store) -> set[str]:
    return set(names_by_trial(store))


def names_by_trial(store: Store) -> dict[str, list[str]]:
    """Of all files in the trials' folders of checkpoints, in one look at the store."""
    names: dict[str, list[str]] = {}
    for name in store.list(CHECKPOINTS):
        if name.count("/") == 2:
            names.setdefault(name.split("/")[1], []).append(name)
    return names
