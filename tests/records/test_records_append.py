"""Journals on object stores: batches that never change, blocks of them, and readers who come at any moment."""

from __future__ import annotations

import re
import threading
import time

import pytest
from records_helpers import memory_store

from grokray.errors import FolderError
from grokray.records import remote_append
from grokray.records.journal import JournalWriter
from grokray.records.journal_reader import JournalReader
from grokray.records.remote_append import batch_of


@pytest.fixture
def store(request):
    return memory_store(f"s3://bucket/{re.sub('[^a-z0-9]+', '-', request.node.name)}")


@pytest.fixture
def by_hand(monkeypatch):
    """Nothing is put but by `flush`, and blocks are of three."""
    monkeypatch.setattr(remote_append, "PUT_INTERVAL_S", 1000)
    monkeypatch.setattr(remote_append, "GATHER_S", 1000)
    monkeypatch.setattr(remote_append, "BLOCK", 3)


def line(session):
    return b'{"t":1,"event":"interrupt","session":%d}\n' % session


def sessions(events):
    return [event["session"] for event in events]


def append(store, count, *, of=1):
    stream = store.append_stream("journal/p.jsonl")
    for n in range(0, count, of):
        stream.write(b"".join(line(n + k) for k in range(of)))
        stream.flush()
    return stream


def test_names():
    assert batch_of("journal/driver-1.000000-node-1-ab.000002/000007.jsonl") == (
        "journal/driver-1.000000-node-1-ab.000002.jsonl",
        7,
    )
    assert batch_of("journal/driver-1.000000-node-1-ab.000002.jsonl").number == 0
    assert batch_of("journal/driver-20260101T120000.123456-node-1-ab12.jsonl") is None


def test_each_batch_is_an_object_until_its_block_is_full(store, by_hand):
    stream = append(store, 4)
    assert store.list() == [f"journal/p.000001/00000{n}.jsonl" for n in (1, 2, 3)] + ["journal/p.000002/000001.jsonl"]
    stream._merge()
    assert store.list() == ["journal/p.000001.jsonl", "journal/p.000002/000001.jsonl"]
    assert store.read_bytes("journal/p.000001.jsonl") == line(0) + line(1) + line(2)
    stream.write(line(4))
    stream.close()
    assert store.list() == ["journal/p.000001.jsonl", "journal/p.000002.jsonl"]
    assert sessions(JournalReader(store).poll()) == [0, 1, 2, 3, 4]


def test_who_has_read_some_batches_goes_on_in_their_block(store, by_hand, monkeypatch):
    reader, reads = JournalReader(store), []
    stream = append(store, 2)
    assert sessions(reader.poll()) == [0, 1]
    stream.write(line(2))
    stream.flush()
    stream._merge()
    whole = store.read_range
    monkeypatch.setattr(store, "read_range", lambda *args: reads.append(args) or whole(*args))
    assert sessions(reader.poll()) == [2]
    assert reader.poll() == []
    assert reads == [("journal/p.000001.jsonl", len(line(0) + line(1)), len(line(2)))]


@pytest.mark.parametrize("before", [0, 2])
def test_a_block_whose_batches_are_still_there_is_read_once(store, by_hand, before):
    """Who made it was killed before it had deleted them."""
    stream, reader = append(store, before), JournalReader(store)
    reader.poll()
    for n in range(before, 3):
        stream.write(line(n))
        stream.flush()
    store.write_atomic("journal/p.000001.jsonl", b"".join(map(line, range(3))))
    assert sessions(reader.poll()) == list(range(before, 3))
    assert reader.poll() == []


@pytest.mark.parametrize("before", [0, 2])
def test_a_block_larger_than_a_read_is_read_in_pieces(store, by_hand, monkeypatch, before):
    monkeypatch.setattr("grokray.records.journal_reader._CHUNK_BYTES", len(line(0)) + 1)
    stream, reader = append(store, before), JournalReader(store)
    reader.poll()
    for n in range(before, 6):
        stream.write(line(n))
        stream.flush()
    stream._merge()
    pieces = [sessions(piece) for piece in reader.chunks()]
    assert pieces == [[n] for n in range(before, 6)]
    assert reader.poll() == []


def test_nothing_is_read_twice(store, by_hand, monkeypatch):
    reader = JournalReader(store)
    append(store, 2)
    reader.poll()
    monkeypatch.setattr(store, "read_bytes", lambda name: pytest.fail(name))
    assert reader.poll() == []


@pytest.mark.parametrize("before", [0, 1, 3])
def test_a_block_that_is_made_while_it_is_listed(store, by_hand, monkeypatch, before):
    """The listing still has the batches, of which none or some are gone when they are read."""
    stream, reader = append(store, before), JournalReader(store)
    reader.poll()
    for n in range(before, 5):
        stream.write(line(n))
        stream.flush()
    listings, now = [dict(store.sizes("journal"))], store.sizes
    stream._merge()
    monkeypatch.setattr(store, "sizes", lambda prefix: listings.pop() if listings else now(prefix))
    assert sorted(sessions(reader.poll())) == list(range(before, 5))
    assert reader.damaged == 0


def test_a_batch_that_is_lost_is_counted_and_passed_over(store, by_hand):
    append(store, 2)
    store.write_atomic("journal/p.000001/000004.jsonl", line(9))
    reader = JournalReader(store)
    assert sessions(reader.poll()) == [0, 1, 9]
    assert reader.damaged == 1
    assert reader.poll() == []


def test_many_batches_are_read_in_their_order(store, by_hand, monkeypatch):
    monkeypatch.setattr(remote_append, "BLOCK", 40)
    append(store, 300, of=3)
    assert sessions(JournalReader(store).poll()) == list(range(300))


def test_a_batch_that_failed_keeps_its_name_and_content(store, by_hand, monkeypatch):
    """It may be there all the same, and read already."""
    stream, put, tried = append(store, 1), store.write_atomic, []

    def lose_the_answer(name, data):
        tried.append((name, bytes(data)))
        put(name, data)
        if len(tried) == 1:
            raise FolderError("no network")

    monkeypatch.setattr(store, "write_atomic", lose_the_answer)
    stream.write(line(1))
    with pytest.raises(FolderError):
        stream.flush()
    stream.write(line(2))
    stream.flush()
    assert tried[0] == tried[1] == ("journal/p.000001/000002.jsonl", line(1))
    assert sessions(JournalReader(store).poll()) == [0, 1, 2]


def test_measurements_wait_and_the_rest_is_put_soon(store, monkeypatch):
    monkeypatch.setattr(remote_append, "PUT_INTERVAL_S", 1000)
    monkeypatch.setattr(remote_append, "GATHER_S", 0.01)
    writer = JournalWriter(store, "driver")
    writer.write("measurement", trial_id="a", attempt=1, step=1, metrics={})
    time.sleep(0.2)
    assert store.list("journal") == []
    writer.write_many(
        [
            {"event": "measurement", "trial_id": "a", "attempt": 1, "step": 2, "metrics": {}},
            {"event": "interrupt", "session": "a"},
        ]
    )
    deadline = time.monotonic() + 20
    while not any(store.sizes("journal").values()) and time.monotonic() < deadline:  # in memory, empty ones are listed
        time.sleep(0.01)
    assert [event["event"] for event in JournalReader(store).poll()] == ["measurement"] * 2 + ["interrupt"]
    writer.close()


def test_a_stream_saves_by_itself_and_again_after_a_failure(store, monkeypatch, caplog):
    monkeypatch.setattr(remote_append, "PUT_INTERVAL_S", 0.02)
    put, failures = store.write_atomic, []

    def fail_twice(name, data):
        if len(failures) < 2:
            failures.append(name)
            raise FolderError("no network")
        put(name, data)

    monkeypatch.setattr(store, "write_atomic", fail_twice)
    stream = store.append_stream("journal/a.jsonl")
    stream.write(line(1))
    deadline = time.monotonic() + 20
    while not store.list("journal") and time.monotonic() < deadline:
        time.sleep(0.01)
    assert failures == ["journal/a.000001/000001.jsonl"] * 2
    assert caplog.messages == ["no network; trying again"]
    stream.write(line(2))
    stream.close()
    assert sessions(JournalReader(store).poll()) == [1, 2]


def test_who_writes_to_a_store_that_refuses_is_told(store, monkeypatch):
    """Nothing is lost: it is put once the store takes it."""
    monkeypatch.setattr(remote_append, "PUT_INTERVAL_S", 0.02)
    put, refuse = store.write_atomic, threading.Event()

    def refused(name, data):
        if refuse.is_set():
            raise FolderError("it is full")
        put(name, data)

    refuse.set()
    monkeypatch.setattr(store, "write_atomic", refused)
    stream = store.append_stream("journal/a.jsonl")
    stream.write(line(1))
    deadline = time.monotonic() + 20
    while stream._refused is None and time.monotonic() < deadline:
        time.sleep(0.01)
    with pytest.raises(FolderError, match="it is full"):
        stream.write(line(2))
    refuse.clear()
    stream.close()
    assert set(sessions(JournalReader(store).poll())) == {1, 2}


def test_a_slow_store_is_read_a_tenth_of_the_time(store, monkeypatch):
    reader, clock = JournalReader(store), [100.0]
    monkeypatch.setattr("grokray.records.journal_reader.time.monotonic", lambda: clock[0])
    sizes, seconds = store.sizes, [60.0, 2.0, 2.0]

    def slow(prefix):
        clock[0] += seconds.pop(0)
        return sizes(prefix)

    monkeypatch.setattr(store, "sizes", slow)
    reader.poll()
    assert reader.due  # the first reading is no measure
    reader.poll()
    assert not reader.due
    clock[0] += 17.9
    assert not reader.due
    clock[0] += 0.2
    assert reader.due
