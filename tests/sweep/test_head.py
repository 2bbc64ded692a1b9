"""Against a real head with a token: who is let in, a sweep as a job, watched over a connection that breaks."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path

import pytest

from tests.sweep.heads import BIN, Head, head
from tests.sweep.sweeps import GRID, check_every_trial_ended_once, write

pytest.importorskip("aiohttp_cors", reason="the dashboard and the Jobs API need ray[default]")
pytestmark = [pytest.mark.ray, pytest.mark.slow]

WAIT_S = 300.0
SMALL = {
    "values: [1e-3, 3e-3, 1e-2, 3e-2]": "values: [1e-3, 1e-2]",
    "dropout: {values: [0, 0.2]}": "dropout: {value: 0}",
}


@pytest.fixture(scope="module")
def guarded():
    with head() as up:
        yield up


@pytest.fixture(scope="module")
def unguarded():
    with head(guarded=False, num_cpus=1) as up:
        yield up


def grokray(up: Head, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(BIN / "grokray"), *words],
        env=up.of_user(**environment),
        cwd=up.home,
        capture_output=True,
        text=True,
        timeout=WAIT_S,
    )


def space(folder: Path, steps: int = 300) -> Path:
    return write(folder, GRID, **SMALL, **{"num_steps: {value: 300}": f"num_steps: {{value: {steps}}}"})


def test_a_cluster_without_a_token_is_refused_unless_that_is_said(unguarded, tmp_path):
    words = ["sweep", str(space(tmp_path, 40)), "--address", unguarded.gcs, "--out", str(tmp_path / "out")]
    done = grokray(unguarded, *words)
    assert done.returncode == 2
    assert "runs jobs without a token: whoever reaches it can run code there" in done.stderr
    assert "RAY_AUTH_MODE=token" in done.stderr
    done = grokray(unguarded, "submit", *words[1:2], "--address", unguarded.url, "--out", f"file://{tmp_path}/out")
    assert done.returncode == 2
    assert f"the Jobs API at {unguarded.url} runs jobs without a token" in done.stderr
    assert grokray(unguarded, *words, "--insecure").returncode == 0


def test_doctor_calls_a_cluster_without_a_token_a_fault(unguarded):
    done = grokray(unguarded, "doctor", "--address", unguarded.gcs, "--json")
    assert done.returncode == 1
    faults = [finding for finding in json.loads(done.stdout)["findings"] if finding["level"] == "fault"]
    assert {finding["check"] for finding in faults} == {"token", "doors"}
    assert all(finding["cure"] for finding in faults)


@pytest.mark.parametrize("token", [None, "0" * 32])
def test_who_has_no_token_or_another_one_is_told_so(token, guarded, tmp_path):
    environment = {"HOME": str(tmp_path)} | ({"RAY_AUTH_TOKEN": token} if token else {})
    file = str(space(tmp_path))
    for words in (
        ["sweep", file, "--address", guarded.gcs, "--out", str(tmp_path / "out")],
        ["submit", file, "--address", guarded.url, "--out", f"file://{tmp_path}/out"],
    ):
        done = grokray(guarded, *words, **environment)
        assert done.returncode == 2
        assert ("refuses our token" if token and words[0] == "submit" else "wants a token") in done.stderr
        assert "~/.ray/auth_token" in done.stderr


def test_a_sweep_on_a_cluster_that_asks_for_a_token(guarded, tmp_path):
    words = ["sweep", str(space(tmp_path)), "--address", guarded.gcs, "--out", str(tmp_path / "out")]
    done = grokray(guarded, *words)
    assert done.returncode == 0, done.stderr
    check_every_trial_ended_once(tmp_path / "out", 8)


def test_doctor_has_nothing_to_say_against_it(guarded, tmp_path):
    done = grokray(guarded, "doctor", "--address", guarded.gcs, "--out", str(tmp_path / "x"), "--json")
    told = json.loads(done.stdout)
    assert (done.returncode, told["faults"]) == (0, 0), done.stdout
    assert {"versions", "secrets", "gpu", "token", "doors", "clock", "storage", "nodes"} <= {
        finding["check"] for finding in told["findings"]
    }


def test_a_submitted_sweep_runs_to_its_end_and_its_errors_come_back(guarded, tmp_path):
    words = ["submit", str(space(tmp_path)), "--address", guarded.url, "--out", f"file://{tmp_path}/out"]
    done = grokray(guarded, *words)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "8 of 8 trials ended" in done.stdout
    assert "job_manager.py" not in done.stdout
    assert done.stderr == ""
    check_every_trial_ended_once(tmp_path / "out", 8)
    # Another search space in that folder is found out by the sweep itself, on the head.
    done = grokray(guarded, *words, "--set", "trial.sustain=7")
    assert done.returncode == 2
    assert "holds a sweep of another search space" in done.stdout


class Proxy:
    """Between us and the head: `cut` breaks what is open, and while it is `shut` nothing gets through."""

    def __init__(self, url: str) -> None:
        self._target = int(url.rpartition(":")[2])
        self._server = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._server.getsockname()[1]}"
        self.shut = False
        self._open: list[socket.socket] = []
        threading.Thread(target=self._serve, daemon=True).start()

    def cut(self) -> None:
        opened, self._open = self._open, []
        for each in opened:
            each.close()

    def close(self) -> None:
        self._server.close()
        self.cut()

    def _serve(self) -> None:
        while True:
            try:
                here, _ = self._server.accept()
                if self.shut:
                    here.close()
                    continue
                there = socket.create_connection(("127.0.0.1", self._target))
            except OSError:
                return
            self._open += [here, there]
            for source, target in ((here, there), (there, here)):
                threading.Thread(target=_pump, args=(source, target), daemon=True).start()


def _pump(source: socket.socket, target: socket.socket) -> None:
    try:
        while data := source.recv(65_536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        for each in (source, target):
            each.close()


class Watching:
    """`grokray submit` in a process of its own, line by line."""

    def __init__(self, up: Head, *words: str) -> None:
        self.lines: list[str] = []
        self.process = subprocess.Popen(
            [str(BIN / "grokray"), "submit", *words],
            env=up.of_user(PYTHONUNBUFFERED="1"),
            cwd=up.home,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            # Of a process in the background a shell makes SIGINT ignored.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def until(self, text: str, number: int = 1) -> None:
        deadline = time.monotonic() + WAIT_S
        while sum(text in line for line in self.lines) < number:
            assert time.monotonic() < deadline, self.lines
            assert self.process.poll() is None or not self._reader.is_alive(), self.lines
            time.sleep(0.1)

    def wait(self) -> int:
        code = self.process.wait(timeout=WAIT_S)
        self._reader.join()
        assert self.process.stdout is not None
        self.process.stdout.close()
        return code

    def _read(self) -> None:
        assert self.process.stdout is not None
        self.lines.extend(line.rstrip("\n") for line in iter(self.process.stdout.readline, ""))


def test_a_connection_that_breaks_a_watcher_that_leaves_and_a_job_that_is_stopped(guarded, tmp_path):
    """One long sweep, since each start takes a while."""
    proxy = Proxy(guarded.url)
    file, out = str(space(tmp_path, 200_000)), f"file://{tmp_path}/out"
    first = Watching(guarded, file, "--address", proxy.url, "--out", out)
    first.until("running ·")
    proxy.shut = True
    proxy.cut()
    first.until("trying again")
    before = len(first.lines)
    proxy.shut = False
    first.until("running ·", number=3)
    assert len(first.lines) > before
    printed = [line for line in first.lines if "running ·" in line]
    assert len(printed) == len(set(printed))  # each has its own time

    first.process.send_signal(signal.SIGINT)
    assert first.wait() == 130
    job_id = first.lines[0].split()[1]
    assert f"no longer watching; job {job_id} goes on" in first.lines

    second = Watching(guarded, file, "--address", guarded.url, "--out", out)
    second.until(f"job {job_id} runs already")
    assert grokray(guarded, "submit", file, "--address", guarded.url, "--out", out, "--no-wait").returncode == 0
    other = grokray(guarded, "submit", file, "--address", guarded.url, "--out", out, "--set", "trial.sustain=7")
    assert other.returncode == 2
    assert f"job {job_id} runs a sweep of another search space" in other.stderr

    (stop,) = [line.removeprefix("stop it: ") for line in first.lines if line.startswith("stop it: ")]
    subprocess.run(stop.replace(proxy.url, guarded.url), shell=True, env=guarded.of_user(), check=True, timeout=WAIT_S)
    assert second.wait() == 130
    assert f"job {job_id} was stopped" in second.lines
    proxy.close()

    # What was stopped was checkpointed: it goes on, here as one that is left at once.
    done = grokray(guarded, "status", str(tmp_path / "out"))
    assert "interrupted, last activity" in done.stdout
