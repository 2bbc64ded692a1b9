"""Who works on a sweep's folder just now, without getting in the way."""

from __future__ import annotations

import fcntl
import os

from grokray.records.folder import LOCK, SweepFolder
from grokray.records.holder import Holder
from grokray.records.lease import expired


def holder_of(folder: SweepFolder) -> Holder | None:
    """None if nobody does."""
    store = folder.store
    found = store.read_tagged(LOCK)
    if found is None or (store.is_local and not _is_locked(store.path(LOCK))):
        return None
    holder = Holder.decode(found.data)
    return holder if holder is not None and (store.is_local or not expired(holder, found)) else None


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
