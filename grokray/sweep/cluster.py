"""Starting an embedded Ray, or joining a cluster, without its noise on the console."""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

# Before Ray is imported: these are read at import or at init.
QUIET = {
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "RAY_DEDUP_LOGS": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",
    "TUNE_GLOBAL_CHECKPOINT_S": "3600",
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
    "TUNE_RESULT_BUFFER_LENGTH": "1",
    "TUNE_WARN_THRESHOLD_S": "60",
}


@dataclass(frozen=True, kw_only=True)
class Machine:
    """What the cluster has for us, summed over its nodes."""

    cpus: int
    gpus: int


@contextmanager
def ray_cluster(address: str | None = None, *, num_cpus: int | None = None) -> Iterator[Machine]:
    """Ray, up while this holds. Without an address an embedded one: loopback only, no dashboard, gone at the end."""
    os.environ.update(QUIET)
    import ray

    from grokray.errors import ExecutionError

    if ray.is_initialized():
        yield _machine()
        return
    try:
        with _quiet_stderr():
            if address is None:
                ray.init(
                    num_cpus=num_cpus or os.cpu_count(),
                    include_dashboard=False,
                    log_to_driver=False,
                    logging_level=logging.ERROR,
                    configure_logging=True,
                    _node_ip_address="127.0.0.1",
                )
            else:
                ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    except (ConnectionError, RuntimeError, ValueError) as error:
        where = "an embedded Ray could not be started" if address is None else f"no Ray cluster answers at {address}"
        raise ExecutionError(f"{where}: {_first_line(error)}") from error
    for name in ("ray", "ray.tune", "ray.train", "ray.data"):
        logging.getLogger(name).setLevel(logging.ERROR)
    try:
        yield _machine()
    finally:
        ray.shutdown()


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """Where Tune keeps what it wants to keep: nothing that grokray needs."""
    with tempfile.TemporaryDirectory(prefix="grokray-tune-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


def _machine() -> Machine:
    import ray

    resources = ray.cluster_resources()
    return Machine(cpus=max(int(resources.get("CPU", 1)), 1), gpus=int(resources.get("GPU", 0)))


@contextmanager
def _quiet_stderr() -> Iterator[None]:
    """Ray's start writes to the file descriptor, past Python's logging."""
    saved = os.dup(2)
    null = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(null, 2)
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
        os.close(null)


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
