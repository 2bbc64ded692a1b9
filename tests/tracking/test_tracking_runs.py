"""Tracking in whole runs: a sweep on a real Ray, and `grokray train`."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

import grokray
from grokray.cli.main import main
from grokray.records.folder import SweepFolder
from grokray.sweep.ledger import Ledger
from grokray.sweep.load import load_sweep
from grokray.sweep.runner import run_sweep
from grokray.sweep.tracked import TrialFold
from grokray.tracking.base import Settings
from grokray.tracking.make import make_trackers
from tests.cli.test_cli_train import TINY
from tests.sweep.sweeps import write
from tests.tracking.journals import CONFIG, SESSION, end, measurement, show, trial
from tests.tracking.run_file import run_files
from tests.tracking.stub import Stub
from tests.tracking.test_tracking_tensorboard import scalars

FEW = {"[1e-3, 3e-3, 1e-2, 3e-2]": "[3e-3]", "[0.1, 1]": "[1]", "{value: 300}": "{value: 120}"}  # 4 trials
CANARY = "ca9a12b0" * 5


@pytest.fixture
def ray_folder() -> Iterator[Path]:
    """Where Ray keeps its session; sockets need a short path."""
    folder = Path(tempfile.mkdtemp(prefix="grokray-", dir="/tmp"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


class CommandLines:
    """Those of all processes, looked at ten times a second."""

    def __init__(self) -> None:
        self.seen: set[bytes] = set()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._look)

    def _look(self) -> None:
        while not self._done.wait(0.1):
            for path in Path("/proc").glob("[0-9]*/cmdline"):
                with suppress(OSError):
                    self.seen.add(path.read_bytes())

    def __enter__(self) -> CommandLines:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()


@pytest.mark.ray
def test_a_sweep_sends_every_trial_and_writes_the_key_nowhere(tmp_path, wandb_at_home, ray_folder):
    space = write(tmp_path, **FEW)
    out = tmp_path / "out"
    command = [sys.executable, "-m", "grokray", "sweep", str(space), "--out", str(out)]
    command += ["--set", "tracking={wandb: maximal, tensorboard: true}"]
    with Stub() as stub, CommandLines() as lines:
        environment = {**os.environ, "WANDB_API_KEY": CANARY, "WANDB_BASE_URL": stub.url, "RAY_TMPDIR": str(ray_folder)}
        for name in ("WANDB_CACHE_DIR", "WANDB_CONFIG_DIR", "WANDB_DATA_DIR"):
            environment.pop(name)
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "warning" not in done.stdout + done.stderr
    assert f"W&B: {stub.url}/me/grokray" in done.stdout

    assert len(stub.runs) == 4
    for run in stub.runs.values():
        assert run.steps == [20, 40, 60, 80, 100, 120]
        assert (run.group, run.summary["outcome"], run.exit_code) == ("tiny", "budget", 0)
    assert len(list(out.glob("tensorboard/*/*tfevents*"))) == 4

    in_header = base64.b64encode(f"api:{CANARY}".encode())
    assert stub.authorizations == {f"Basic {in_header.decode()}"}  # the key was there, and was used
    assert any(b"wandb-core" in line for line in lines.seen)
    assert any(b"raylet" in line for line in lines.seen)
    assert list(ray_folder.rglob("raylet*.out"))
    assert list(wandb_at_home.rglob("*.log")) + list(out.glob("wandb/**/debug-internal.log"))
    places = {"stdout": done.stdout.encode(), "stderr": done.stderr.encode(), "a command line": b"\n".join(lines.seen)}
    files = [path for folder in (out, ray_folder, wandb_at_home, tmp_path) for path in folder.rglob("*")]
    places |= {str(path): path.read_bytes() for path in files if path.is_file()}
    assert len(places) > 50
    secrets = (CANARY.encode(), in_header, in_header.rstrip(b"="))
    assert [place for place, data in places.items() if any(secret in data for secret in secrets)] == []


def test_a_dry_run_says_what_a_tracker_lacks_and_what_it_will_do(tmp_path, wandb_at_home, capsys):
    command = ["sweep", str(write(tmp_path, **FEW)), "--out", str(tmp_path / "out"), "--dry-run"]
    assert main([*command, "--set", "tracking={wandb: maximal, mode: online}"]) == 2
    assert "no API key of Weights & Biases is configured" in capsys.readouterr().err
    assert main([*command, "--set", "tracking={wandb: maximal}"]) == 0
    assert "runs are kept in the folder's wandb/" in capsys.readouterr().out.replace("\n", " ")
    assert not (tmp_path / "out").exists()


def test_a_killed_session_is_made_up_for_and_repeats_no_step(tmp_path, wandb_at_home):
    first = [SESSION, trial(), *(measurement(step) for step in (100, 200, 300))]
    code = f"""
import os
from pathlib import Path
from grokray.sweep.tracked import TrialFold
from grokray.tracking.base import Settings
from grokray.tracking.make import make_trackers
from tests.tracking.journals import show
settings = Settings(wandb="maximal", mode="offline", tensorboard=True)
for tracker in make_trackers(settings, Path({str(tmp_path)!r}), TrialFold, group="tiny", say=print):
    show(tracker, {first!r})
os.kill(os.getpid(), 9)
"""
    root = Path(grokray.__file__).parents[1]
    assert subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True).returncode == -9
    settings = Settings(wandb="maximal", mode="offline", tensorboard=True)
    for tracker in make_trackers(settings, tmp_path, TrialFold, group="tiny", say=print):
        show(tracker, [*first, measurement(300, attempt=1), measurement(400, attempt=1), end(400, "grokked")])
        tracker.close()
    (run,) = run_files(tmp_path)  # W&B's client may have lost what it had, so the run is written anew
    assert (run.id, run.steps, run.summary["outcome"]) == (CONFIG.id, [100, 200, 300, 400], "grokked")
    points = scalars(tmp_path / "tensorboard" / CONFIG.id)["loss/train"]
    assert sorted(step for step, _ in points) == [100, 200, 300, 400]


def test_a_trial_that_was_run_again_goes_on_in_its_run(tmp_path):
    config = load_sweep(write(tmp_path, **FEW, **{"trial: {": "tracking: {tensorboard: true}\ntrial: {"}))
    out = tmp_path / "out"
    meta = {"versions": {}, "command": "test"}
    folder = SweepFolder.create_or_open(out, config.to_yaml(), config.fingerprint(), meta)

    def run(step: int, *, error: str | None, **options: bool) -> str:
        """All trials that are left get so far and end, the first of them with the error; then the tracker looks."""
        books = Ledger(folder, config, **options)
        left = list(iter(books.next_assignment, None))
        for a in left:
            books.write("start", trial_id=a.trial_id, attempt=a.attempt, step=0)
            books.write("measurement", trial_id=a.trial_id, attempt=a.attempt, step=step, metrics={"train_loss": 0.5})
            books.end(a.trial_id, "failed" if error and a is left[0] else "budget", error=error)
        books.close()
        run_sweep(config, out)
        return left[0].trial_id

    trial_id = run(20, error="boom")
    assert run(40, error=None, retry_failed=True) == trial_id
    points = scalars(out / "tensorboard" / trial_id)["loss/train"]
    assert sorted(step for step, _ in points) == [20, 40]
    logged = (out / "tensorboard" / "logged.txt").read_text()
    assert f"{trial_id} end\n" in logged
    assert logged.endswith(f"{trial_id} end 1\n")


def test_train_takes_the_original_s_option(tmp_path, wandb_at_home, capsys):
    out = tmp_path / "out"
    assert main(["train", *TINY, "--wandb_tracking", "max", "--tensorboard", "--out", str(out), "--quiet"]) == 0
    assert capsys.readouterr().err.startswith("W&B: no API key is configured, so runs are kept in ")
    (run,) = run_files(out)
    assert (run.steps, run.group, run.name) == ([10, 20, 30, 40], "", run.id)
    assert run.summary["outcome"] == "budget"
    assert list((out / "tensorboard" / run.id).iterdir())
    # An ended trial whose run was lost is written again, and not trained again.
    shutil.rmtree(out / "wandb")
    assert main(["train", *TINY, "--wandb-tracking=minimal", "--out", str(out), "--quiet"]) == 0
    assert run_files(out)[0].steps == [10, 20, 30, 40]


def test_train_says_what_the_option_may_be(tmp_path, capsys):
    assert main(["train", *TINY, "--wandb_tracking", "some", "--out", str(tmp_path / "out")]) == 2
    assert "--wandb_tracking is 'some', but must be one of disabled, minimal, maximal" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_disabled_imports_nothing(tmp_path):
    words = ["train", *TINY, "--wandb_tracking", "disabled", "--out", str(tmp_path / "out"), "--quiet"]
    code = f"""
import sys, json
import grokray
from grokray.cli.main import main
from grokray.sweep.tracked import TrialFold
from grokray.tracking.base import Settings
from grokray.tracking.make import make_trackers
assert main({words!r}) == 0
print(json.dumps([name for name in ("wandb", "tensorboardX", "tensorboard") if name in sys.modules]))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout.splitlines()[-1]) == []
    assert not (tmp_path / "out" / "wandb").exists()
