"""A small sweep's events, and an object store in memory."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import fsspec
from pyarrow.fs import FSSpecHandler, PyFileSystem

from grokray.records.folder import SweepFolder
from grokray.records.store_remote import Connection, RemoteStore
from grokray.trial import TrialConfig

VERSIONS = {"grokray": "0.1.0", "torch": "2.13.0", "ray": "2.60.0"}


class Flaky(FSSpecHandler):
    """Objects in this process. Each request raises what stands first in `errors`, until nothing is left there."""

    def __init__(self) -> None:
        super().__init__(fsspec.filesystem("memory"))
        self.errors: list[Exception] = []
        self.requests = 0

    def _answer(self) -> None:
        self.requests += 1
        if self.errors:
            raise self.errors.pop(0)

    def get_file_info(self, paths: Any) -> Any:
        self._answer()
        return super().get_file_info(paths)

    def get_file_info_selector(self, selector: Any) -> Any:
        self._answer()
        return super().get_file_info_selector(selector)

    def open_output_stream(self, path: str, metadata: Any) -> Any:
        self._answer()
        return super().open_output_stream(path, metadata)


def memory_store(uri: str = "s3://bucket/sweep", handler: FSSpecHandler | None = None) -> RemoteStore:
    """A RemoteStore whose objects live in this process, shared by all stores of one URI."""
    assert "[" not in uri, "fsspec would take it for a pattern, and delete nothing"
    store = RemoteStore(uri)
    filesystem = PyFileSystem(handler or FSSpecHandler(fsspec.filesystem("memory")))
    connection = Connection(filesystem=filesystem, small=filesystem, path=uri.split("://")[1].partition("?")[0])
    store._connections = {True: connection, False: connection}
    return store


def make_folder(
    path: Any, fingerprint: dict[str, Any] | None = None, *, sweep_yaml: str = "num_trials: 3\n"
) -> SweepFolder:
    meta = {"versions": VERSIONS, "command": "grokray run space.yaml"}
    return SweepFolder.create_or_open(path, sweep_yaml, fingerprint or {"num_trials": 3}, meta)


def event(kind: str, t: float = 1.0, **fields: Any) -> dict[str, Any]:
    return {"t": t, "event": kind, **fields}


def trial_event(index: int, **changes: Any) -> dict[str, Any]:
    config = TrialConfig(init_seed=index, **changes)
    return event("trial", trial_id=config.id, index=index, configuration=index, seed=index, config=config.model_dump())


def measurement(trial_id: str, step: int, *, attempt: int = 1, t: float = 1.0, **fields: Any) -> dict[str, Any]:
    usual = {"train_loss": 1.0 / max(step, 1), "heldout_loss": 2.0, "heldout_exact_match": 0.5}
    metrics = usual | fields.pop("metrics", {})
    rest = {"events": {}, "wall_time_s": step / 100} | fields
    return event("measurement", t, trial_id=trial_id, attempt=attempt, step=step, metrics=metrics, **rest)


@contextmanager
def little_room(size: int = 200) -> Iterator[None]:
    """No file grows beyond so many bytes, much as on a full disk."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
