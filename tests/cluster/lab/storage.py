"""What really lies in a sweep's folder on the object store, read without grokray.

Run in the lab: `python -m tests.cluster.lab.storage URI events` prints the journal's events, each with the `host` that
wrote it, `… URI names` the names of its files, and `… URI copy FOLDER` copies them; all but the checkpoints.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

from pyarrow.fs import FileSelector, FileSystem, FileType


def files(uri: str, below: str = "") -> dict[str, bytes]:
    """Name to content of all files in the folder `below` and deeper, checkpoints left out."""
    filesystem, base = FileSystem.from_uri(uri)
    selector = FileSelector(f"{base}/{below}".rstrip("/"), recursive=True, allow_not_found=True)
    names = [info.path for info in filesystem.get_file_info(selector) if info.type == FileType.File]
    kept = sorted(name for name in names if "/checkpoints/" not in name)
    return {name.removeprefix(f"{base}/"): filesystem.open_input_stream(name).readall() for name in kept}


def events(parts: dict[str, bytes]) -> list[dict[str, Any]]:
    """Of a journal, by time, given the content of its files: batches in folders, some of which a file beside the folder
    holds too. A line that is cut short is none."""
    told = []
    for name, content in parts.items():
        if f"{name.rpartition('/')[0]}.jsonl" in parts:
            continue
        host = re.search(r"T\d+\.\d+-(\w+)-\d+-", name)
        lines = [line for line in content.splitlines() if line.startswith(b"{") and line.endswith(b"}")]
        told += [json.loads(line) | {"host": host[1] if host else None} for line in lines]
    return sorted(told, key=lambda event: event["t"])


def main(uri: str, what: str, folder: str = "") -> None:
    if what == "events":
        print(*map(json.dumps, events(files(uri, "journal"))), sep="\n", end="")
        return
    if what == "names":
        print(*files(uri), sep="\n", end="")
        return
    for name, content in files(uri).items():
        target = Path(folder) / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)


if __name__ == "__main__":
    main(*sys.argv[1:])
