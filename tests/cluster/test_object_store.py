"""Sweeps whose folder is on an object store that refuses, or that is gone for a while."""

from __future__ import annotations

import subprocess
import time

import pytest

from tests.cluster.lab.lab import REPOSITORY, Lab
from tests.cluster.lab.rgw import SECRET_KEY
from tests.cluster.lab.scenario import PATIENCE_S, SEARCH_SPACE, TRIALS, wait_for_end, wait_for_training
from tests.cluster.lab.services import ObjectStore
from tests.cluster.lab.sweep_folder import SweepFolder, check_every_trial_once, chosen, journal

pytestmark = [pytest.mark.cluster, pytest.mark.ray, pytest.mark.timeout(2000)]

OUTAGE_S = 30.0
ONE_SEED = "seeds=[0]"  # half of the trials will do


@pytest.fixture(scope="module")
def store(lab: Lab) -> ObjectStore:
    store = ObjectStore(lab)
    store.wait()
    return store


def refused(lab: Lab, uri: str, **env: str) -> subprocess.CompletedProcess[str]:
    """A sweep that cannot be: it ends soon, with one error of the user's kind."""
    done = lab.run("grokray", "sweep", SEARCH_SPACE, "--out", uri, check=False, seconds=90, env=env, cwd=REPOSITORY)
    assert done.returncode == 2, done.stdout + done.stderr
    assert done.stderr.count("error:") == 1
    assert "Traceback" not in done.stderr
    assert uri in done.stderr
    return done


def test_a_wrong_secret_is_one_error_before_any_trial(lab: Lab, store: ObjectStore):
    folder = SweepFolder(lab, "wrong-secret")
    wrong = SECRET_KEY[::-1]
    done = refused(lab, folder.uri, AWS_ACCESS_KEY_ID="gatewayaccesskey0001", AWS_SECRET_ACCESS_KEY=wrong)
    assert wrong not in done.stdout + done.stderr
    assert folder.files() == []


def test_a_bucket_that_does_not_exist_is_one_error(lab: Lab, store: ObjectStore):
    done = refused(lab, "s3://no-such-bucket/sweep")
    assert "bucket" in done.stderr


def test_a_store_that_is_gone_for_half_a_minute_stalls_the_sweep_and_loses_nothing(lab: Lab, store: ObjectStore):
    folder = SweepFolder(lab, "outage")
    command = ("grokray", "sweep", SEARCH_SPACE, "--out", folder.uri, "--set", ONE_SEED)
    sweep = lab.start(*command, log="submit.log", cwd=REPOSITORY)
    wait_for_training(lab, folder, sweep, hosts=1)
    store.freeze()
    time.sleep(OUTAGE_S)
    store.thaw()
    assert sweep.poll() is None, lab.log("submit.log")[-2000:]
    wait_for_end(lab, sweep)

    copy = folder.copy()
    check_every_trial_once(copy, TRIALS // 2)
    assert chosen(journal(copy), "failure") == []
    lab.wait_for("no process of Ray", lambda: lab.processes("raylet") == 0, seconds=PATIENCE_S)
