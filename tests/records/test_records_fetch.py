"""A sweep's folder copied to this machine: whole, again, in the midst of things, and not over another one."""

from __future__ import annotations

import itertools
import json
from typing import Any

import fsspec
import pytest
from records_helpers import event, make_folder, measurement, memory_store, trial_event

from grokray.errors import FolderBusy, FolderError
from grokray.records import fetch as module
from grokray.records import store as store_module
from grokray.records.collect import collect
from grokray.records.fetch import fetch
from grokray.records.folder import SweepFolder
from grokray.records.store import Store
from grokray.records.tables import read_curves, read_trials

SOURCE = "s3://bucket/sweep"


@pytest.fixture(params=["remote", "local"])
def source(request, tmp_path, monkeypatch):
    """A sweep's folder with one trial measured once; on an object store in memory, or on this machine."""
    if request.param == "local":
        folder = make_folder(tmp_path / "source")
    else:
        plain = Store.from_uri
        there = memory_store(SOURCE)
        monkeypatch.setattr(Store, "from_uri", staticmethod(lambda uri: there if uri == SOURCE else plain(uri)))
        folder = make_folder(SOURCE)
    write(folder, 0)
    yield folder
    fsspec.filesystem("memory").store.clear()


def write(folder: SweepFolder, index: int) -> str:
    trial = trial_event(index)
    with folder.writer("driver") as journal:
        for e in (trial, event("start", trial_id=trial["trial_id"], attempt=1, step=0)):
            journal.write(e["event"], **{k: v for k, v in e.items() if k != "event"})
        e = measurement(trial["trial_id"], 100)
        journal.write("measurement", **{k: v for k, v in e.items() if k != "event"})
    return trial["trial_id"]


def test_a_copy_can_be_read_and_gone_on_with(source, tmp_path):
    collect(source)
    source.store.write_atomic("checkpoints/ab/1.bin", b"weights")
    fetched = fetch(source.store.uri, tmp_path / "copy")
    copy = SweepFolder.open(tmp_path / "copy")
    assert fetched.tables
    assert read_trials(copy).equals(read_trials(source))
    assert read_curves(copy).equals(read_curves(source))
    assert copy.store.read_bytes("checkpoints/ab/1.bin") == b"weights"
    assert copy.state().trials == source.state().trials
    assert copy.meta == source.meta
    assert {*source.store.list()} - {*copy.store.list()} <= {"lock"}


def test_again_nothing_is_copied_and_what_is_new_is(source, tmp_path):
    collect(source)
    first = fetch(source.store.uri, tmp_path / "copy")
    again = fetch(source.store.uri, tmp_path / "copy")
    assert (again.files, again.bytes, again.whole) == (0, 0, first.files)
    write(source, 1)
    collect(source)
    more = fetch(source.store.uri, tmp_path / "copy")
    copy = SweepFolder.open(tmp_path / "copy")
    assert more.files == 3  # a part of the journal, trials, curves
    assert read_curves(copy).num_rows == 2
    assert copy.store.list("curves") == source.store.list("curves")  # the old part is gone


@pytest.mark.parametrize(
    ("name", "few", "more", "fewer"), [("num_trials", 3, 4, 2), ("seeds", "[0, 1]", "[0, 1, 2]", "[0]")]
)
def test_a_copy_of_a_sweep_that_has_grown_since_grows_with_it(name, few, more, fewer, source, tmp_path):
    collect(source)

    def become(value: Any) -> None:
        meta = {**source.meta, "fingerprint": {**source.fingerprint, name: value}}
        source.store.write_atomic("meta.json", json.dumps(meta).encode())

    become(few)
    fetch(source.store.uri, tmp_path / "copy")
    become(more)
    fetch(source.store.uri, tmp_path / "copy")
    assert SweepFolder.open(tmp_path / "copy").fingerprint[name] == more
    become(fewer)
    with pytest.raises(FolderError, match="holds another sweep than"):
        fetch(source.store.uri, tmp_path / "copy")


def test_a_file_of_the_same_size_and_other_content_is_no_copy(source, tmp_path):
    collect(source)
    fetch(source.store.uri, tmp_path / "copy")
    path = tmp_path / "copy/trials.parquet"
    path.write_bytes(bytes(len(path.read_bytes())))
    assert fetch(source.store.uri, tmp_path / "copy").files == 1
    assert read_trials(SweepFolder.open(tmp_path / "copy")).num_rows == 1


def test_tables_only(source, tmp_path):
    collect(source)
    fetch(source.store.uri, tmp_path / "copy", tables_only=True)
    copy = SweepFolder.open(tmp_path / "copy")
    assert not copy.begun()
    assert read_trials(copy).num_rows == 1
    assert copy.sweep_yaml == source.sweep_yaml


def test_without_tables_the_journal_is_copied_and_tables_alone_are_an_error(source, tmp_path):
    assert not fetch(source.store.uri, tmp_path / "copy").tables
    assert SweepFolder.open(tmp_path / "copy").begun()
    with pytest.raises(FolderError, match="holds no tables yet"):
        fetch(source.store.uri, tmp_path / "tables", tables_only=True)


def test_tables_that_are_made_anew_meanwhile_are_copied_together(source, tmp_path, monkeypatch):
    collect(source)
    plain, seen = module.read_manifest, []

    def read_manifest(folder):
        manifest = plain(folder)
        if not seen:  # the sweep goes on between the manifest and the tables
            seen.append(write(source, 1))
            collect(source)
        return manifest

    monkeypatch.setattr(module, "read_manifest", read_manifest)
    fetch(source.store.uri, tmp_path / "copy")
    copy = SweepFolder.open(tmp_path / "copy")
    assert read_trials(copy).num_rows == read_curves(copy).num_rows == 2


def test_tables_that_never_keep_still_are_given_up(source, tmp_path, monkeypatch):
    collect(source)
    plain, numbers = module.read_manifest, itertools.count()
    monkeypatch.setattr(module, "read_manifest", lambda folder: another(plain(folder)))

    def another(manifest):
        return json.loads(json.dumps(manifest).replace('"sha256": "', f'"sha256": "{next(numbers)}'))

    with pytest.raises(FolderError, match="made anew all the time"):
        fetch(source.store.uri, tmp_path / "copy")


def test_a_table_that_is_damaged_or_missing_is_named(source, tmp_path):
    collect(source)
    data = source.store.read_bytes("trials.parquet")
    source.store.write_atomic("trials.parquet", bytes(len(data)))
    with pytest.raises(FolderError, match=r"/trials.parquet is not what manifest.json says of it"):
        fetch(source.store.uri, tmp_path / "copy", tables_only=True)
    source.store.delete("trials.parquet")
    with pytest.raises(FolderError, match=r"/trials.parquet is missing") as refused:
        fetch(source.store.uri, tmp_path / "copy", tables_only=True)
    assert "`grokray collect`" in str(refused.value.hint)


@pytest.mark.parametrize(("name", "reason"), [("trials.parquet", "Is a directory"), ("curves", "Not a directory")])
def test_what_stands_where_a_table_should_be_is_said(name, reason, tmp_path):
    folder = make_folder(tmp_path / "source")
    write(folder, 0)
    collect(folder)
    (tmp_path / "source" / name).rename(tmp_path / "moved")
    if name == "curves":
        (tmp_path / "source" / name).write_text("")
    else:
        (tmp_path / "source" / name).mkdir()
    with pytest.raises(FolderError, match=f"cannot read .*/{name}.*: {reason}"):
        fetch(tmp_path / "source", tmp_path / "copy", tables_only=True)


def test_a_folder_that_holds_something_else_is_left_alone(source, tmp_path):
    (tmp_path / "files").mkdir()
    (tmp_path / "files/a.txt").write_text("mine")
    with pytest.raises(FolderError, match=r"holds no sweep \(no meta.json, but a.txt\)"):
        fetch(source.store.uri, tmp_path / "files")
    make_folder(tmp_path / "other", {"num_trials": 4})
    with pytest.raises(FolderError, match="holds another sweep"):
        fetch(source.store.uri, tmp_path / "other")
    assert (tmp_path / "files/a.txt").read_text() == "mine"


def test_a_copy_in_which_a_sweep_went_on_is_left_alone(source, tmp_path):
    fetch(source.store.uri, tmp_path / "copy")
    write(SweepFolder.open(tmp_path / "copy"), 1)
    with pytest.raises(FolderError, match="a sweep went on there"):
        fetch(source.store.uri, tmp_path / "copy")


def test_a_copy_that_is_in_use_is_left_alone(source, tmp_path):
    fetch(source.store.uri, tmp_path / "copy")
    with SweepFolder.open(tmp_path / "copy").lock("grokray sweep x.yaml"), pytest.raises(FolderBusy):
        fetch(source.store.uri, tmp_path / "copy")


def test_what_is_no_sweep_or_the_same_folder_is_refused(source, tmp_path):
    with pytest.raises(FolderError, match="is no sweep's folder"):
        fetch(tmp_path / "nowhere", tmp_path / "copy")
    assert not (tmp_path / "copy").exists()
    with pytest.raises(FolderError, match=r"own folder|not on this machine"):
        fetch(source.store.uri, source.store.uri)
    with pytest.raises(FolderError, match=r"is in the sweep's own folder|not on this machine"):
        fetch(source.store.uri, f"{source.store.uri}/copy")


def test_progress_is_told_in_bytes(source, tmp_path):
    collect(source)
    told = []
    fetched = fetch(source.store.uri, tmp_path / "copy", progress=lambda *numbers: told.append(numbers))
    assert told[0] == (0, fetched.bytes)
    assert told[-1] == (fetched.bytes, fetched.bytes)
    assert [done for done, _ in told] == sorted(done for done, _ in told)


@pytest.fixture
def batches(monkeypatch):
    """A journal on an object store whose second batch is not yet part of a block, and what makes it one."""
    monkeypatch.setattr("grokray.records.remote_append.PUT_INTERVAL_S", 1000)
    monkeypatch.setattr("grokray.records.remote_append.GATHER_S", 1000)
    monkeypatch.setattr("grokray.records.remote_append.BLOCK", 2)
    plain, there = Store.from_uri, memory_store(SOURCE)
    monkeypatch.setattr(Store, "from_uri", staticmethod(lambda uri: there if uri == SOURCE else plain(uri)))
    folder = make_folder(SOURCE)
    stream = there.append_stream("journal/p.jsonl")
    for session in (1, 2):
        stream.write(b'{"t":1,"event":"interrupt","session":%d}\n' % session)
        stream.flush()
    yield folder, stream._merge
    fsspec.filesystem("memory").store.clear()


def sessions(folder):
    return [e["session"] for e in folder.reader().poll()]


def test_a_large_file_is_copied_piece_by_piece(source, tmp_path, monkeypatch):
    monkeypatch.setattr(store_module, "PIECE_BYTES", 4)
    for size in (0, 3, 4, 5, 8, 9):
        source.store.write_atomic(f"checkpoints/ab/{size}.bin", bytes(range(size)))
    collect(source)
    fetch(source.store.uri, tmp_path / "copy")
    copy = SweepFolder.open(tmp_path / "copy")
    assert [copy.store.read_bytes(f"checkpoints/ab/{size}.bin") for size in (0, 3, 4, 5, 8, 9)] == [
        bytes(range(size)) for size in (0, 3, 4, 5, 8, 9)
    ]
    assert read_trials(copy).equals(read_trials(source))


def test_batches_that_became_a_block_since_the_last_copy(batches, tmp_path):
    _, merge = batches
    fetch(SOURCE, tmp_path / "copy")
    merge()
    fetch(SOURCE, tmp_path / "copy")
    assert sessions(SweepFolder.open(tmp_path / "copy")) == [1, 2]


def test_batches_that_become_a_block_while_they_are_copied(batches, tmp_path, monkeypatch):
    folder, merge = batches
    read = folder.store.read_range

    def merging(*args):
        merge()
        return read(*args)

    monkeypatch.setattr(folder.store, "read_range", merging)
    fetch(SOURCE, tmp_path / "copy")
    copy = SweepFolder.open(tmp_path / "copy")
    assert copy.store.list("journal") == ["journal/p.000001.jsonl"]
    assert sessions(copy) == [1, 2]
