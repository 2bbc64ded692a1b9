"""What is written beside the training. An engine of a GPU comes to the checkpoints of hundreds of trials at the same
step, and an object store takes its time for each: training need not wait for either."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait

Job = Callable[[], None]
MOST_BYTES = 1 << 30
WRITERS = 4  # threads, where nobody shall wait for what is written or deleted


class Background:
    """`threads` do the jobs that are handed in; none of them: each is done at once. A trial's jobs are done in their
    order. What a job raises comes out of a later call.

    The jobs that are not done yet hold no more than `most_bytes`, or one job whatever it holds: whoever is faster than
    the disk waits for it.
    """

    def __init__(self, threads: int, *, most_bytes: int = MOST_BYTES) -> None:
        self.most_bytes = most_bytes
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="writer") if threads else None
        self._jobs: dict[str, Future[None]] = {}  # by trial, the last one
        self._held: dict[Future[None], int] = {}  # bytes

    def do(self, trial_id: str, job: Job, size: int = 0) -> Future[None] | None:
        """`size` is what the job holds in memory, in bytes. None if it is done when this returns."""
        if self._pool is None:
            job()
            return None
        while self._held and sum(self._held.values()) + size > self.most_bytes:
            wait(self._held, return_when=FIRST_COMPLETED)
            self.look()
        self._jobs[trial_id] = future = self._pool.submit(_after, self._jobs.get(trial_id), job)
        self._held[future] = size
        return future

    def look(self) -> None:
        """Raise what has failed so far, and forget what is done."""
        self.finish([trial_id for trial_id, job in self._jobs.items() if job.done()])
        self._held = {job: size for job, size in self._held.items() if not job.done()}

    def finish(self, trials: Iterable[str] | None = None) -> None:
        """Wait for the trials' jobs, by default for all."""
        for trial_id in list(self._jobs if trials is None else trials):
            job = self._jobs.pop(trial_id, None)
            if job is not None:
                job.result()

    def close(self) -> None:
        if self._pool is not None:
            self._pool.shutdown()
        self.finish()


def _after(earlier: Future[None] | None, job: Job) -> None:
    if earlier is not None:
        earlier.result()  # which has begun: jobs are begun in their order
    job()
