"""A sweep on a cluster, watched from here: submitted or found again, its lines printed, its end awaited.

The connection may be lost at any moment, and with it nothing: the door is opened anew, and printing goes on behind the
last character that was printed. A head that was replaced knows no job any more; the sweep is submitted to it again, and
goes on from its folder.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from grokray.errors import INTERRUPTED, ExecutionError, FolderBusy
from grokray.sweep.doors import Door
from grokray.sweep.jobs import Job, JobGone, Jobs
from grokray.sweep.parcel import Parcel
from grokray.wording import first_line

SILENCE_S = 45.0  # a sweep says something every 10 s: after such a silence the stream is opened anew
PAUSE_S = 0.5
GIVE_UP_S, START_S = 900.0, 120.0
RETRY_S = (1.0, 2.0, 5.0, 10.0)
LINES_BEFORE = 20  # of a job that has run for a while
# Ray's own lines, and the sweep's advice to go on with a command that is of use on the head alone.
NOT_FOR_US = re.compile(
    r"^(?:[-\d]+ [\d:,]+\s+INFO job_manager\.py.*|Running entrypoint for job .*|go on with: grokray sweep .*)\n",
    re.MULTILINE,
)
LOCK_WAIT_S, LOCK_RETRIES = 30.0, 5


@dataclass(frozen=True, kw_only=True)
class Watcher:
    """What the caller hears: `message` a line of ours, `text` what the driver prints, `job` the job's name, as soon as
    there is one and whether it ran before."""

    message: Callable[[str], None] = lambda text: None
    text: Callable[[str], None] = lambda text: None
    job: Callable[[str, bool], None] = lambda job_id, attached: None


@dataclass
class Sweep:
    """A sweep that is to run behind a door. `columns` is how wide the driver's tables may be."""

    parcel: Parcel
    door: Door
    watcher: Watcher = field(default_factory=Watcher)
    columns: int = 80
    job_id: str | None = None
    printed: int = 0  # characters of the job's log
    last_heard: float = field(default_factory=lambda: time.monotonic())
    _begun: str = ""  # of a line
    _accepted: bool = False  # a job, ever
    _failures: int = 0  # in a row
    _replaced: bool = False  # the head, since we began
    _patience: int = LOCK_RETRIES

    def submit(self) -> str:
        """The job that runs the sweep: one that runs already, or a new one."""
        with self._jobs() as jobs:
            return self._find_or_submit(jobs)

    def run(self) -> int:
        """Submit, and print until it ends; the exit code of the sweep.

        Raises ClusterError or ExecutionError where there is no way to the cluster, ConnectionLost where it was lost
        and did not come back within a quarter of an hour.
        """
        code = self._exit_code(self._follow())
        # The lock that a lost head leaves in the folder is good for two minutes yet.
        while code == FolderBusy.exit_code and self._replaced and self._patience:
            self._patience -= 1
            self.watcher.message(f"the lock of the lost head is still there: trying again in {LOCK_WAIT_S:.0f} s")
            time.sleep(LOCK_WAIT_S)
            self._forget()
            code = self._exit_code(self._follow())
        return code

    def _follow(self) -> Job:
        """The job, ended."""
        reached = False
        while True:
            try:
                with self._jobs() as jobs:
                    reached = True
                    self._find_or_submit(jobs)
                    return self._watch(jobs)
            except JobGone:
                self.watcher.message(f"the cluster has forgotten job {self.job_id}, its head is new: submitting again")
                self._replaced = True
                self._forget()
            except ExecutionError as error:
                # Of a job that was never accepted nothing can be lost.
                patience = GIVE_UP_S if self._accepted else START_S
                if not reached or time.monotonic() - self.last_heard > patience:
                    raise
                self._wait(error)

    def _wait(self, error: ExecutionError) -> None:
        """A little longer each time; said once, until something is heard again."""
        if not self._failures:
            goes_on = "the job goes on, " if self.job_id else ""
            self.watcher.message(f"{error}; {goes_on}trying again")
        time.sleep(RETRY_S[min(self._failures, len(RETRY_S) - 1)])
        self._failures += 1

    def _heard(self) -> None:
        self.last_heard, self._failures = time.monotonic(), 0

    def _forget(self) -> None:
        self.job_id, self.printed, self._begun = None, 0, ""

    @contextmanager
    def _jobs(self) -> Iterator[Jobs]:
        with self.door.open() as url:
            yield Jobs(url, insecure=self.parcel.insecure)

    def _find_or_submit(self, jobs: Jobs) -> str:
        if self.job_id is not None:
            return self.job_id
        job = jobs.running(self.parcel)
        attached = job is not None
        if job is None:
            job = jobs.submit(self.parcel, columns=self.columns)
        else:
            self._skip_old_lines(jobs.log(job.id))
        self.job_id, self._accepted = job.id, True
        self._heard()
        self.watcher.job(job.id, attached)
        return job.id

    def _skip_old_lines(self, log: str) -> None:
        lines = log.splitlines(keepends=True)
        self.printed = sum(map(len, lines[:-LINES_BEFORE]))

    def _watch(self, jobs: Jobs) -> Job:
        """Until the job has ended, and all its lines are printed."""
        assert self.job_id is not None
        while not (job := jobs.job(self.job_id)).ended:
            self._heard()
            asyncio.run(self._stream(jobs, self.job_id))
            time.sleep(PAUSE_S)  # the job's state comes a little after its last line
        self._print(jobs.log(self.job_id)[self.printed :], last=True)
        return job

    async def _stream(self, jobs: Jobs, job_id: str) -> None:
        """Print what comes, until the stream ends or is silent for so long that it may be dead."""
        position, stream = 0, jobs.tail(job_id)
        try:
            while True:
                text = await asyncio.wait_for(anext(stream), SILENCE_S)
                self._heard()
                position += len(text)
                if position > self.printed:
                    self._print(text[max(self.printed - position, -len(text)) :])
        except (StopAsyncIteration, TimeoutError):
            return
        finally:
            await stream.aclose()  # pyright: ignore[reportAttributeAccessIssue] - it is a generator

    def _print(self, text: str, *, last: bool = False) -> None:
        """Whole lines, and the last one even if it is not; NOT_FOR_US is left out."""
        self.printed += len(text)
        lines, newline, self._begun = (self._begun + text).rpartition("\n")
        if own := NOT_FOR_US.sub("", lines + newline):
            self.watcher.text(own)
        if last and self._begun:
            self.watcher.text(self._begun + "\n")

    def _exit_code(self, job: Job) -> int:
        if job.stopped:
            self.watcher.message(f"job {job.id} was stopped")
            return INTERRUPTED
        if job.exit_code is None or job.exit_code < 0:
            text = f"job {job.id} failed: {first_line(job.message, 'its driver is gone')}"
            raise ExecutionError(text, hint="run the same command again")
        return job.exit_code
