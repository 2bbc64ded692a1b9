"""An S3 server on the lab's client, for as long as the lab is open.

Run in the lab: `python -m tests.cluster.lab.object_store FOLDER IP PORT BUCKET…`; it is ready once the file `ready` is
in the folder.
"""

from __future__ import annotations

import sys
from pathlib import Path

from tests.cluster.lab import rgw


def main(folder: str, ip: str, port: str, *buckets: str) -> None:
    gateway = rgw.start(Path(folder), ip, int(port))
    for bucket in buckets:
        gateway.make_bucket(bucket)
    (Path(folder) / "ready").touch()
    gateway.gateway.wait()


if __name__ == "__main__":
    main(*sys.argv[1:])
