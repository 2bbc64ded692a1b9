"""How an embedded Ray is started: with no more processes than are needed, and with patience."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest import mock

# OpenMP threads that spin while they wait steal the core from the engine next door.
ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "OMP_WAIT_POLICY": "passive",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
}
# What an embedded Ray starts beside what we need, each a Python process that takes a second to import Ray: a scaler of
# clusters, a forwarder of logs, and a dashboard, which is there even where it is to be left out.
NOT_NEEDED = ("start_monitor", "start_log_monitor", "start_api_server")
PATIENCE_S = 180.0  # Ray itself has 30, which a machine at a load of 20 needs more of
PAUSE_S = 0.2


@contextmanager
def only_what_is_needed() -> Iterator[None]:
    """Ray's processes inherit what they find here. Workers with an environment of their own would be started anew,
    and those that Ray starts ahead of time be in their way. Each has a process group of its own: a shell whose terminal
    is closed, and `timeout`, signal the whole group of the command, and without Ray nothing could be saved."""
    from ray._private import services
    from ray._private.node import Node

    started: list[subprocess.Popen[bytes]] = []
    popen = services.ConsolePopen

    def in_own_group(*args: Any, **options: Any) -> subprocess.Popen[bytes]:
        started.append(process := popen(*args, process_group=0, **options))
        return process

    ahead = {"RAY_enable_worker_prestart": "0", "RAY_prestart_worker_first_driver": "0"}
    with ExitStack() as stack:
        stack.enter_context(mock.patch.dict(os.environ, ENVIRONMENT | ahead))
        stack.enter_context(mock.patch.object(services, "ConsolePopen", in_own_group))
        stack.enter_context(mock.patch.object(services, "get_node", patient(services.get_node, started)))
        for start in NOT_NEEDED:
            stack.enter_context(mock.patch.object(Node, start))
        yield


def patient(look: Callable[..., Any], processes: Sequence[subprocess.Popen[bytes]]) -> Callable[..., Any]:
    """`look` raises RuntimeError as long as Ray is not up; this one goes on looking while its processes live."""

    def found(*args: Any) -> Any:
        until = time.monotonic() + PATIENCE_S
        while True:
            try:
                return look(*args)
            except RuntimeError:
                if time.monotonic() > until or any(process.poll() is not None for process in processes):
                    raise
            time.sleep(PAUSE_S)

    return found
