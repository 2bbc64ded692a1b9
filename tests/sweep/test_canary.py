"""Secrets of the environment stay there: none is found in what a sweep leaves, tells, or shows of its processes.

The environment of one's own processes is no such place: only their user, and root, can read it.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.sweep.heads import BIN, clean_environment, command_lines, head, kill_all_of
from tests.sweep.sweeps import GRID, check_every_trial_ended_once, write

pytestmark = [pytest.mark.ray, pytest.mark.slow]

WAIT_S = 400.0
TOKEN = "c0ffee00c0ffee00c0ffee00c0ffee00"
SECRETS = {
    "AWS_ACCESS_KEY_ID": "CANARYKEYID0000000001",
    "AWS_SECRET_ACCESS_KEY": "CANARYsecretaccesskey0000000000000000002",
    "AWS_SESSION_TOKEN": "CANARYsessiontoken000003",
    "WANDB_API_KEY": "CANARYwandb" + "4" * 29,
}
SMALL = {
    "values: [1e-3, 3e-3, 1e-2, 3e-2]": "values: [1e-3, 1e-2]",
    "dropout: {values: [0, 0.2]}": "dropout: {value: 0}",
    "seeds: [0, 1]": "seeds: [0]",
    "num_steps: {value: 300}": "num_steps: {value: 600}",
}
TRACKED = "tracking: {wandb: minimal, mode: offline}\n"


@pytest.fixture
def short() -> Iterator[Path]:
    """A folder with a path short enough for sockets."""
    folder = Path(tempfile.mkdtemp(prefix="gr-"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def watched_command_lines() -> Iterator[set[str]]:
    """Every command line that any process has meanwhile."""
    seen: set[str] = set()
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(0.1):
            seen.update(command_lines().values())

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield seen
    finally:
        ended.set()
        watcher.join()


def leaks_in(folder: Path, secrets: list[str]) -> list[str]:
    """The files below the folder that hold a secret, in plain bytes."""
    found = []
    for path in folder.rglob("*"):
        with suppress(OSError):
            if path.is_file() and not path.is_symlink():
                content = path.read_bytes()
                found += [f"{path.relative_to(folder)}: {s[:10]}" for s in secrets if s.encode() in content]
    return found


def leaks_of(seen: set[str], secrets: list[str]) -> list[str]:
    return [command for command in seen for secret in secrets if secret in command]


def session_token(session: str) -> str | None:
    """The token that an embedded Ray made for itself, read off the environment of one of its processes."""
    for pid, command in command_lines().items():
        with suppress(OSError, StopIteration):
            if session in command and "raylet" in command:
                variables = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
                return next(v for v in variables if v.startswith(b"RAY_AUTH_TOKEN=")).partition(b"=")[2].decode()
    return None


@pytest.mark.parametrize("execution", ["fused", "process"])
def test_an_embedded_sweep_gives_no_secret_away(execution, short, tmp_path):
    file = write(tmp_path, GRID + TRACKED + f"execution: {execution}\n", **SMALL)
    environment = clean_environment(short) | SECRETS | {"RAY_AUTH_TOKEN": TOKEN, "RAY_TMPDIR": str(short)}
    words = [str(BIN / "grokray"), "sweep", str(file), "--out", str(tmp_path / "out"), "--num-trials", "4"]
    tokens: set[str] = set()
    with watched_command_lines() as seen, (tmp_path / "said.txt").open("wb") as said:
        process = subprocess.Popen(words, env=environment, cwd=tmp_path, stdout=said, stderr=said)
        try:
            deadline = time.monotonic() + WAIT_S
            while process.poll() is None and time.monotonic() < deadline:
                tokens |= {token for token in [session_token(str(short))] if token}
                time.sleep(0.2)
            assert process.wait(timeout=1) == 0, (tmp_path / "said.txt").read_text()
        finally:
            kill_all_of(str(short), process)
    check_every_trial_ended_once(tmp_path / "out", 4)
    assert len(tokens) == 1  # so it was looked for, below
    secrets = [*SECRETS.values(), TOKEN, *tokens]
    assert any("raylet" in command for command in seen)
    assert leaks_of(seen, secrets) == []
    assert any(path.name.startswith("gcs_server") for path in short.rglob("*"))
    assert leaks_in(short, secrets) == []  # Ray's session: logs, runtime_env, sockets' folder
    assert leaks_in(tmp_path, secrets) == []  # journal, Parquet, meta.json, W&B's file, and what was printed
    assert (tmp_path / "out/wandb").is_dir()


@pytest.mark.parametrize("execution", ["fused", "process"])
def test_a_submitted_sweep_gives_no_secret_away(execution, tmp_path):
    pytest.importorskip("aiohttp_cors", reason="the dashboard and the Jobs API need ray[default]")
    file = write(tmp_path, GRID + f"execution: {execution}\n", **SMALL)
    secrets = [*SECRETS.values(), TOKEN]
    with head(RAY_AUTH_TOKEN=TOKEN, **SECRETS) as up, watched_command_lines() as seen:
        words = ["submit", str(file), "--address", up.url, "--out", f"file://{tmp_path}/out"]
        done = subprocess.run(
            [str(BIN / "grokray"), *words],
            env=up.of_user(**SECRETS),
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=WAIT_S,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        listing = urllib.request.Request(f"{up.url}/api/jobs/", headers={"Authorization": f"Bearer {TOKEN}"})
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(listing, timeout=30) as answer:
            jobs = answer.read().decode()
        (job,) = [job for job in json.loads(jobs) if job["submission_id"]]
        assert "--address auto" in job["entrypoint"]
        assert {*job["runtime_env"]["env_vars"]} == {"COLUMNS", "RAY_JOB_STOP_WAIT_TIME_S"}
        assert any("grokray sweep" in command or "ray::" in command for command in seen)
        session = leaks_in(up.session, secrets)
    check_every_trial_ended_once(tmp_path / "out", 4)
    assert leaks_of(seen, secrets) == []
    assert [secret[:10] for secret in secrets if secret in jobs + done.stdout + done.stderr] == []
    assert session == []
    assert leaks_in(tmp_path, secrets) == []
