"""Who works on a sweep's folder just now, without getting in the way."""

from __future__ import annotations

import fcntl
import json
import os
import time

from grokray.records.folder import LOCK, SweepFolder
from grokray.records.lock import STALE_AFTER_S, Holder


def holder_of(folder: SweepFolder) -> Holder | None:
    """None if nobody does."""
    store = folder.store
    if not store.exists(LOCK):
        return None
    if store.is_local and not _is_locked(store.path(LOCK)):
        return None
    try:
        holder = Holder(**json.loads(store.read_bytes(LOCK)))
    except (ValueError, TypeError):  # being written at this moment
        return None
    fresh = store.is_local or time.time() - holder.refreshed < STALE_AFTER_S
    return holder if fresh else None


def _is_locked(path: str) -> bool:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # a mounted filesystem without locks: only the file tells
        return True
    finally:
        os.close(descriptor)
    return False
