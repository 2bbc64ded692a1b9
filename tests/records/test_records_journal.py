from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from records_helpers import event, measurement, memory_store

from grokray.errors import FolderError
from grokray.records import journal
from grokray.records.journal import REQUIRED, JournalWriter
from grokray.records.journal_reader import JournalReader
from grokray.records.store import Store


@pytest.fixture
def store(tmp_path):
    return Store.from_uri(tmp_path)


def interrupts(store):
    return [e["session"] for e in JournalReader(store).poll()]


def test_what_is_written_is_polled_once(store):
    reader = JournalReader(store)
    assert reader.poll() == []
    with JournalWriter(store, "driver") as writer:
        writer.write("interrupt", session="a")
        [first] = reader.poll()
        assert first["event"] == "interrupt"
        assert first["t"] == pytest.approx(time.time(), abs=60)
        writer.write_many([event("interrupt", session="b"), event("interrupt", session="c")])
        assert [e["session"] for e in reader.poll()] == ["b", "c"]
        assert reader.poll() == []
        with JournalWriter(store, "engine") as other:
            other.write("interrupt", session="d")
            writer.write("interrupt", session="e")
            assert sorted(e["session"] for e in reader.poll()) == ["d", "e"]
    assert reader.damaged == 0
    assert len(store.list("journal")) == 2


def test_part_names_say_who_wrote_them(store):
    with JournalWriter(store, "driver") as a, JournalWriter(store, "driver") as b:
        assert a.name != b.name
        assert re.fullmatch(r"journal/driver-\d{8}T\d{6}\.\d{6}-[\w.]+-\d+-[0-9a-f]{4}\.jsonl", a.name)


def test_a_torn_tail_waits_for_its_rest(store):
    reader = JournalReader(store)
    line = b'{"t":1,"event":"interrupt","session":"a"}\n'
    stream = store.append_stream("journal/p.jsonl")
    stream.write(line + line[:20])
    assert len(reader.poll()) == 1
    assert reader.poll() == []
    stream.write(line[20:])
    assert len(reader.poll()) == 1
    assert reader.damaged == 0


DAMAGED = [
    b'{"t":1,"event":"inter\x00\xff',
    b"[1, 2]",
    b"null",
    b'{"t":1}',
    b'{"event":"interrupt","session":"a"}',
    b'{"t":1,"event":["interrupt"]}',
    b'{"t":1,"event":"finish","trial_id":"a","attempt":1,"outcome":"budget"}',
    b'{"t":1,"event":"finish","trial_id":"a","attempt":1,"outcome":"budget","step":null}',
    b'{"t":1,"event":"finish","trial_id":"a","attempt":1,"outcome":["budget"],"step":9}',
    b'{"t":1,"event":"end","trial_id":"a","outcome":"budget","step":"9"}',
    b'{"t":1,"event":"measurement","trial_id":"a","attempt":1,"step":9,"metrics":{},"events":"x"}',
    b'{"t":1,"event":"measurement","trial_id":"a","attempt":1,"step":9,"metrics":{},"tasks":{"x+y":1}}',
    b'{"t":1e30,"event":"interrupt","session":"a"}',
    b"[" * 100_000,
    b'{"t":1,"event":"interrupt","session":"a"},{"t":1,"event":"interrupt","session":"a"}',
]


@pytest.mark.parametrize("line", DAMAGED, ids=range(len(DAMAGED)))
def test_a_damaged_line_is_skipped_and_counted(store, line):
    good = b'{"t":1,"event":"interrupt","session":"%d"}\n'
    store.write_atomic("journal/p.jsonl", good % 1 + line + b"\n" + good % 2)
    reader = JournalReader(store)
    assert [e["session"] for e in reader.poll()] == ["1", "2"]
    assert reader.damaged == 1


def test_two_damaged_lines_that_are_sound_together(store):
    store.write_atomic("journal/p.jsonl", b'{"t":1,"event":"interrupt","session":["a"\n"b"]}\n')
    reader = JournalReader(store)
    assert reader.poll() == []
    assert reader.damaged == 2


def test_an_event_of_a_later_version_is_read(store):
    store.write_atomic("journal/p.jsonl", b'{"t":1,"event":"promotion","x":1}\n')
    assert [e["event"] for e in JournalReader(store).poll()] == ["promotion"]


def test_a_line_longer_than_a_read_and_other_files(store, monkeypatch):
    monkeypatch.setattr("grokray.records.journal_reader._CHUNK_BYTES", 16)
    with JournalWriter(store, "driver") as writer:
        writer.write("interrupt", session="x" * 1000)
        writer.write("interrupt", session="y")
    store.write_atomic("journal/notes.txt", b"not ours\n")
    reader = JournalReader(store)
    assert [event["session"] for event in reader.poll()] == ["x" * 1000, "y"]
    assert reader.damaged == 0


def test_numbers_that_are_not_finite_become_null(store):
    metrics = {"train_loss": float("nan"), "heldout_loss": float("inf"), "a": np.float32("nan"), "b": np.int64(3)}
    with JournalWriter(store, "engine") as writer:
        writer.write_many([measurement("ab", 1, metrics=metrics, wall_time_s=float("-inf"))])
        writer.write("interrupt", session=["ü\n", 1.5, (float("nan"),)])
        writer.write("interrupt", session=[np.float32(0.5), np.int64(7)])
    text = store.read_bytes(writer.name).decode()
    lines = [json.loads(line, parse_constant=lambda name: pytest.fail(name)) for line in text.splitlines()]
    assert lines[0]["metrics"] | {"heldout_exact_match": 0} == {
        "train_loss": None,
        "heldout_loss": None,
        "heldout_exact_match": 0,
        "a": None,
        "b": 3,
    }
    assert lines[0]["wall_time_s"] is None
    assert lines[1]["session"] == ["ü\n", 1.5, [None]]
    assert lines[2]["session"] == [0.5, 7]


def test_the_vocabulary_is_kept(store):
    with JournalWriter(store, "driver") as writer:
        with pytest.raises(ValueError, match="event is 'finnish', but must be one of sweep"):
            writer.write("finnish")
        with pytest.raises(ValueError, match="event 'end': outcome is missing"):
            writer.write("end", trial_id="a")
        with pytest.raises(ValueError, match="step is '3', but must be int"):
            writer.write("start", trial_id="a", attempt=1, step="3")
        with pytest.raises(TypeError, match="object cannot be written"):
            writer.write("interrupt", session=object())
    assert JournalReader(store).poll() == []


def test_the_docstring_names_every_event_and_field():
    text = journal.__doc__ or ""
    for kind, fields in REQUIRED.items():
        row = re.search(rf"^\| `{kind}` \|.*$", text, re.MULTILINE)
        assert row, kind
        assert all(field in row[0] for field in fields), kind


def test_threads_share_a_writer(store):
    with JournalWriter(store, "engine") as writer:

        def write(name):
            for i in range(200):
                writer.write("interrupt", session=f"{name}-{i}" + "x" * 100)

        threads = [threading.Thread(target=write, args=(name,)) for name in "abcd"]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(set(interrupts(store))) == 800


def test_a_write_cut_short_by_a_full_disk_spoils_no_later_line(store, monkeypatch):
    writer = JournalWriter(store, "engine")
    writer.write("interrupt", session="a")
    whole = writer._stream.write

    def half(data):
        whole(data[: len(data) // 2])
        raise FolderError("No space left on device")

    monkeypatch.setattr(writer._stream, "write", half)
    with pytest.raises(FolderError):
        writer.write("interrupt", session="lost")
    monkeypatch.setattr(writer._stream, "write", whole)
    writer.write("interrupt", session="b")
    reader = JournalReader(store)
    assert [e["session"] for e in reader.poll()] == ["a", "b"]
    assert reader.damaged == 1


WRITE_FOREVER = """
import sys
from grokray.records import journal
from grokray.records.journal import JournalWriter
from grokray.records.store import Store
writer = JournalWriter(Store.from_uri(sys.argv[1]), "engine")
i = 0
while True:
    writer.write("interrupt", session=i)
    print(i, flush=True)
    i += 1
"""


def test_kill_9_loses_nothing_that_was_written(store):
    process = subprocess.Popen([sys.executable, "-c", WRITE_FOREVER, store.uri], stdout=subprocess.PIPE, text=True)
    with process:
        assert process.stdout is not None
        for line in process.stdout:
            if int(line) >= 500:
                break
        process.send_signal(signal.SIGKILL)
        said = [int(line) for line in process.stdout.read().splitlines()[:-1]]
    last = max(said, default=500)
    sessions = interrupts(store)
    assert sessions == list(range(len(sessions)))
    assert len(sessions) > last


def test_a_journal_on_an_object_store():
    store = memory_store("s3://bucket/journal-test")
    reader = JournalReader(store)
    with JournalWriter(store, "driver") as writer:
        writer.write("interrupt", session="a")
        writer.flush()
        assert [e["session"] for e in reader.poll()] == ["a"]
        writer.write("interrupt", session="b")
    assert [e["session"] for e in reader.poll()] == ["b"]
