"""Where a command's results go: beside the sweep, unless --out says otherwise; both may be in an object store."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from grokray.arguments import a_path
from grokray.errors import ConfigError, Problem


def output_place(folders: list[str], out: str | None, name: str) -> str:
    """DIR/name, a path or a URI, also where DIR holds the parts of a sweep; of several folders --out must say where."""
    from grokray.records.folder import SweepFolder
    from grokray.records.parts import parts_of
    from grokray.records.store import Store
    from grokray.records.uri import join

    if out is not None:
        return at_home(out)
    SweepFolder.open(parts_of(folders[0])[0])  # what is no sweep is said first
    if len(folders) > 1:
        raise ConfigError([Problem(message="there are several folders, so --out must say where results go")])
    return join(Store.from_uri(folders[0]).uri, name)


def at_home(out: str) -> str:
    """What --out names: in `--out=~/tables` a shell leaves the `~` as it is."""
    return a_path(out, "--out") if "://" in out else os.path.expanduser(a_path(out, "--out"))


def require_place(folder: str) -> None:
    """FolderError where nothing can be written in this folder, or where it is to be made: to be known before what takes
    long. Of another machine's it is known when it is written."""
    from grokray.records.store import Store

    if "://" not in folder:
        whole = Path(folder).absolute()
        Store.from_uri(next(place for place in (whole, *whole.parents) if os.path.lexists(place))).check()


def is_folder(out: str) -> bool:
    """Whether results go into `out`, rather than being named so."""
    return out.endswith("/") or Path(out).is_dir() or Path(out).name in ("", "..")


def remove(place: str, names: Collection[str]) -> None:
    """Files of a folder, on this machine or another; those that are not there are passed over.

    FolderError if the store refuses it.
    """
    from grokray.records.store import Store

    store = Store.from_uri(place)
    with store.impatient():
        for name in sorted({*names} & {*store.entries()}):
            store.delete(name)


@contextmanager
def writing(place: str) -> Iterator[Path]:
    """Where to write the file or folder that is to be at `place`; what is for another machine is sent there afterwards.

    FolderError if the store refuses it.
    """
    if "://" not in place:
        yield Path(place)
        return
    from grokray.records.store import Store
    from grokray.records.uri import split_last

    folder, name = split_last(place)
    store = Store.from_uri(folder)
    with tempfile.TemporaryDirectory(prefix="grokray-") as temporary:
        path = Path(temporary) / name
        yield path
        with store.impatient():
            for file in [path, *sorted(path.rglob("*"))]:
                if file.is_file():
                    store.write_atomic(file.relative_to(temporary).as_posix(), file.read_bytes())
