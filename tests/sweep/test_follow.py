"""Watching a sweep on a cluster whose connection comes and goes. The Jobs API is a stand-in here."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace

import pytest

from grokray.errors import ClusterError, ExecutionError
from grokray.sweep import follow
from grokray.sweep.follow import Sweep, Watcher
from grokray.sweep.jobs import ConnectionLost, Job, JobGone
from grokray.sweep.load import load_sweep
from grokray.sweep.parcel import Parcel
from tests.sweep.sweeps import write

END = "interrupted\ngo on with: grokray sweep tiny.yaml --address auto --out s3://bucket/x\n"
OWN = (
    "2026-01-01 10:00:00,000\tINFO job_manager.py:581 -- Runtime env is setting up.\n"
    "Running entrypoint for job tiny-1: grokray sweep tiny.yaml\n"
)


@dataclass
class Cluster:
    """Plays a script: each connection shows the log up to a character, and then breaks, or the job ends."""

    log: str = OWN + "first\nsecond\nthird\n"
    breaks: list[int | None] = field(default_factory=list)  # one for each connection; None: the stream just ends
    exit_code: int | None = 0
    known: Job | None = None
    forgets: int = 0  # so often the job is not known any more
    stopped: bool = False
    busy: int = 0  # so many jobs end as the folder is in use
    submitted: int = 0
    opened: int = 0
    lasts: int = 1000  # connections

    def running(self, parcel):
        return self.known

    def submit(self, parcel, *, columns):
        self.submitted += 1
        return Job(id=f"tiny-{self.submitted}", ended=False)

    def job(self, job_id):
        if self.forgets and self.opened > 1:
            self.forgets -= 1
            raise JobGone("the cluster does not know that job")
        code = self.exit_code
        if self.busy and not self.breaks:
            self.busy, code = self.busy - 1, 3
        return Job(id=job_id, ended=not self.breaks, stopped=self.stopped, exit_code=code, message="it died\nthere")

    def log_of(self, job_id):
        return self.log

    async def tail(self, job_id):
        until = self.breaks.pop(0)
        shown = self.log[:until]
        for start in range(0, len(shown), 7):
            yield shown[start : start + 7]
            await asyncio.sleep(0)
        if until is not None:
            raise ConnectionLost("the connection broke")

    @contextmanager
    def open(self):
        self.opened += 1
        if self.opened > self.lasts:
            raise ExecutionError("no way to the head")
        yield "http://127.0.0.1:1"


@pytest.fixture(autouse=True)
def clock(monkeypatch):
    """Nobody sleeps."""
    monkeypatch.setattr(follow, "time", SimpleNamespace(monotonic=lambda: 0.0, sleep=lambda seconds: None))


@pytest.fixture
def watch(monkeypatch, tmp_path):
    """Runs against a cluster; what was printed, what was said, and the exit code or error."""

    def run(cluster: Cluster):
        class Jobs:
            def __init__(self, url, *, insecure=False):
                self.running, self.submit, self.job = cluster.running, cluster.submit, cluster.job
                self.log, self.tail = cluster.log_of, cluster.tail

        monkeypatch.setattr(follow, "Jobs", Jobs)
        text, said, jobs = [], [], []
        watcher = Watcher(message=said.append, text=text.append, job=lambda *job: jobs.append(job))
        parcel = Parcel(config=load_sweep(write(tmp_path)), out="s3://bucket/x")
        sweep = Sweep(parcel, cluster, watcher)  # type: ignore[arg-type]
        try:
            code = sweep.run()
        except Exception as error:
            code = error
        return "".join(text), said, jobs, code

    return run


def test_lines_of_the_driver_are_printed_and_ray_s_are_not(watch):
    text, said, jobs, code = watch(Cluster(breaks=[None]))
    assert (text, said, jobs, code) == ("first\nsecond\nthird\n", [], [("tiny-1", False)], 0)


def test_how_to_go_on_is_said_by_us_alone(watch):
    assert watch(Cluster(log=OWN + END, breaks=[None], exit_code=130))[0] == "interrupted\n"


@pytest.mark.parametrize("at", [0, len(OWN) + 3, len(OWN) + 6, len(OWN) + 14])
def test_a_broken_connection_repeats_and_loses_nothing(at, watch):
    cluster = Cluster(breaks=[at, at, None])
    text, said, jobs, code = watch(cluster)
    assert text == "first\nsecond\nthird\n"
    assert len(said) == 2
    assert "trying again" in said[0]
    assert (code, cluster.opened, cluster.submitted, len(jobs)) == (0, 3, 1, 1)


def test_what_came_after_the_stream_had_broken_for_good_is_printed_too(watch):
    cluster = Cluster(breaks=[len(OWN) + 6])
    assert watch(cluster)[0] == "first\nsecond\nthird\n"


def test_a_job_that_runs_already_is_watched_from_its_last_lines_on(watch):
    log = "".join(f"line {number}\n" for number in range(100))
    cluster = Cluster(log=log, known=Job(id="tiny-7", ended=False), breaks=[None])
    text, _, jobs, code = watch(cluster)
    assert text.splitlines() == [f"line {number}" for number in range(80, 100)]
    assert (jobs, cluster.submitted, code) == ([("tiny-7", True)], 0, 0)


@pytest.mark.parametrize("code", [0, 1, 2, 3, 70, 130])
def test_the_exit_code_is_the_sweep_s(code, watch):
    assert watch(Cluster(breaks=[None], exit_code=code))[3] == code


def test_a_stopped_job_is_an_interrupted_sweep(watch):
    _, said, _, code = watch(Cluster(breaks=[None], exit_code=None, stopped=True))
    assert (said, code) == (["job tiny-1 was stopped"], 130)


def test_a_driver_that_died_is_an_error_with_ray_s_reason(watch):
    *_, error = watch(Cluster(breaks=[None], exit_code=None))
    assert isinstance(error, ExecutionError)
    assert str(error) == "job tiny-1 failed: it died"


def test_a_new_head_gets_the_sweep_again(watch):
    cluster = Cluster(breaks=[len(OWN) + 6, None], forgets=1)
    text, said, jobs, code = watch(cluster)
    assert cluster.submitted == 2
    assert [job_id for job_id, _ in jobs] == ["tiny-1", "tiny-2"]
    assert "its head is new: submitting again" in said[-1]
    assert code == 0


def test_the_lock_of_a_lost_head_is_waited_for(watch):
    cluster = Cluster(breaks=[len(OWN) + 6, None], forgets=1, busy=2)
    _, said, _, code = watch(cluster)
    assert code == 0
    assert sum("lock of the lost head" in line for line in said) == 2


def test_a_folder_that_is_in_use_is_not_waited_for(watch):
    cluster = Cluster(breaks=[None], busy=1)
    assert watch(cluster)[3] == 3
    assert cluster.submitted == 1


def test_a_cluster_that_is_not_there_is_not_waited_for(watch, monkeypatch):
    cluster = Cluster()

    def refuse():
        raise ExecutionError("no way to the head")

    monkeypatch.setattr(cluster, "open", refuse)
    assert str(watch(cluster)[3]) == "no way to the head"


def test_a_connection_that_does_not_come_back_is_given_up(watch, monkeypatch):
    now = iter(range(0, 100_000, 100))
    monkeypatch.setattr(follow, "time", SimpleNamespace(monotonic=lambda: float(next(now)), sleep=print))
    cluster = Cluster(breaks=[5], lasts=1)
    _, said, _, error = watch(cluster)
    assert str(error) == "no way to the head"
    assert 3 < cluster.opened < 20
    assert len(said) == 1  # not once for each try


def test_a_head_that_is_not_ready_is_waited_for_and_that_is_said_once(watch, monkeypatch):
    cluster, plain = Cluster(breaks=[None]), Cluster.submit

    def submit(parcel, *, columns):
        if cluster.opened < 4:
            raise ConnectionLost("the cluster's Jobs API is in trouble: no agent")
        return plain(cluster, parcel, columns=columns)

    monkeypatch.setattr(cluster, "submit", submit)
    _, said, _, code = watch(cluster)
    assert (said, code, cluster.submitted) == (["the cluster's Jobs API is in trouble: no agent; trying again"], 0, 1)


def test_another_search_space_in_the_folder_is_refused(watch, monkeypatch):
    cluster = Cluster()

    def refuse(parcel):
        raise ClusterError("job x runs a sweep of another search space")

    monkeypatch.setattr(cluster, "running", refuse)
    assert watch(cluster)[3].exit_code == 2
