"""`python -m tests.engine.hanging PATIENCE` is a compiler that never ends by itself."""

from __future__ import annotations

import json
import sys
import time

from grokray.engine.builder import end_in_time


def hang() -> None:
    while True:
        time.sleep(1)


if __name__ == "__main__":
    end_in_time(json.loads(sys.argv[1])["patience"])
    print("hanging", flush=True)
    hang()
