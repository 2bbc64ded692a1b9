"""W&B with its real client: offline by reading its files back, online against a stub of the server."""

from __future__ import annotations

import json
import math
from functools import partial
from unittest.mock import MagicMock, Mock

import pytest

from grokray.errors import ConfigError
from grokray.records.store import Store
from grokray.sweep.tracked import TrialFold
from grokray.tracking import wandb_tracker
from grokray.tracking.base import Settings
from grokray.tracking.feeder import Feeder
from grokray.tracking.make import check, make_trackers
from grokray.tracking.wandb_tracker import WandbBackend, _do_not_stop, _quiet_settings, resolve_mode
from grokray.trial import TrialConfig
from tests.tracking.journals import CONFIG, SESSION, end, measurement, show, trial, whole_run
from tests.tracking.run_file import run_files
from tests.tracking.stub import Stub

ID = CONFIG.id
KEY = "0123456789" * 4
STEPS = list(range(100, 1001, 100))


def tracker(folder, wandb="maximal", mode="offline", said=None, **more):
    settings = Settings(wandb=wandb, mode=mode, **more)
    say = [].append if said is None else said.append
    (made,) = make_trackers(settings, folder, TrialFold, group="tiny", say=say)
    return made


@pytest.fixture
def stub(wandb_at_home, monkeypatch):
    with Stub() as stub:
        monkeypatch.setenv("WANDB_BASE_URL", stub.url)
        monkeypatch.setenv("WANDB_API_KEY", KEY)
        yield stub


def test_an_offline_run_holds_config_history_and_summary(wandb_at_home, tmp_path):
    made = tracker(tmp_path)
    show(made, [SESSION, *whole_run(outcome="grokked")])
    made.close()
    (run,) = run_files(tmp_path)
    assert (run.id, run.name, run.group, run.project) == (ID, "tiny/0", "tiny", "grokray")
    assert {name: run.config[name] for name in CONFIG.model_dump()} == CONFIG.model_dump()
    assert run.steps == STEPS
    row = run.history[2]
    assert row["train_loss"] == pytest.approx(1 / 300)
    assert (row["heldout_exact_match"], row["weight_norm"], row["wall_time_s"]) == (0.3, 3.0, 3.0)
    assert {name: run.summary[name] for name in ("outcome", "memorization_step", "steps_trained")} == {
        "outcome": "grokked",
        "memorization_step": 100,
        "steps_trained": 1000,
    }
    assert run.summary["torch_version"] == "2.13.0"
    assert run.artifacts == [f"trial: trial-{ID}"]
    assert run.exit_code == 0
    assert not list(wandb_at_home.rglob("*.wandb"))
    assert not list(tmp_path.glob("wandb/offline-run-*/files/*"))  # nothing of what is installed here, or of code


def test_the_client_is_asked_to_look_at_no_code_machine_or_environment(wandb_at_home):
    settings = _quiet_settings()
    off = ("disable_git", "disable_code", "disable_job_creation")
    off += ("x_disable_stats", "x_disable_meta", "x_disable_machine_info")
    assert [getattr(settings, name) for name in off] == [True] * len(off)
    assert (settings.save_code, settings.x_save_requirements, settings.console) == (False, False, "off")
    assert (settings.stop_fn, settings.finish_timeout_raises) == (_do_not_stop, True)  # no web page ends a sweep


def test_what_a_killed_session_did_not_finish_is_written_anew_and_nothing_else_is_removed(tmp_path, monkeypatch):
    monkeypatch.setattr(wandb_tracker, "_client", MagicMock())
    for name, file in (("1-ab", "x"), ("2-ab", wandb_tracker.WHOLE), ("3-ab", "run-ab.wandb.synced"), ("4-cd", "x")):
        folder = tmp_path / "wandb" / f"offline-run-{name}"
        folder.mkdir(parents=True)
        (folder / file).touch()
    backend = WandbBackend(Settings(wandb="maximal"), "offline", tmp_path, None, print)
    backend.open(Mock(trial_id="ab", config={}))
    left = [folder.name for folder in sorted((tmp_path / "wandb").glob("offline-run-*"))]
    assert left == ["offline-run-2-ab", "offline-run-3-ab", "offline-run-4-cd"]


def test_a_resumed_offline_run_goes_on_and_repeats_no_step(wandb_at_home, tmp_path):
    first = [SESSION, trial(), measurement(100), measurement(200), measurement(300)]
    made = tracker(tmp_path)
    show(made, first)
    made.close()
    made = tracker(tmp_path)
    show(made, [*first, measurement(300, attempt=1), measurement(400, attempt=1), end(400, "stopped")])
    made.close()
    one, two = run_files(tmp_path)
    assert one.id == two.id == ID
    assert (one.steps, two.steps) == ([100, 200, 300], [400])
    assert (one.exit_code, two.exit_code) == (255, 0)
    made = tracker(tmp_path)
    show(made, [*first, end(400, "stopped")])
    made.close()
    assert len(run_files(tmp_path)) == 2


def test_minimal_holds_at_most_200_points_and_the_last(wandb_at_home, tmp_path):
    configs = [
        TrialConfig(num_steps=steps, eval_interval=every) for steps, every in ((9990, 10), (1990, 10), (400, 100))
    ]
    made = tracker(tmp_path, "minimal")
    for index, config in enumerate(configs):
        show(made, whole_run(index, config))
    made.close()
    runs = {run.id: run for run in run_files(tmp_path)}
    for config, points in zip(configs, (167, 199, 4), strict=True):
        run = runs[config.id]
        last = config.num_steps - config.num_steps % config.eval_interval
        assert len(run.steps) == points <= 200
        assert run.steps[-1] == last
        assert run.summary["outcome"] == "budget"
        assert run.config["num_steps"] == config.num_steps
        assert run.artifacts == []
        assert "heldout_exact_match" in run.history[0]
        assert not {"weight_norm", "wall_time_s"} & run.history[0].keys()


def test_minimal_holds_the_last_point_of_who_ends_without_another(wandb_at_home, tmp_path):
    config = TrialConfig(num_steps=4000, eval_interval=10)  # of which every third would do
    known = [SESSION, trial(0, config), *(measurement(step, config.id) for step in (10, 20, 30, 40))]
    for more in ([], [end(40, "pruned", config.id)]):
        made = tracker(tmp_path, "minimal")
        show(made, [*known, *more])
        made.close()
    assert [step for run in run_files(tmp_path) for step in run.steps] == [30, 40]


@pytest.mark.parametrize(("steps", "every"), [(1, 1), (199, 1), (200, 1), (398, 1), (399, 1), (20_000, 50), (10**6, 7)])
def test_no_minimal_run_has_more_than_200_points(steps, every):
    from grokray.tracking.wandb_tracker import _stride

    stride = _stride({"num_steps": steps, "eval_interval": every})
    assert stride % every == 0
    sent = steps // stride
    assert sent + 1 <= 200
    assert sent >= min(math.ceil(steps / every), 100) - 1


def test_many_runs_at_once_do_not_mix(wandb_at_home, tmp_path):
    configs = [CONFIG.model_copy(update={"init_seed": seed}) for seed in range(4)]
    made = tracker(tmp_path)
    show(made, [trial(i, config) for i, config in enumerate(configs)])
    for step in STEPS:
        show(made, [measurement(step, config.id, metrics={"train_loss": i}) for i, config in enumerate(configs)])
    show(made, [end(1000, trial_id=config.id) for config in configs])
    made.close()
    runs = run_files(tmp_path)
    assert len(runs) == 4
    for run in runs:
        assert run.steps == STEPS
        assert {row["train_loss"] for row in run.history} == {run.config["init_seed"]}


def test_examples_are_a_table_and_in_the_artifact(wandb_at_home, tmp_path):
    store = Store.from_uri(tmp_path)
    old = {
        "step": 100,
        "example": "8 + 5",
        "prediction": None,
        "truth": "13",
        "match": False,
        "truth_tokens": ["1", "3"],
    }
    new = {**old, "step": 200, "prediction": "13", "match": True}
    store.write_atomic(f"examples/{ID}.jsonl", "".join(json.dumps(e) + "\n" for e in (old, new)).encode())
    settings = Settings(wandb="maximal", mode="offline")
    (made,) = make_trackers(settings, tmp_path, partial(TrialFold, store), group="tiny", say=print)
    show(made, [trial(), measurement(100), measurement(200), end(200)])
    made.close()
    (run,) = run_files(tmp_path)
    assert run.steps == [100, 200]
    assert run.history[1]["examples._type"] == "table-file"
    assert run.history[1]["heldout_exact_match"] == 0.2
    (path,) = tmp_path.glob("wandb/offline-run-*/files/media/table/*.json")
    assert json.loads(path.read_text())["data"] == [[200, "8 + 5", "13", "13", True, "1 3"]]
    staged = [path.read_text() for path in wandb_at_home.glob("artifacts/staging/*")]
    (lines,) = [text.splitlines() for text in staged if text.startswith('{"step"')]
    assert [json.loads(line)["step"] for line in lines] == [100, 200]


def test_online_init_log_and_finish_go_through(stub, tmp_path):
    said = []
    made = tracker(tmp_path, mode="online", said=said)
    show(made, [SESSION, *whole_run()])
    made.close()
    run = stub.runs[ID]
    assert run.steps == STEPS
    assert run.group == "tiny"
    assert run.config["weight_decay"]["value"] == CONFIG.weight_decay
    assert run.summary["outcome"] == "budget"
    assert run.exit_code == 0
    assert json.loads(stub.uploads[f"trial-{ID}/row.json"])["outcome"] == "budget"
    assert said == [f"W&B: {stub.url}/me/grokray"]
    # Nothing of the user, the code or the machine.
    assert {name: run.asked.get(name) for name in ("host", "program", "repo", "commit", "debug")} == dict.fromkeys(
        ("host", "program", "repo", "commit", "debug")
    )
    uploaded = {name.rpartition("/")[2] for name in stub.uploads}
    assert uploaded == {"wandb-summary.json", "config.yaml", "row.json", "manifest"}


def test_a_resumed_online_run_goes_on_where_the_server_says(stub, tmp_path):
    store, other = Store.from_uri(tmp_path), CONFIG.model_copy(update={"init_seed": 1})
    store.write_atomic(f"examples/{other.id}.jsonl", b'{"step": 200, "example": "8 + 5"}\n')
    first = [SESSION, trial(), *(measurement(step) for step in (100, 200, 300))]
    first += [trial(1, other), *(measurement(step, other.id) for step in (100, 200))]
    settings = Settings(wandb="maximal", mode="online")
    (made,) = make_trackers(settings, tmp_path, partial(TrialFold, store), group="tiny", say=[].append)
    show(made, first)
    made.close()
    run = stub.runs[ID]
    assert run.steps == [100, 200, 300]
    run.history, run.summary = run.history[:2], run.history[1]  # as if the last point had never arrived
    (made,) = make_trackers(settings, tmp_path, partial(TrialFold, store), group="tiny", say=[].append)
    ends = [end(400), end(200, "pruned", other.id)]
    show(made, [*first, measurement(300, attempt=1), measurement(400, attempt=1), *ends])
    made.close()
    assert run.steps == [100, 200, 300, 400]
    # Where no point is new the examples are a step of their own: the client drops what is of an earlier one.
    assert [("train_loss" in row, "examples" in row) for row in stub.runs[other.id].history] == [
        (True, False),
        (True, False),
        (False, True),
    ]


def test_a_trial_that_was_run_again_no_longer_says_why_it_had_failed(stub, tmp_path):
    failed = [SESSION, trial(), measurement(100), {**end(100, "failed"), "error": "boom"}]
    made = tracker(tmp_path, mode="online")
    show(made, failed)
    made.close()
    run = stub.runs[ID]
    assert (run.summary["error"], run.summary["censor_reason"]) == ("boom", "failed")
    again = {"t": 130.0, "event": "again", "trial_id": ID, "round": 1}
    settings = Settings(wandb="maximal", mode="online")
    (made,) = make_trackers(settings, tmp_path, TrialFold, group="tiny", say=[].append, rounds={ID: 1})
    events = {"grok_step": 200, "grok_step_lower": 100}
    show(made, [*failed, again, measurement(200, attempt=1, events=events), {**end(200, "grokked"), "round": 1}])
    made.close()
    assert (run.summary["outcome"], run.summary["grok_step"]) == ("grokked", 200)
    assert (run.summary.get("error"), run.summary.get("censor_reason")) == (None, None)


def test_a_refused_key_is_one_line_of_warning(stub, tmp_path):
    stub.refuse = True
    said = []
    made = tracker(tmp_path, mode="online", said=said)
    events = [[SESSION, *whole_run()]]
    feeder = Feeder(lambda: [events.pop()] if events else [], [made], said.append)
    feeder.start()
    feeder.close()
    (line,) = (line for line in said if not line.startswith("waiting"))  # where the machine is slow
    assert line.startswith("warning: W&B is given up for now: CommError: ")
    assert "401" in line
    assert KEY not in line
    # The next session makes up for it.
    stub.refuse = False
    made = tracker(tmp_path, mode="online")
    show(made, [SESSION, *whole_run()])
    made.close()
    assert stub.runs[ID].steps == STEPS


def test_a_server_that_falls_silent_is_left_behind(stub, tmp_path, monkeypatch):
    monkeypatch.setattr("grokray.tracking.wandb_tracker.FINISH_TIMEOUT_S", 2)
    said = []
    made = tracker(tmp_path, "minimal", mode="online", said=said)
    show(made, [SESSION, trial(), measurement(100)])
    stub.silent.set()
    events = [[measurement(200), end(200)]]
    feeder = Feeder(lambda: [events.pop()] if events else [], [made], said.append)
    feeder.start()
    feeder.close(give_up_after_s=30)
    stub.silent.clear()
    said = [line for line in said if not line.startswith("waiting")]
    assert [line.split(":")[0] for line in said] == ["W&B", "warning"]
    assert "TimeoutError" in said[-1]
    assert (tmp_path / "wandb" / "logged-online-grokray.txt").read_text() == ""


@pytest.mark.parametrize(
    ("settings", "environment", "mode"),
    [
        ({"mode": "auto"}, {}, "offline"),
        ({"mode": "auto"}, {"WANDB_API_KEY": KEY}, "online"),
        ({"mode": "auto"}, {"WANDB_API_KEY": KEY, "WANDB_MODE": "offline"}, "offline"),
        ({"mode": "auto"}, {"WANDB_API_KEY": KEY, "WANDB_MODE": "disabled"}, "disabled"),
        ({"mode": "offline"}, {"WANDB_API_KEY": KEY}, "offline"),
        ({"mode": "online"}, {"WANDB_API_KEY": KEY, "WANDB_MODE": "offline"}, "online"),
        ({"wandb": "disabled", "mode": "online"}, {}, "disabled"),
    ],
)
def test_where_runs_go(settings, environment, mode, wandb_at_home, monkeypatch):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert resolve_mode(Settings(**{"wandb": "minimal", **settings})) == mode


def test_a_key_in_netrc_is_found(wandb_at_home, monkeypatch):
    monkeypatch.setenv("WANDB_BASE_URL", "https://wandb.example.org")
    netrc = wandb_at_home / ".netrc"
    netrc.write_text(f"machine elsewhere.example.org login user password {KEY}\n")
    netrc.chmod(0o600)
    assert resolve_mode(Settings(wandb="minimal")) == "offline"
    netrc.write_text(f"machine wandb.example.org login user password {KEY}\n")
    assert resolve_mode(Settings(wandb="minimal")) == "online"


@pytest.mark.parametrize("environment", [{}, {"WANDB_MODE": "online"}])
def test_online_without_a_key_is_an_error_before_anything_starts(environment, wandb_at_home, monkeypatch):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match="no API key of Weights & Biases is configured") as caught:
        check(Settings(wandb="maximal", mode="auto" if environment else "online"))
    assert "tracking.mode" in str(caught.value.hint)


def test_it_is_said_that_nothing_is_sent(wandb_at_home, monkeypatch):
    said = str(check(Settings(wandb="maximal")))
    assert said.startswith("W&B: no API key is configured")
    # Without a path the client looks for runs in the working directory alone.
    assert said.endswith("`wandb sync DIR/wandb/offline-run-*` sends them")
    assert check(Settings(wandb="maximal", mode="offline")) is None
    monkeypatch.setenv("WANDB_MODE", "offline")
    assert check(Settings(wandb="maximal")) is None


@pytest.mark.parametrize("mode", ["auto", "online", "offline"])
def test_a_mode_in_the_environment_that_the_client_does_not_know_is_refused(monkeypatch, mode):
    monkeypatch.setenv("WANDB_MODE", "bogus")
    with pytest.raises(ConfigError, match="WANDB_MODE is 'bogus', but must be one of online, offline, disabled"):
        resolve_mode(Settings(wandb="minimal", mode=mode))
