"""cluster/local.yaml: machines of one's own, which nobody replaces."""

from __future__ import annotations

import pytest

from tests.cluster.lab.cluster_file import write_local_copy
from tests.cluster.lab.lab import REPOSITORY, Lab
from tests.cluster.lab.ray_cluster import RayCluster, make_token
from tests.cluster.lab.scenario import (
    PATIENCE_S,
    TRIALS,
    check_lost_trials_went_on,
    submit,
    wait_for_end,
    wait_for_training,
)
from tests.cluster.lab.services import ObjectStore
from tests.cluster.lab.sweep_folder import SweepFolder, check_every_trial_once, journal

pytestmark = [pytest.mark.cluster, pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(3000)]

HOSTS = {"h1": "172.31.0.11", "h2": "172.31.0.12", "h3": "172.31.0.13"}


def test_the_trials_of_a_machine_that_loses_power_go_on_on_those_that_are_left(lab: Lab):
    head, *workers = HOSTS.values()
    file = lab.folder / "local.yaml"
    write_local_copy(REPOSITORY / "cluster/local.yaml", file, head=head, workers=workers)
    store = ObjectStore(lab)
    make_token(lab)
    for name, ip in HOSTS.items():
        lab.boot(name, ip)
        lab.copy_to_host(ip, "/root/.aws")
    cluster = RayCluster(lab, file, environment={"RAY_UP_enable_autoscaler_v2": "0"})
    cluster.up()
    store.wait()
    lab.wait_for("two workers", lambda: cluster.alive() == set(workers), seconds=PATIENCE_S, every=2)

    folder = SweepFolder(lab, "local")
    sweep = submit(lab, cluster, folder)
    started = wait_for_training(lab, folder, sweep, hosts=2)
    lab.cut_power("h3")
    wait_for_end(lab, sweep)

    copy = folder.copy()
    check_every_trial_once(copy, TRIALS)
    check_lost_trials_went_on(journal(copy), [start for start in started if start["host"] == "h3"], "h3")
    assert cluster.alive() == {HOSTS["h2"]}
    cluster.down()
    lab.wait_for("no process of Ray", lambda: lab.processes("raylet") == 0, seconds=120)
