"""cluster.yaml on a cloud: spot machines that are cut off in mid-sweep, and replaced."""

from __future__ import annotations

import pyarrow.parquet as pq
import pytest

from tests.cluster.lab.checks import check_node
from tests.cluster.lab.cluster_file import WORKER
from tests.cluster.lab.lab import Lab
from tests.cluster.lab.scenario import (
    PATIENCE_S,
    TRIALS,
    check_lost_trials_went_on,
    end_on_aws,
    start_on_aws,
    submit,
    wait_for_end,
    wait_for_training,
)
from tests.cluster.lab.sweep_folder import SweepFolder, check_every_trial_once, journal

pytestmark = [pytest.mark.cluster, pytest.mark.ray, pytest.mark.timeout(3000)]


# On a fast and quiet machine the worker that is left would have trained all before the other one is replaced.
LONG = "parameters.num_steps=8000"


def test_a_worker_that_loses_power_is_replaced_and_no_trial_is_lost(lab: Lab):
    cloud, cluster = start_on_aws(lab)
    assert not cluster.alive()  # the sweep itself is what brings the workers

    folder = SweepFolder(lab, "aws")
    sweep = submit(lab, cluster, folder, "--set", LONG)
    started = wait_for_training(lab, folder, sweep, hosts=2)
    victim = next(machine for machine in cloud.powered() if machine.node_type == WORKER)
    lab.cut_power(victim.name)
    lab.wait_for(
        "the replacement",
        lambda: len(cluster.alive() - {victim.ip}) == 2,
        seconds=PATIENCE_S,
        meanwhile=sweep,
        every=2,
    )
    assert {node["node_ip"]: node["state"] for node in cluster.nodes()}[victim.ip] == "DEAD"
    for machine in cloud.powered():
        check_node(lab, machine.ip)
    wait_for_end(lab, sweep)

    copy = folder.copy()
    check_every_trial_once(copy, TRIALS)
    told = journal(copy)
    check_lost_trials_went_on(told, [start for start in started if start["host"] == victim.name], victim.name)
    replacement = cloud.machines()[-1]
    assert replacement.node_type == WORKER
    assert replacement.name in {event["host"] for event in told if event["event"] == "start"}

    fetched = lab.folder / "fetched"
    lab.run("grokray", "fetch", folder.uri, fetched)
    assert pq.read_table(fetched / "trials.parquet") == pq.read_table(copy / "trials.parquet")
    curves = pq.read_table(fetched / "curves")
    assert curves["embedding_norm"].null_count == 0 < curves.num_rows
    assert "0 faults" in lab.on_host(
        cluster.head_ip(), f"grokray doctor --address auto --out {folder.uri}-doctor", seconds=PATIENCE_S
    )

    end_on_aws(lab, cloud, cluster)
