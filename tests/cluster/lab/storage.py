"""What really lies in a sweep's folder on the object store, read without grokray.

Run in the lab: `python -m tests.cluster.lab.storage URI events` prints the journal's lines; `… URI copy FOLDER` copies all
but the checkpoints.
"""

from __future__ import annotations

import sys
from pathlib import Path

from pyarrow.fs import FileSelector, FileSystem, FileType


def files(uri: str, below: str = "") -> dict[str, bytes]:
    """Name to content of all files in the folder `below` and deeper, checkpoints left out."""
    filesystem, base = FileSystem.from_uri(uri)
    selector = FileSelector(f"{base}/{below}".rstrip("/"), recursive=True, allow_not_found=True)
    names = [info.path for info in filesystem.get_file_info(selector) if info.type == FileType.File]
    kept = sorted(name for name in names if "/checkpoints/" not in name)
    return {name.removeprefix(f"{base}/"): filesystem.open_input_stream(name).readall() for name in kept}


def main(uri: str, what: str, folder: str = "") -> None:
    if what == "events":
        for content in files(uri, "journal").values():
            sys.stdout.buffer.write(content)
        return
    for name, content in files(uri).items():
        target = Path(folder) / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)


if __name__ == "__main__":
    main(*sys.argv[1:])
