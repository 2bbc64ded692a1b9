"""Starting an embedded Ray, or joining a cluster, without its noise on the console."""

from __future__ import annotations

import logging
import os
import secrets
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

from grokray.wording import first_line

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

TRY_AGAIN = "The machine may be too busy, or `ulimit` leave too little: run the same command again, nothing is lost."


@dataclass(frozen=True, kw_only=True)
class Machine:
    """What Ray has for us, summed over its nodes. `prepared`: its processes have our ENVIRONMENT already. `elastic`: it
    is a cluster, where nodes may come and go, with `gpus_to_come` at most once its autoscaler has added them."""

    cpus: int
    gpus: int
    prepared: bool = False
    elastic: bool = False
    gpus_to_come: int = 0

    @property
    def most_gpus(self) -> int:
        return max(self.gpus, self.gpus_to_come)


@contextmanager
def ray_cluster(
    address: str | None = None, *, num_cpus: int | None = None, insecure: bool = False
) -> Iterator[Machine]:
    """Ray, up while this holds. Without an address an embedded one, which no dashboard and nobody else can reach.

    Raises ClusterError if the cluster at the address asks for no token, unless `insecure`, or refuses ours.
    """
    os.environ.update(QUIET)
    import ray
    from ray._private import worker

    from grokray.sweep.ray_watch import ending_with_ray

    if ray.is_initialized():
        yield _machine(elastic=address is not None)
        return
    with ExitStack() as stack:
        # Ray prints every death of a process; the journal and the summary tell of those that matter.
        stack.enter_context(mock.patch.object(worker, "print_to_stdstream"))
        if address is None:
            stack.enter_context(_token_of_this_session())
        _init(address, num_cpus, insecure=insecure)
        stack.callback(_shut_down)
        if address is None:
            stack.enter_context(ending_with_ray())
        yield _machine(prepared=address is None, elastic=address is not None)


def _shut_down() -> None:
    """Half done it would be done again as the process exits, where the session's token is unknown."""
    import ray

    from grokray.sweep.interruption import to_its_end

    with to_its_end():
        ray.shutdown()


@contextmanager
def _token_of_this_session() -> Iterator[None]:
    """Ray listens on every interface, whatever address it is given: a token keeps others out.

    It lives in the environment of our own processes alone; left to itself, Ray writes one to a file in the user's
    home that every user of the machine can read.
    """
    from grokray.sweep.guard import read_again

    try:
        with mock.patch.dict(os.environ, {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}):
            read_again()
            yield
    finally:
        read_again()


def reach(address: str, *, insecure: bool = False) -> str:
    """`host:port` of the cluster at an address, without joining it. ExecutionError if none answers there; ClusterError
    as `ray_cluster`."""
    os.environ.update(QUIET)
    from grokray.errors import ExecutionError
    from grokray.sweep.guard import find, refuse_unguarded

    try:
        found = find(address)
        refuse_unguarded(found, insecure=insecure)
    except (OSError, UnicodeError) as error:  # the latter of a name that is too long for a host
        raise ExecutionError(f"no Ray cluster answers at {address}: {first_line(error)}") from error
    return found


def _init(address: str | None, num_cpus: int | None, *, insecure: bool) -> None:
    import ray

    from grokray.errors import ExecutionError, GrokrayError
    from grokray.sweep.quiet import quiet_stderr
    from grokray.sweep.ray_start import only_what_is_needed

    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    try:
        with quiet_stderr():
            if address is None:
                with only_what_is_needed():
                    ray.init(address="local", num_cpus=num_cpus or os.cpu_count(), include_dashboard=False, **quiet)
            else:
                ray.init(address=reach(address, insecure=insecure), **quiet)
    except (GrokrayError, UnicodeEncodeError):  # the latter of a name that is none in this locale
        raise
    except Exception as error:  # Ray raises bare ones too, such as where a machine is too busy for it to start
        where = "an embedded Ray could not be started" if address is None else f"no Ray cluster answers at {address}"
        hint = TRY_AGAIN if address is None and "timed out" in str(error) else None
        raise ExecutionError(f"{where}: {first_line(error)}", hint=hint) from error
    for name in ("ray", "ray.tune", "ray.train", "ray.data"):
        logging.getLogger(name).setLevel(logging.ERROR)
    # Of a snapshot that nobody reads it says on a page that the disk was full.
    logging.getLogger("ray.tune.tune").setLevel(logging.CRITICAL)


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """Where Tune keeps what it wants to keep: nothing that grokray needs."""
    with tempfile.TemporaryDirectory(prefix="grokray-tune-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


def _machine(*, prepared: bool = False, elastic: bool = False) -> Machine:
    import ray
    from ray._private.state import state

    resources = ray.cluster_resources()
    # Of a cluster without an autoscaler Ray knows no maximum.
    most = (state.get_max_resources_from_cluster_config() or {}) if elastic else {}
    return Machine(
        cpus=max(int(resources.get("CPU", 1)), 1),
        gpus=int(resources.get("GPU", 0)),
        prepared=prepared,
        elastic=elastic,
        gpus_to_come=int(most.get("GPU", 0)),
    )
