"""Tune's loop, made fit for thousands of trials that live at the same time.

As it is, for each event Tune shuffles the futures of all live trials and waits for one of them, asks Ray's key-value
store five times for the class that every trial has, and walks through all trials for the next one to start; and it
writes all trials to a snapshot that nobody reads. With this and `executor.py` alone grokray reaches into Tune's
internals; `ray` is pinned to one minor version, and a contract test runs against it.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any
from unittest import mock

import ray
from ray.air.execution._internal import actor_manager
from ray.experimental.internal_kv import _internal_kv_get
from ray.tune import registry
from ray.tune.execution import tune_controller
from ray.tune.experiment import Trial

NOTHING_TO_WAIT_FOR_S = 0.02


@contextmanager
def made_for_many_trials() -> Iterator[None]:
    """While this holds, a run of Tune costs the same for each event, however many trials are live."""
    with (
        mock.patch.object(actor_manager.RayActorManager, "next", _next),
        mock.patch.object(registry, "_internal_kv_get", cache(_internal_kv_get)),
        mock.patch.object(registry._global_registry, "get", cache(registry._global_registry.get)),
        mock.patch.object(tune_controller.TuneController, "_get_trial_checkpoints", _nothing),
    ):
        yield


class InOrder:
    """To stand before a scheduler of Tune among the bases: trials start in the order in which they were proposed,
    which is what Tune does with those that its scheduler did not choose."""

    def choose_trial_to_run(self, tune_controller: Any) -> Trial | None:
        return None


def _next(manager: Any, timeout: float | None = None) -> bool:
    """Stands for `RayActorManager.next`: deals with one event; whether there was one. All that have come are fetched in
    one wait, and dealt with in the calls that follow."""
    killed = manager._try_kill_actor()
    manager._try_start_actors()
    if killed:
        return True
    come: deque[Any] = manager.__dict__.setdefault("_come", deque())
    if not come:
        come.extend(_wait(manager, timeout))
    while come:
        if _deal_with(manager, come.popleft()):
            manager._try_start_actors()
            return True
    return False


def _wait(manager: Any, timeout: float | None) -> list[Any]:
    """What has come, in the order: resources, starts, results."""
    events = (manager._actor_state_events, manager._actor_task_events)
    resources = manager._resource_manager.get_resource_futures()
    futures = [*resources, *(future for of_kind in events for future in of_kind._tracked_futures)]
    if not futures:
        time.sleep(NOTHING_TO_WAIT_FOR_S)
        return []
    come, _ = ray.wait(futures, num_returns=1, timeout=timeout)
    if come:
        come, _ = ray.wait(futures, num_returns=len(futures), timeout=0)
    if not {*come}.isdisjoint(resources):
        manager._resource_manager.update_state()
    return come


def _deal_with(manager: Any, future: Any) -> bool:
    """False for what is nobody's any more, since an event before it ended the trial, and for resources."""
    for events in (manager._actor_state_events, manager._actor_task_events):
        if future in events._tracked_futures:
            events.resolve_future(future)
            return True
    return False


def _nothing(controller: Any) -> dict[str, str]:
    """What a snapshot holds of its trials."""
    return {}
