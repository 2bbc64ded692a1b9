"""The contract between `executor.py` and the pinned minor version of Ray Tune."""

from __future__ import annotations

import inspect

import pytest
import ray
from ray.air.execution import ResourceManager
from ray.air.execution._internal import actor_manager
from ray.exceptions import OutOfMemoryError, RayActorError
from ray.tune.execution import tune_controller

from grokray.sweep import executor
from grokray.sweep.engines import EnginePool, EngineSpec
from grokray.sweep.trainable import WorkerOptions


def pool(**spec) -> EnginePool:
    return EnginePool(EngineSpec(**({"count": 2, "slots": 2} | spec)), WorkerOptions(store_uri="unused"))


def test_tune_still_has_what_the_seam_replaces():
    assert ray.__version__.startswith("2.60.")
    assert "PlacementGroupResourceManager()" in inspect.getsource(tune_controller.TuneController.__init__)
    assert "ray.kill(" in inspect.getsource(actor_manager)
    assert list(inspect.signature(actor_manager.RayActorManager._actor_task_failed).parameters) == [
        "self",
        "tracked_actor_task",
        "exception",
    ]
    abstract = ResourceManager.__abstractmethods__
    assert all(name in vars(executor.SlotManager) for name in abstract)


def test_tune_takes_its_resources_from_the_pool_only_while_asked_to():
    before = tune_controller.PlacementGroupResourceManager
    with executor.slots_for_tune(pool()):
        assert isinstance(tune_controller.PlacementGroupResourceManager(), executor.SlotManager)
        assert actor_manager.ray.get is ray.get
    assert tune_controller.PlacementGroupResourceManager is before
    assert actor_manager.ray is ray


@pytest.mark.parametrize("error", [OutOfMemoryError("worker killed"), ray.exceptions.NodeDiedError("node gone")])
def test_any_death_reaches_tune_as_the_death_of_an_actor(monkeypatch, error):
    seen = []
    monkeypatch.setattr(
        actor_manager.RayActorManager,
        "_actor_task_failed",
        lambda self, tracked_actor_task, exception: seen.append(exception),
    )

    class Manager:
        _live_actors_to_ray_actors_resources = {"actor": ()}

    class Task:
        _tracked_actor = "actor"

    with executor.tolerant_of_any_death():
        actor_manager.RayActorManager._actor_task_failed(Manager(), tracked_actor_task=Task(), exception=error)
    assert isinstance(seen[0], RayActorError)
    assert type(error).__name__ in str(seen[0])
    assert seen[0].__cause__ is error


def test_a_defect_of_ours_is_not_taken_for_a_death(monkeypatch):
    seen = []
    monkeypatch.setattr(
        actor_manager.RayActorManager,
        "_actor_task_failed",
        lambda self, tracked_actor_task, exception: seen.append(exception),
    )

    class Manager:
        _live_actors_to_ray_actors_resources = {"actor": ()}

    class Task:
        _tracked_actor = "actor"

    with executor.tolerant_of_any_death():
        actor_manager.RayActorManager._actor_task_failed(Manager(), tracked_actor_task=Task(), exception=KeyError("x"))
    assert isinstance(seen[0], KeyError)
