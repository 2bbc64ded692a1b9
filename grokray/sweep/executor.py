"""The seam between Tune and the engines: Tune's trials take slots of engine actors instead of processes.

Tune asks a `ResourceManager` for resources and starts an actor on what it gets. Here the resource is a slot, and the
"actor" a handle that forwards Tune's calls to the engine which holds the slot. With this and `tune_loop.py` alone
grokray reaches into Tune's internals; `ray` is pinned to one minor version, and a contract test runs against it.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any
from unittest import mock

import ray
from ray.air.execution import ResourceManager
from ray.air.execution._internal import actor_manager
from ray.air.execution.resources.request import AcquiredResources
from ray.exceptions import RayActorError, RayError, RayTaskError
from ray.tune.execution import tune_controller

from grokray.sweep.engines import EnginePool, EngineSlot
from grokray.sweep.tune_loop import made_for_many_trials


@contextmanager
def slots_for_tune(pool: EnginePool) -> Iterator[None]:
    """While this holds, every Tune run takes its trials' resources from `pool`."""
    with (
        tolerant_of_any_death(),
        made_for_many_trials(),
        mock.patch.object(tune_controller, "PlacementGroupResourceManager", partial(SlotManager, pool)),
        mock.patch.object(actor_manager, "ray", _RayThatKnowsHandles()),
    ):
        yield


@contextmanager
def tolerant_of_any_death() -> Iterator[None]:
    """Treat every way that a process can die as the death of an actor.

    Ray's memory monitor raises OutOfMemoryError, a lost node NodeDiedError and others; Tune knows RayActorError only,
    and would abort the whole sweep. As a RayActorError it retries the one trial.
    """
    original = actor_manager.RayActorManager._actor_task_failed

    def failed(self: Any, tracked_actor_task: Any, exception: Exception) -> None:
        if isinstance(exception, RayError) and not isinstance(exception, RayActorError | RayTaskError):
            wrapped = RayActorError(error_msg=f"{type(exception).__name__}: {exception}")
            wrapped.__cause__ = exception
            exception = wrapped
        if isinstance(exception, RayActorError):
            exception = _report_loss(self, tracked_actor_task._tracked_actor, exception)
        if tracked_actor_task._tracked_actor not in self._live_actors_to_ray_actors_resources and isinstance(
            exception, RayActorError
        ):
            return  # a second call on an actor whose death was dealt with already
        original(self, tracked_actor_task, exception)

    start_failed_in_tune = actor_manager.RayActorManager._actor_start_failed

    def start_failed(self: Any, tracked_actor: Any, exception: Exception) -> None:
        if isinstance(exception, RayActorError):
            exception = _report_loss(self, tracked_actor, exception)
        start_failed_in_tune(self, tracked_actor, exception)

    with (
        mock.patch.object(actor_manager.RayActorManager, "_actor_task_failed", failed),
        mock.patch.object(actor_manager.RayActorManager, "_actor_start_failed", start_failed),
    ):
        yield


def _report_loss(manager: Any, tracked_actor: Any, exception: RayActorError) -> RayActorError:
    """Tell the pool before Tune looks for another seat: it would find one in the same engine. The exception, or a
    better one that has the engine's last words."""
    handle, *_ = manager._live_actors_to_ray_actors_resources.get(tracked_actor, (None,))
    words = handle.report_loss() if isinstance(handle, SeatHandle) else None
    return exception if words is None else RayActorError(error_msg=words)


@dataclass
class _AcquiredSlot(AcquiredResources):
    slot: EngineSlot

    def annotate_remote_entities(self, entities: list[Any]) -> list[Any]:
        return [_SeatMaker(self.slot) for _ in entities]


class SlotManager(ResourceManager):
    """Hands out the pool's slots. Every request is for one slot, whatever resources it names."""

    def __init__(self, pool: EnginePool) -> None:
        self._pool = pool
        self._requests: list[Any] = []

    def request_resources(self, resource_request: Any) -> None:
        self._requests.append(resource_request)

    def cancel_resource_request(self, resource_request: Any) -> None:
        if resource_request in self._requests:
            self._requests.remove(resource_request)

    def has_resources_ready(self, resource_request: Any) -> bool:
        return resource_request in self._requests and self._pool.has_free_slot()

    def acquire_resources(self, resource_request: Any) -> AcquiredResources | None:
        if not self.has_resources_ready(resource_request):
            return None
        self._requests.remove(resource_request)
        return _AcquiredSlot(resource_request=resource_request, slot=self._pool.take())

    def free_resources(self, acquired_resource: AcquiredResources) -> None:
        assert isinstance(acquired_resource, _AcquiredSlot)
        self._pool.give_back(acquired_resource.slot)

    def get_resource_futures(self) -> list[Any]:
        """Tune waits for these too, and calls `update_state` when one of them comes."""
        self._pool.tend()
        return self._pool.coming()

    def update_state(self) -> None:
        self._pool.look()

    def clear(self) -> None:
        self._requests.clear()


class _SeatMaker:
    """Stands where Tune expects an actor class."""

    def __init__(self, slot: EngineSlot) -> None:
        self._slot = slot

    def remote(self, **kwargs: Any) -> SeatHandle:
        return SeatHandle(self._slot, kwargs)


class SeatHandle:
    """Stands where Tune expects an actor's handle: one trial's seat in an engine."""

    _numbers = itertools.count()

    def __init__(self, slot: EngineSlot, kwargs: dict[str, Any]) -> None:
        self._slot, self._number = slot, next(self._numbers)
        # Tune's own objects in it would have the engine import Tune.
        config = {name: value for name, value in kwargs["config"].items() if isinstance(value, str)}
        self._engine = slot.engine_for(config)
        self._created = self._engine.actor.create.remote(self._number, config)

    def report_loss(self) -> str | None:
        """The engine does not answer any more; its last words, if it had any."""
        self._slot.pool.lose(self._engine)
        return self._engine.last_words

    def __getattr__(self, method: str) -> _SeatMethod:
        if method.startswith("_") and method not in ("__ray_ready__", "__ray_terminate__"):
            raise AttributeError(method)
        return _SeatMethod(self, method)

    def call(self, method: str) -> Any:
        if method == "__ray_ready__":
            return self._created
        if method == "get_auto_filled_metrics":
            return self._slot.pool.nothing  # asked of every trial, and never read where it has reported
        if method in ("__ray_terminate__", "stop"):
            # Tune calls both, in this order or alone; leaving twice is harmless.
            return self._engine.actor.call.remote(self._number, "stop", save=self._slot.pool.saving)
        return self._engine.actor.call.remote(self._number, method)


class _SeatMethod:
    def __init__(self, handle: SeatHandle, method: str) -> None:
        self._handle, self._method = handle, method

    def remote(self, *args: Any, **kwargs: Any) -> Any:
        return self._handle.call(self._method)


class _RayThatKnowsHandles:
    """The `ray` module, except that killing a seat means leaving it: its engine has other tenants."""

    def __getattr__(self, name: str) -> Any:
        return getattr(ray, name)

    def kill(self, handle: Any, **options: Any) -> None:
        if isinstance(handle, SeatHandle):
            handle.call("stop")
        else:
            ray.kill(handle, **options)
