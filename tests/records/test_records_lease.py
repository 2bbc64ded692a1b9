from __future__ import annotations

import itertools
import os
import re
import subprocess
import sys
import threading
import time
from dataclasses import replace
from types import SimpleNamespace

import pytest
from records_helpers import memory_store

from grokray.errors import ExecutionError, FolderBusy, FolderError
from grokray.records import lease
from grokray.records.holder import Holder
from grokray.records.lease import expired
from grokray.records.lock import hold
from grokray.records.store import Store, Tagged


@pytest.fixture
def store(request, monkeypatch):
    monkeypatch.setattr("grokray.records.store.SETTLE_S", 0)
    monkeypatch.setattr(lease, "WATCH_S", 0.05)
    monkeypatch.setattr(lease, "LOOK_S", 0.01)
    return memory_store(f"s3://bucket/{re.sub('[^a-z0-9]+', '-', request.node.name)}")


def holder_in(store):
    """Whoever the lock names. A file in memory is empty for a moment while it is written, as no object ever is."""
    found = []
    wait_until(lambda: found.append(Holder.decode(store.read_bytes("lock"))) or found[-1])
    return found[-1]


def wait_until(condition):
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_lease_is_respected_refreshed_and_released(store, monkeypatch):
    monkeypatch.setattr(lease, "REFRESH_S", 0.02)
    with hold(store, "lock", command="first") as lock:
        with pytest.raises(FolderBusy, match="'first'") as caught, hold(store, "lock"):
            pytest.fail("two hold one lock")
        assert "try again in 120 s" in caught.value.hint
        wait_until(lambda: holder_in(store).refreshed > lock.holder.refreshed)
        lock.require()
    time.sleep(0.1)  # time for some more
    assert not store.exists("lock"), "who has released it does not refresh it"


def test_a_refresh_that_fails_is_tried_again(store, monkeypatch, caplog):
    monkeypatch.setattr(lease, "REFRESH_S", 0.02)
    read, errors = store.read_tagged, [FolderError("the store is away")] * 2

    def read_tagged(name):
        if errors:
            raise errors.pop()
        return read(name)

    with hold(store, "lock") as lock:
        monkeypatch.setattr(store, "read_tagged", read_tagged)
        wait_until(lambda: not errors and holder_in(store).refreshed > lock.holder.refreshed)
        assert not lock.lost.is_set()
    assert caplog.messages == ["the store is away; trying again in 0.02 s"] * 2


def test_one_that_somebody_removed_need_not_be_released(store):
    with hold(store, "lock"):
        store.delete("lock")
    assert not store.exists("lock")


@pytest.mark.parametrize("old", [True, False])
def test_one_that_was_not_refreshed_is_taken_over(store, old):
    then = time.time() - lease.EXPIRES_S + (-1 if old else 10)
    store.write_atomic("lock", replace(Holder.here("dead"), refreshed=then, place="elsewhere").encode())
    if old:
        with hold(store, "lock", command="second"):
            assert holder_in(store).command == "second"
    else:
        with pytest.raises(FolderBusy, match="'dead'"), hold(store, "lock"):
            pytest.fail("the holder may live")


def test_one_of_a_machine_whose_clock_is_hours_behind_is_not_taken_over(store, monkeypatch):
    """It has expired by our clock, and is refreshed all the same."""
    behind = replace(Holder.here("living"), refreshed=time.time() - 7200, place="elsewhere")
    numbers = itertools.count()

    def refresh(seconds):
        store.write_atomic("lock", behind.encode(refreshed=behind.refreshed + next(numbers)))

    refresh(0)
    clock = SimpleNamespace(time=time.time, monotonic=time.monotonic, sleep=refresh)
    monkeypatch.setattr(lease, "time", clock)
    with pytest.raises(FolderBusy, match="'living'"), hold(store, "lock"):
        pytest.fail("two hold one lock")


def test_one_whose_process_is_gone_here_is_taken_over_at_once(store):
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        pass
    gone = replace(Holder.here("gone"), pid=process.pid, born="1")
    assert gone.dead
    assert replace(gone, pid=os.getpid()).dead  # its id is another process' now
    assert not replace(gone, place="elsewhere").dead
    assert not replace(gone, place="").dead
    assert not replace(gone, born="").dead
    assert not Holder.here("alive").dead
    store.write_atomic("lock", gone.encode())
    with hold(store, "lock", command="second"):
        assert holder_in(store).command == "second"


def test_the_stores_clock_counts_where_it_tells():
    fresh = replace(Holder.here("other"), refreshed=time.time() - 3600, place="elsewhere")
    assert expired(fresh)
    assert not expired(fresh, Tagged(data=b"", tag="", age_s=5.0))


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"host": "h"}'])
def test_a_lock_that_says_nothing_is_no_lock(store, content):
    store.write_atomic("lock", content)
    with hold(store, "lock", command="second"):
        assert holder_in(store).command == "second"


def test_whoever_loses_it_learns_so_and_leaves_it_alone(store, monkeypatch):
    monkeypatch.setattr(lease, "REFRESH_S", 0.02)
    with hold(store, "lock") as lock:
        assert not lock.lost.is_set()
        store.write_atomic("lock", replace(lock.holder, token="other").encode())
        assert lock.lost.wait(20)
        with pytest.raises(ExecutionError, match="was taken over by another process"):
            lock.require()
    assert holder_in(store).token == "other"


def test_after_a_long_outage_a_holder_looks_before_it_writes(store, monkeypatch):
    with hold(store, "lock") as lock:
        lock._lease._refreshed -= lease.EXPIRES_S
        lock.require()  # nobody has taken it
        assert holder_in(store).refreshed > lock.holder.refreshed
        store.write_atomic("lock", replace(lock.holder, token="other").encode())
        lock.require()  # it was refreshed just now, so nobody can have taken it
        lock._lease._refreshed -= lease.EXPIRES_S
        with pytest.raises(ExecutionError, match="taken over"):
            lock.require()


def test_one_that_somebody_removed_is_made_again(store, monkeypatch):
    monkeypatch.setattr(lease, "REFRESH_S", 0.02)
    with hold(store, "lock") as lock:
        store.delete("lock")
        wait_until(lambda: store.exists("lock"))
        assert holder_in(store).token == lock.holder.token


def test_of_many_at_once_one_gets_it(tmp_path):
    store, got, start = Store.from_uri(tmp_path), [], threading.Barrier(8)

    def take(n):
        start.wait()
        if store.create("lock", b"%d" % n):
            got.append(n)

    threads = [threading.Thread(target=take, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(got) == 1
    assert store.read_bytes("lock") == b"%d" % got[0]
