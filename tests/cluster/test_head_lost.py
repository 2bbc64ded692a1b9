"""The head of a cluster is lost in mid-sweep: `ray up` and the same command go on with the sweep."""

from __future__ import annotations

import time

import pytest

from grokray.errors import FolderBusy
from tests.cluster.lab.lab import Lab
from tests.cluster.lab.ray_cluster import RayCluster
from tests.cluster.lab.scenario import PATIENCE_S, TRIALS, end_on_aws, start_on_aws, submit, wait_for_training
from tests.cluster.lab.sweep_folder import Event, SweepFolder, check_every_trial_once, chosen, journal

pytestmark = [pytest.mark.cluster, pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(3000)]

LEASE_S, PAUSE_S = 120, 20


def test_a_sweep_goes_on_after_its_head_was_lost(lab: Lab):
    cloud, cluster = start_on_aws(lab)
    folder = SweepFolder(lab, "head")
    sweep = submit(lab, cluster, folder)
    started = wait_for_training(lab, folder, sweep, hosts=2)

    head = cloud.machines()[0]
    lab.cut_power(head.name)
    cloud.terminate(head)  # as the cloud does with an instance whose hardware has failed
    lab.stop(sweep)
    lab.wait_for("the head's end", lambda: head not in cloud.powered(), seconds=60)
    cluster.up()
    submit_until_free(lab, cluster, folder)

    copy = folder.copy()
    check_every_trial_once(copy, TRIALS)
    told = journal(copy)
    assert len(chosen(told, "sweep")) == 2
    check_nothing_was_done_twice(told, {start["trial_id"] for start in started})
    end_on_aws(lab, cloud, cluster)


def check_nothing_was_done_twice(told: list[Event], started: set[str]) -> None:
    """What had started before the head was lost either ended on its orphaned engine, which lives a minute longer, or
    went on from a checkpoint."""
    resumed = chosen(told, "sweep")[1]["t"]
    for trial in started:
        finished = [event for event in chosen(told, "finish", trial_id=trial) if event["t"] < resumed]
        again = [event["step"] > 0 for event in chosen(told, "start", trial_id=trial) if event["t"] > resumed]
        assert again == ([] if finished else [True])


def submit_until_free(lab: Lab, cluster: RayCluster, folder: SweepFolder) -> None:
    """The same command, again and again while the folder counts as in use: the lost head's lease is good for two
    minutes. Until the sweep has ended."""
    code = FolderBusy.exit_code
    for _ in range(LEASE_S // PAUSE_S + 1):
        code = submit(lab, cluster, folder).wait(2 * PATIENCE_S)
        if code != FolderBusy.exit_code:
            break
        time.sleep(PAUSE_S)
    assert code == 0, lab.log("submit.log")[-2000:]
