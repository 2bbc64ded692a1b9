from __future__ import annotations

import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import fsspec
import pytest
from records_helpers import memory_store

from grokray.errors import FileMissing, FolderError
from grokray.records.store import Store
from grokray.records.store_local import in_place_of
from grokray.records.uri import hide_secrets, join, split_last


@pytest.fixture(params=["local", "remote"])
def store(request, tmp_path):
    if request.param == "local":
        yield Store.from_uri(tmp_path / "sweep")
        return
    yield memory_store()
    fsspec.filesystem("memory").store.clear()


def test_what_is_written_is_read_listed_and_deleted(store):
    store.write_atomic("a.txt", b"one")
    store.write_atomic("checkpoints/b/2.bin", b"two")
    store.write_atomic("checkpoints/a/1.bin", b"")
    assert store.read_bytes("a.txt") == b"one"
    assert store.read_range("checkpoints/b/2.bin", 1, 5) == b"wo"
    assert store.list() == ["a.txt", "checkpoints/a/1.bin", "checkpoints/b/2.bin"]
    assert store.list("checkpoints") == store.list("checkpoints/") == ["checkpoints/a/1.bin", "checkpoints/b/2.bin"]
    assert store.entries() == ["a.txt", "checkpoints"]
    assert (store.size("a.txt"), store.size("checkpoints/a/1.bin")) == (3, 0)
    assert store.exists("a.txt")
    assert not store.exists("checkpoints")
    store.write_atomic("a.txt", b"three")
    assert store.read_bytes("a.txt") == b"three"
    store.delete("a.txt")
    store.delete_tree("checkpoints/b")
    assert store.list() == ["checkpoints/a/1.bin"]


def test_missing_things(store):
    assert store.list() == store.list("nowhere") == store.entries() == []
    assert not store.exists("x")
    store.delete("x")
    store.delete_tree("x")
    with pytest.raises(FileMissing, match=r"x: it is missing"):
        store.read_bytes("x")
    with pytest.raises(FileMissing, match="x is missing"):
        store.size("x")


def test_an_append_stream_grows(store):
    stream = store.append_stream("journal/a.jsonl")
    stream.write(b"1\n")
    stream.write(b"2\n")
    stream.flush()
    assert b"".join(store.read_bytes(name) for name in store.list("journal")) == b"1\n2\n"
    stream.write(b"3\n")
    stream.close()
    assert b"".join(store.read_bytes(name) for name in store.list("journal")) == b"1\n2\n3\n"


def test_what_is_appended_to_a_deleted_file_is_not_lost_without_a_word(tmp_path):
    store = Store.from_uri(tmp_path / "sweep")
    stream = store.append_stream("journal/a.jsonl")
    stream.write(b"1\n")
    shutil.rmtree(tmp_path / "sweep")
    with pytest.raises(FolderError, match=r"cannot write .*journal/a\.jsonl: it was moved or deleted meanwhile"):
        stream.write(b"2\n")
    stream.close()


def test_nor_is_what_is_appended_where_the_folder_was_moved_away(tmp_path):
    store = Store.from_uri(tmp_path / "sweep")
    stream = store.append_stream("journal/a.jsonl")
    stream.write(b"1\n")
    (tmp_path / "sweep").rename(tmp_path / "elsewhere")
    with pytest.raises(FolderError, match="it was moved or deleted meanwhile"):
        stream.write(b"2\n")
    assert (tmp_path / "elsewhere" / "journal" / "a.jsonl").read_bytes() == b"1\n"
    stream.close()


def test_a_file_is_created_once(store, monkeypatch):
    monkeypatch.setattr("grokray.records.store.SETTLE_S", 0)
    assert store.create("a/lock", b"mine")
    assert not store.create("a/lock", b"yours")
    assert store.read_bytes("a/lock") == b"mine"
    assert store.list() == ["a/lock"]


def test_a_file_is_replaced_if_it_is_still_the_same(store, monkeypatch):
    monkeypatch.setattr("grokray.records.store.SETTLE_S", 0)
    assert store.read_tagged("lock") is None
    store.write_atomic("lock", b"1")
    one, other = store.read_tagged("lock"), store.read_tagged("lock")
    assert one.data == b"1"
    assert store.replace("lock", b"2", one.tag)
    assert not store.replace("lock", b"3", other.tag)
    assert store.read_bytes("lock") == b"2"
    store.delete("lock")
    assert not store.replace("lock", b"4", other.tag)


def test_a_check_leaves_nothing(store):
    store.check()
    assert store.entries() == []


@pytest.mark.parametrize("name", ["/etc/passwd", "../x", "a/../../x"])
def test_names_stay_inside(store, name):
    with pytest.raises(ValueError, match="must be relative"):
        store.write_atomic(name, b"")


@pytest.mark.parametrize("prefix", ["", "/"])
def test_the_whole_folder_is_never_deleted(store, prefix):
    with pytest.raises(ValueError, match="prefix is empty"):
        store.delete_tree(prefix)


def test_paths_and_uris(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert Store.from_uri("sweep").uri == Store.from_uri("~/sweep").uri == str(tmp_path / "sweep")
    odd = tmp_path / "50 % #1?"
    assert Store.from_uri(odd).uri == str(odd)
    assert Store.from_uri(odd.as_uri()) == Store.from_uri(odd)
    assert Store.from_uri(Store.from_uri(odd).uri) == Store.from_uri(odd)
    assert Store.from_uri("sweep").local_path("a/b") == tmp_path / "sweep/a/b"
    assert not Store.from_uri("s3://bucket/x").is_local
    assert list(tmp_path.iterdir()) == []  # looking makes nothing


def test_a_store_pickles_as_its_uri(tmp_path):
    local = Store.from_uri(tmp_path)
    local.write_atomic("a", b"x")
    assert pickle.loads(pickle.dumps(local)).read_bytes("a") == b"x"
    remote = memory_store("s3://bucket/x?region=eu-west-1")
    copy = pickle.loads(pickle.dumps(remote))
    assert copy == remote
    assert copy._connections == {}


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("ftp://host/x", "is 'ftp', but must be one of file, s3, gs"),
        ("", "is empty"),
        ("  ", "is empty"),
        ("s3:/bucket/x", "s3:/bucket/x is no folder's name"),
        ("s3://", "names no bucket"),
        ("file://host/x", "names a host"),
    ],
)
def test_unusable_uris(uri, message):
    with pytest.raises(FolderError, match=message):
        Store.from_uri(uri)


def test_a_file_where_a_folder_is_needed(tmp_path):
    (tmp_path / "notes").write_text("mine")
    for place in ("notes", "notes/sweep"):
        with pytest.raises(FolderError, match="notes is a file, but must be a folder"):
            Store.from_uri(tmp_path / place)


def test_missing_permission_is_said_in_one_line(tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    store = Store.from_uri(tmp_path / "sweep")
    monkeypatch.setattr(Path, "mkdir", refuse)
    for write in (lambda: store.write_atomic("a/b", b""), lambda: store.append_stream("a/b")):
        with pytest.raises(FolderError, match=r"cannot write .*sweep/a/b: Permission denied$"):
            write()


@pytest.mark.parametrize("broken", ["fsync", "replace"])
def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch, broken):
    store = Store.from_uri(tmp_path)
    store.write_atomic("a", b"old")

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, broken, fail)
    with pytest.raises(FolderError, match="No space left"):
        store.write_atomic("a", b"new and longer")
    assert store.read_bytes("a") == b"old"
    assert os.listdir(tmp_path) == ["a"]


def test_what_is_written_in_place_of_a_file_takes_it_whole_or_not_at_all(tmp_path):
    path, link = tmp_path / "a.csv", tmp_path / "link"
    path.write_text("old")
    link.symlink_to(path)
    with pytest.raises(TypeError), in_place_of(link) as file:
        file.write_text(None)  # pyright: ignore[reportArgumentType]
    assert path.read_text() == "old"
    with in_place_of(link) as file:
        file.write_text("new")
        assert path.read_text() == "old"
    assert (path.read_text(), link.is_symlink(), len(os.listdir(tmp_path))) == ("new", True, 2)


def test_a_file_is_written_itself_where_none_can_stand_beside_it(tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    path = tmp_path / "a.csv"
    path.write_text("old")
    monkeypatch.setattr(Path, "touch", refuse)
    with in_place_of(path) as file:
        file.write_text("new")
    assert path.read_text() == "new"


CRASH_BEFORE_RENAME = """
import os, sys
from grokray.records.store import Store
from grokray.records.store_local import in_place_of
os.replace = lambda *_: os._exit(9)
Store.from_uri(sys.argv[1]).write_atomic("a", b"half")
"""


def test_a_temporary_file_left_by_a_crash_is_not_listed(tmp_path):
    crashed = subprocess.run([sys.executable, "-c", CRASH_BEFORE_RENAME, str(tmp_path)], check=False)
    assert crashed.returncode == 9
    assert len(os.listdir(tmp_path)) == 1
    store = Store.from_uri(tmp_path)
    assert store.list() == []
    assert not store.exists("a")
    store.write_atomic("b", b"whole")
    store.delete_unfinished("a")
    assert os.listdir(tmp_path) == ["b"]


def test_credentials_are_never_shown():
    uri = "s3://key:sec/ret@bucket/sweep?endpoint_override=host:9000"
    assert hide_secrets(uri) == "s3://bucket/sweep"
    with pytest.raises(FolderError) as caught:
        Store.from_uri("ftp://key:secret@host/x")
    assert "secret" not in str(caught.value)
    assert hide_secrets("s3://bucket/run@home") == "s3://bucket/run@home"


@pytest.mark.parametrize(
    "uri",
    [
        "s3://key:hunter2@bucket/x",
        "s3://key:hun/ter2@bucket/x",
        "s3://hunter2@bucket/x",
        "s3://bucket/x?secret_key=hunter2",
        "gs://bucket/x?access_token=hunter2",
        "abfs://container:hunter2@account.dfs.core.windows.net/x",
        "abfs://container@account.dfs.core.windows.net/x?client_secret=hunter2",
    ],
)
def test_a_uri_with_credentials_is_refused(uri):
    with pytest.raises(FolderError, match="holds credentials") as caught:
        Store.from_uri(uri)
    assert "hunter2" not in str(caught.value)
    assert "ter2" not in str(caught.value)
    assert "AWS_SECRET_ACCESS_KEY" in caught.value.hint


@pytest.mark.parametrize(
    "uri", ["s3://bucket/run@home", "abfs://container@account.dfs.core.windows.net/x", "gs://anonymous@bucket/x"]
)
def test_a_uri_without_credentials_is_not(uri):
    assert Store.from_uri(uri).uri == uri


@pytest.mark.parametrize(
    ("uri", "parts"),
    [
        ("s3://bucket/a/b?region=x", ("s3://bucket/a?region=x", "b")),
        ("s3://bucket/a/", ("s3://bucket", "a")),
        ("results/what?/b", ("results/what?", "b")),
        ("b", ("", "b")),
    ],
)
def test_a_uri_is_split_before_its_query(uri, parts):
    assert split_last(uri) == parts
    assert join(*parts) == uri.rstrip("/")
