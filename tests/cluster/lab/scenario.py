"""What several scenarios do: run the lab's sweep on a cluster, and wait until there is something to lose."""

from __future__ import annotations

import subprocess
from typing import Any

from tests.cluster.lab.cluster_file import write_aws_copy
from tests.cluster.lab.lab import REPOSITORY, Lab
from tests.cluster.lab.ray_cluster import RayCluster, make_token
from tests.cluster.lab.services import Cloud, ObjectStore
from tests.cluster.lab.sweep_folder import Event, SweepFolder, chosen

SEARCH_SPACE = "tests/cluster/sweep.yaml"  # in the repository
TRIALS = 12  # of it
PATIENCE_S = 600.0  # for what may take many times longer on a machine with other work


def start_on_aws(lab: Lab) -> tuple[Cloud, RayCluster]:
    """`ray up` of cluster.yaml: its head runs, and no worker yet."""
    config = write_aws_copy(REPOSITORY / "cluster.yaml", lab.folder / "cluster.yaml", workers=2)
    cloud, store = Cloud(lab, config), ObjectStore(lab)
    make_token(lab)
    cloud.wait()
    cluster = RayCluster(lab, lab.folder / "cluster.yaml")
    cluster.up()
    store.wait()
    return cloud, cluster


def end_on_aws(lab: Lab, cloud: Cloud, cluster: RayCluster) -> None:
    """`ray down`: nothing is left that would cost money."""
    cluster.down()
    lab.wait_for("no machine", lambda: not cloud.powered(), seconds=60)
    assert lab.processes("raylet") == 0


def submit(lab: Lab, cluster: RayCluster, folder: SweepFolder, *options: str) -> subprocess.Popen[bytes]:
    """Run the lab's sweep on the cluster; the process lives as long as the sweep does."""
    command = ("grokray", "submit", SEARCH_SPACE, "--cluster", cluster.file, "--out", folder.uri, *options)
    return lab.start(*command, log="submit.log", env=cluster.environment, cwd=REPOSITORY)


def wait_for_training(lab: Lab, folder: SweepFolder, sweep: subprocess.Popen[bytes], *, hosts: int) -> list[Event]:
    """Until trials train on so many hosts, and each can be gone on with. Returns their starts."""

    def loseable() -> bool:
        told = folder.events()
        started = chosen(told, "start")
        saved = {event["trial_id"] for event in chosen(told, "checkpoint")}
        return len({event["host"] for event in started}) >= hosts and {e["trial_id"] for e in started} <= saved

    lab.wait_for("training", loseable, seconds=PATIENCE_S, meanwhile=sweep, every=1)
    return folder.events("start")


def wait_for_end(lab: Lab, sweep: subprocess.Popen[bytes]) -> None:
    """Until the sweep has ended, and well."""
    lab.wait_for("the sweep's end", lambda: sweep.poll() is not None, seconds=2 * PATIENCE_S)
    assert sweep.returncode == 0, lab.log("submit.log")[-2000:]


def check_lost_trials_went_on(told: list[Event], lost: list[Event], host: str) -> None:
    """The trials that had started on a host that died went on elsewhere from a checkpoint, and none is to blame."""
    assert lost
    for start in lost:
        trial: dict[str, Any] = {"trial_id": start["trial_id"]}
        failures = chosen(told, "failure", **trial)
        assert [failure["fault"] for failure in failures] == ["node"]
        again = [event for event in chosen(told, "start", **trial) if event["t"] > start["t"]]
        assert again
        assert again[0]["host"] != host
        assert again[0]["step"] > 0
