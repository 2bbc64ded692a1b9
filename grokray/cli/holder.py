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
    if found is None:
        return None
    holder, locked = Holder.decode(found.data), _is_locked(store.path(LOCK)) if store.is_local else None
    held = locked if locked is not None else holder is not None and not expired(holder, found)
    return holder if held else None


def _is_locked(path: str) -> bool | None:
    """None on a filesystem that cannot lock, where a lease stands in the file."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return None
    finally:
        os.close(descriptor)
    return False
