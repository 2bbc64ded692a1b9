"""The contract between `executor.py` and the pinned minor version of Ray Tune."""

from __future__ import annotations

import inspect
from types import SimpleNamespace

import pytest
import ray
from ray.air.execution import ResourceManager
from ray.air.execution._internal import actor_manager
from ray.exceptions import OutOfMemoryError, RayActorError
from ray.tune import registry
from ray.tune.execution import tune_controller

from grokray.sweep import executor
from grokray.sweep.engines import EnginePool
from grokray.sweep.messages import WorkerOptions
from grokray.sweep.placement import EngineSpec


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
    assert list(inspect.signature(actor_manager.RayActorManager._actor_start_failed).parameters) == [
        "self",
        "tracked_actor",
        "exception",
    ]
    has = ("_try_kill_actor", "_try_start_actors", "_handle_ready_resource_future")
    assert all(hasattr(actor_manager.RayActorManager, name) for name in has)
    assert list(inspect.signature(actor_manager.RayActorManager.next).parameters) == ["self", "timeout"]
    manager = actor_manager.RayActorManager(resource_manager=executor.SlotManager(pool()))
    assert manager._actor_state_events._tracked_futures == manager._actor_task_events._tracked_futures == {}
    assert list(inspect.signature(registry._internal_kv_get).parameters)[0] == "key"
    assert "self._get_trial_checkpoints()" in inspect.getsource(tune_controller.TuneController.save_to_dir)
    assert "self._resource_manager.update_state()" in inspect.getsource(actor_manager)
    abstract = ResourceManager.__abstractmethods__
    assert all(name in vars(executor.SlotManager) for name in abstract)


def test_tune_takes_its_resources_from_the_pool_only_while_asked_to():
    before = tune_controller.PlacementGroupResourceManager
    with executor.slots_for_tune(pool()):
        assert isinstance(tune_controller.PlacementGroupResourceManager(), executor.SlotManager)
        assert actor_manager.ray.get is ray.get
    assert tune_controller.PlacementGroupResourceManager is before
    assert actor_manager.ray is ray


@pytest.fixture
def handed_to_tune(monkeypatch):
    """What Tune is told of an error: a function from what Ray raised to what reaches Tune's own handler."""
    seen = []

    def original(self, tracked_actor_task, exception):
        seen.append(exception)

    monkeypatch.setattr(actor_manager.RayActorManager, "_actor_task_failed", original)
    manager = SimpleNamespace(_live_actors_to_ray_actors_resources={"actor": ("handle", "resources")})

    def hand(error):
        with executor.tolerant_of_any_death():
            task = SimpleNamespace(_tracked_actor="actor")
            actor_manager.RayActorManager._actor_task_failed(manager, tracked_actor_task=task, exception=error)
        return seen[0]

    return hand


@pytest.mark.parametrize("error", [OutOfMemoryError("worker killed"), ray.exceptions.NodeDiedError("node gone")])
def test_any_death_reaches_tune_as_the_death_of_an_actor(handed_to_tune, error):
    told = handed_to_tune(error)
    assert isinstance(told, RayActorError)
    assert type(error).__name__ in str(told)
    assert told.__cause__ is error


def test_a_defect_of_ours_is_not_taken_for_a_death(handed_to_tune):
    assert isinstance(handed_to_tune(KeyError("x")), KeyError)
