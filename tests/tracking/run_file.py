"""Reads what W&B's client keeps of an offline run: `:W&B`, then LevelDB's framing of protobuf records."""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

BLOCK_BYTES, HEADER_BYTES = 32_768, 7
FULL, FIRST, MIDDLE, LAST = 1, 2, 3, 4


@dataclass
class RunFile:
    """`history`: one mapping per step, `_step` among its keys. `files`: what was attached."""

    id: str = ""
    name: str = ""
    group: str = ""
    project: str = ""
    exit_code: int | None = None
    config: dict[str, Any] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)
    summary: dict[str, Any] = field(default_factory=dict)
    artifacts: list[str] = field(default_factory=list)

    @property
    def steps(self) -> list[int]:
        return [row["_step"] for row in self.history]


def run_files(folder: Path) -> list[RunFile]:
    """Those of a sweep's folder, by the time of their making, then by id."""
    return [read(path) for path in sorted(folder.glob("wandb/offline-run-*/run-*.wandb"))]


def read(path: Path) -> RunFile:
    from wandb.proto.wandb_internal_pb2 import Record

    run = RunFile()
    for data in frames(path.read_bytes()):
        record = Record()
        record.ParseFromString(data)
        kind = record.WhichOneof("record_type")
        if kind == "run":
            run.id, run.project = record.run.run_id, record.run.project
            run.name, run.group = record.run.display_name, record.run.run_group
            run.config |= values(record.run.config.update)
        elif kind == "config":
            run.config |= values(record.config.update)
        elif kind == "history":
            run.history.append(values(record.history.item) | {"_step": record.history.step.num})
        elif kind == "summary":
            run.summary |= values(record.summary.update)
        elif kind == "artifact":
            run.artifacts.append(f"{record.artifact.type}: {record.artifact.name}")
        elif kind == "exit":
            run.exit_code = record.exit.exit_code
    return run


def values(items: Any) -> dict[str, Any]:
    return {item.key or ".".join(item.nested_key): json.loads(item.value_json) for item in items}


def frames(data: bytes) -> Iterator[bytes]:
    assert data[:4] == b":W&B"
    offset, parts = HEADER_BYTES, b""
    while offset < len(data):
        left = BLOCK_BYTES - offset % BLOCK_BYTES
        if left < HEADER_BYTES:
            offset += left
            continue
        checksum, length, kind = struct.unpack_from("<IHB", data, offset)
        payload = data[offset + HEADER_BYTES : offset + HEADER_BYTES + length]
        assert zlib.crc32(payload, zlib.crc32(bytes([kind]))) == checksum
        parts = payload if kind in (FULL, FIRST) else parts + payload
        if kind in (FULL, LAST):
            yield parts
        offset += HEADER_BYTES + length
