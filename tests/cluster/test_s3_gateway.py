"""Folders in a real S3 store: Ceph's gateway, which refuses, freezes and honours conditional puts as others do."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from grokray.errors import FolderBusy, FolderError
from grokray.records import lease
from grokray.records.folder import SweepFolder
from grokray.records.holder import Holder
from grokray.records.journal import JournalWriter
from grokray.records.journal_reader import JournalReader
from grokray.records.lock import hold
from grokray.records.store import Store
from tests.cluster.lab import rgw

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.slow,
    pytest.mark.skipif(bool(rgw.missing_programs()), reason=f"not installed: {', '.join(rgw.missing_programs())}"),
]
META = {"versions": {}, "command": "grokray sweep space.yaml"}
AT_ONCE = 8


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[rgw.Gateway]:
    running = rgw.start(tmp_path_factory.mktemp("rgw") / "ceph")
    try:
        running.make_bucket("sweeps")
        yield running
    finally:
        running.cont()
        running.kill()


@pytest.fixture
def uri(gateway: rgw.Gateway, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> str:
    """A folder of this test's own; the environment is that of somebody who may use it."""
    for name, value in gateway.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("GROKRAY_STORE_PATIENCE", "120")
    return f"s3://sweeps/{request.node.name}"


def make(uri: str) -> SweepFolder:
    return SweepFolder.create_or_open(uri, "num_trials: 3\n", {"num_trials": 3}, META)


def at_once(act: Callable[[int], object]) -> list[object]:
    """What each of several threads that start together returns, or None for FolderBusy."""
    start, results = threading.Barrier(AT_ONCE), []

    def run(number: int) -> None:
        start.wait()
        try:
            results.append(act(number))
        except FolderBusy:
            results.append(None)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(AT_ONCE)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def test_what_is_written_is_read_listed_and_deleted(uri):
    store = Store.from_uri(uri)
    large = os.urandom(12 << 20)
    store.write_atomic("a/large", large)
    store.write_atomic("a/empty", b"")
    assert store.read_bytes("a/large") == large
    assert store.read_range("a/large", 5, 3) == large[5:8]
    assert store.sizes("a") == {"a/empty": 0, "a/large": len(large)}
    store.delete("a/empty")
    store.delete("a/empty")
    store.delete_tree("a")
    assert store.list() == []
    with pytest.raises(FolderError, match="it is missing"):
        store.read_bytes("a/large")


def test_conditional_puts_are_honoured(uri):
    store = Store.from_uri(uri)
    assert store.create("lock", b"1")
    assert not store.create("lock", b"2")
    one = store.read_tagged("lock")
    assert one.age_s < 60
    assert store.replace("lock", b"3", one.tag)
    assert not store.replace("lock", b"4", one.tag)
    assert store.read_bytes("lock") == b"3"
    assert store.entries() == ["lock"]


def test_without_boto3_a_folder_is_locked_all_the_same(uri, monkeypatch):
    monkeypatch.setattr("grokray.records.s3.find_spec", lambda name: None)
    folder = make(uri)
    with folder.lock("first") as lock:
        lock._lease.refresh()
        assert not lock.lost.is_set()
        with pytest.raises(FolderBusy, match="'first'"), make(uri).lock():
            pytest.fail("two hold one lock")
    assert "lock" not in folder.store.entries()


def test_of_many_that_create_one_does(uri):
    assert at_once(lambda n: Store.from_uri(uri).create("meta.json", b"%d" % n)).count(True) == 1


def test_of_many_that_take_over_an_expired_lease_one_gets_it(uri):
    store = Store.from_uri(uri)
    old = replace(Holder.here("dead"), refreshed=0.0, place="elsewhere")
    store.write_atomic("lock", old.encode())
    with pytest.raises(FolderBusy, match="'dead'"), hold(store, "lock"):
        pytest.fail("by the store's clock it is fresh, whatever the holder's clock says")
    got = threading.Barrier(AT_ONCE)

    def take(number: int) -> int:
        try:
            with hold(Store.from_uri(uri), "lock"):
                got.wait(60)
                return number
        except FolderBusy:
            got.wait(60)
            raise

    with pytest.MonkeyPatch.context() as patch:
        time.sleep(2.5)
        patch.setattr(lease, "EXPIRES_S", 2.0)
        patch.setattr(lease, "REFRESH_S", 0.2)
        assert sum(result is not None for result in at_once(take)) == 1


@pytest.mark.parametrize(
    ("changes", "bucket", "reason"),
    [
        ({"AWS_SECRET_ACCESS_KEY": "w" * 40}, "sweeps", "the secret key is wrong"),
        ({"AWS_ACCESS_KEY_ID": "nobody"}, "sweeps", "the store does not know the access key"),
        ({}, "no-such-bucket", "the bucket does not exist"),
        ({"AWS_ENDPOINT_URL": "http://127.0.0.1:1"}, "sweeps", "nothing answers at its address"),
    ],
)
def test_what_cannot_be_used_is_said_within_seconds(uri, monkeypatch, changes, bucket, reason):
    for name, value in changes.items():
        monkeypatch.setenv(name, value)
    began = time.monotonic()
    with pytest.raises(FolderError, match=reason) as caught:
        make(f"s3://{bucket}/refused")
    assert caught.value.hint
    assert "w" * 40 not in str(caught.value)
    assert time.monotonic() - began < 25


def test_a_gateway_that_hangs_is_said_within_seconds(uri, gateway):
    gateway.stop()
    try:
        began = time.monotonic()
        with pytest.raises(FolderError, match="it does not answer"):
            make(uri)
        assert time.monotonic() - began < 30
    finally:
        gateway.cont()


def test_rights_to_read_alone_are_not_enough(uri, gateway, monkeypatch):
    make(uri)
    gateway.admin(["user", "modify", "--uid=user", "--op-mask=read"])
    try:
        assert SweepFolder.open(uri).sweep_yaml == "num_trials: 3\n"
        with pytest.raises(FolderError, match="cannot write .*: access is denied"):
            make(uri)
    finally:
        gateway.admin(["user", "modify", "--uid=user", "--op-mask=read,write,delete"])


def test_a_store_that_is_full_is_said_at_once(uri, gateway):
    gateway.set_quota(1000)
    try:
        with pytest.raises(FolderError, match="it is full") as caught:
            make(uri)
        assert "quota" in caught.value.hint
    finally:
        gateway.set_quota(-1)


def test_an_outage_loses_nothing(uri, gateway, caplog):
    folder = make(uri)
    with folder.lock() as lock, JournalWriter(folder.store, "driver") as writer:
        writer.write("interrupt", session="before")
        writer.flush()
        gateway.stop()
        threading.Timer(20, gateway.cont).start()
        began = time.monotonic()
        writer.write("interrupt", session="while")
        writer.flush()
        assert time.monotonic() - began > 15
        lock.require()
        writer.write("interrupt", session="after")
    assert [event["session"] for event in JournalReader(folder.store).poll()] == ["before", "while", "after"]
    assert sum("trying again for up to" in text for text in caplog.messages) == 1


SPACE = """
name: tiny
method: sobol
metric: {name: grok_step, goal: minimize}
num_trials: 3
seeds: [0]
parameters:
  operation: {value: x+y_mod}
  modulus: {value: 11}
  num_layers: {value: 1}
  dim_model: {value: 16}
  num_heads: {value: 2}
  weight_decay: {min: 0.1, max: 1.0}
  batch_size: {value: 32}
  num_steps: {value: 6000}
trial: {eval_interval: 100, checkpoint_interval: 500, examples: 1, keep_checkpoints: last+best}
scheduler: {type: fifo}
"""


def grokray(*words: str) -> list[str]:
    return [sys.executable, "-m", "grokray", *words]


@pytest.mark.ray
def test_a_sweep_goes_through_an_outage_and_a_kill(uri, gateway, tmp_path):
    """The driver is killed and started again at once; then the store hangs for half a minute."""
    (tmp_path / "space.yaml").write_text(SPACE)
    command = grokray("sweep", str(tmp_path / "space.yaml"), "--out", uri)
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, start_new_session=True) as first:
        began = _wait_for(uri, "checkpoint", first)
        first.send_signal(signal.SIGKILL)
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True) as second:
        _wait_for(uri, "start", second, more_than=began)
        gateway.stop()
        time.sleep(30)
        gateway.cont()
        assert second.stdout is not None
        said = second.stdout.read()
    assert second.returncode == 0, said
    assert "3 of 3 trials ended" in said
    _is_whole(uri, tmp_path)


def _wait_for(uri: str, kind: str, driver: subprocess.Popen, *, more_than: int = 0) -> int:
    """Until the journal has more events of a kind than that; how many trials have started."""
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline and driver.poll() is None:
        kinds = [event["event"] for event in JournalReader(Store.from_uri(uri)).poll()]
        if kinds.count(kind) > more_than:
            return kinds.count("start")
        time.sleep(0.5)
    raise AssertionError(f"no {kind} was written")


def _is_whole(uri: str, here: Path) -> None:
    import grokray as package
    from grokray.records.tables import read_curves, read_trials

    folder = SweepFolder.open(uri)
    assert read_trials(folder)["steps_trained"].to_pylist() == [6000] * 3
    curves = read_curves(folder)
    assert curves.num_rows == 3 * 60
    assert len(package.load(uri).sweeps.trials) == 3
    status = json.loads(subprocess.check_output(grokray("status", uri, "--json"), cwd=here))
    assert (status["state"], status["ended"]) == ("ended", 3)
    for words in (("report", uri), ("analyze", uri), ("plot", uri, "--best"), ("collect", uri)):
        subprocess.run(grokray(*words), cwd=here, check=True, stdout=subprocess.DEVNULL)
    assert {"report.html", "analysis", "plots"} <= set(folder.store.entries())
    assert [path.name for path in here.iterdir()] == ["space.yaml"]
