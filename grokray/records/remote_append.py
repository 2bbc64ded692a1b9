"""A stream that only grows, on a store whose objects cannot: each batch is an object of its own, put once.

    journal/driver-….000001/000001.jsonl      the batches of the first block …
    journal/driver-….000001.jsonl             … and all of it once there are BLOCK of them, which are deleted then
    journal/driver-….000002/000001.jsonl

So no object ever changes, a reader need not read any twice, and a listing stays short: the block is its batches one
after the other, so who has read some of them goes on in the block where they end.
"""

from __future__ import annotations

import atexit
import logging
import re
import threading
from typing import NamedTuple

from grokray.errors import FolderError
from grokray.records.store import Store

PUT_INTERVAL_S = 5.0
GATHER_S = 0.2  # what is written in quick succession shares a batch, if nobody waits for it
BLOCK = 64

log = logging.getLogger(__name__)
_NAME = re.compile(r"(.+\.\d{6})(?:/(\d{6}))?\.jsonl")


class Batch(NamedTuple):
    """Number `number` of a block, from 1 on; the whole block if 0. `block` is the block's own name."""

    block: str
    number: int


def batch_of(name: str) -> Batch | None:
    """What a name says; None for one that is not of this kind."""
    found = _NAME.fullmatch(name)
    return Batch(f"{found[1]}.jsonl", int(found[2] or 0)) if found else None


class RemoteAppend:
    """What is written is put at the latest after five seconds, with `hurry` at once, and before `flush` returns."""

    def __init__(self, store: Store, name: str) -> None:
        self._store, self._stem = store, name.removesuffix(".jsonl")
        self._waiting = bytearray()
        self._batch = b""  # being put; if that fails it keeps its name and its content, as it may be there already
        self._block, self._put = 1, bytearray()
        self._batches = 0  # of this block, put
        self._full: list[tuple[int, bytes]] = []  # blocks to be made one object each
        self._refused: FolderError | None = None
        # Two locks, so that training need not wait for the network when it writes.
        self._lock, self._putting = threading.Lock(), threading.Lock()
        self._closing, self._hurry = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._put_from_time_to_time, name="journal", daemon=True)
        self._thread.start()
        atexit.register(self.close)

    def write(self, data: bytes) -> None:
        """FolderError if the store refused what was written before: who goes on would do so in vain."""
        with self._lock:
            self._waiting += data
        if self._refused is not None:
            raise self._refused

    def hurry(self) -> None:
        self._hurry.set()

    def flush(self) -> None:
        """Put what is not yet there. Raises FolderError if the store refuses; nothing is lost then."""
        with self._putting:
            while self._take_batch():
                self._store.write_atomic(f"{self._block_name(self._block)}/{self._batches + 1:06d}.jsonl", self._batch)
                self._count_batch()

    def close(self) -> None:
        """Put the rest, and make it one object."""
        atexit.unregister(self.close)
        if self._closing.is_set():
            return
        self._closing.set()
        self._hurry.set()
        self._thread.join()
        self.flush()
        if self._batches > 1:
            self._full.append((self._block, bytes(self._put)))
        self._merge()

    def _take_batch(self) -> bool:
        with self._lock:
            if not self._batch:
                self._batch, self._waiting = bytes(self._waiting), bytearray()
        return bool(self._batch)

    def _count_batch(self) -> None:
        self._put += self._batch
        self._batch = b""
        self._batches += 1
        if self._batches == BLOCK:
            self._full.append((self._block, bytes(self._put)))
            self._block, self._batches, self._put = self._block + 1, 0, bytearray()

    def _put_from_time_to_time(self) -> None:
        while not self._closing.is_set():
            if self._hurry.wait(PUT_INTERVAL_S):
                self._closing.wait(GATHER_S)
            self._hurry.clear()
            try:
                self.flush()
                self._refused = None
            except FolderError as error:  # the next round tries again; who writes, or closes, is told if it lasts
                if str(error) != str(self._refused):
                    log.warning("%s; trying again", error)
                self._refused = error
                self._closing.wait(PUT_INTERVAL_S)
            self._merge()

    def _merge(self) -> None:
        """Outside of the lock: nobody waits for it, and if it fails the batches are as good."""
        while self._full:
            number, data = self._full[0]
            try:
                self._store.write_atomic(f"{self._block_name(number)}.jsonl", data)
                self._store.delete_tree(self._block_name(number))
            except FolderError as error:
                log.warning("%s; trying again", error)
                return
            del self._full[0]

    def _block_name(self, number: int) -> str:
        return f"{self._stem}.{number:06d}"
