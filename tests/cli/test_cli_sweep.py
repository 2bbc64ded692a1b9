"""`grokray sweep`: the preview, what is shown while and after it runs, and its exit codes."""

from __future__ import annotations

import dataclasses
import itertools
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pyarrow.dataset as ds
import pytest

import grokray
from grokray.cli.dry_run import FIELDS
from grokray.cli.main import main
from grokray.cli.preview import preview
from grokray.engine.shape import ShapeKey
from grokray.errors import ExecutionError
from grokray.records.collect import collect
from grokray.records.folder import SweepFolder
from grokray.sweep.load import load_sweep, load_text
from grokray.sweep.progress import progress_of
from grokray.sweep.runner import SweepResult
from grokray.sweep.samples import SAMPLED
from grokray.tasks.dataset import build_dataset
from grokray.tasks.resolve import resolve

NARROW = {"operation": "x/y_mod", "modulus": 97, "num_layers": 2, "dim_model": 32, "batch_size": 64}
CONDITIONAL = """
name: conditional
method: {method}
{limit}
parameters:
  modulus: {{value: 7}}
  task_type: {{values: [classification, sequence]}}
  base: {{values: [2, 10], when: {{task_type: sequence}}}}
  weight_decay: {{values: [0.1, 1]}}
  num_steps: {{values: [900, 2000]}}
scheduler: {{type: asha, grace_period: 100, reduction_factor: 4}}
"""


@pytest.fixture
def ran(monkeypatch, begun):
    """Replaces the runner: it leaves the folder that `begun` makes, and notes what it was given."""
    given = []

    def set_up(*, interrupted=False, error=None, make=begun):
        def run_sweep(config, out, *, address=None, insecure=False, retry_failed=False, observer=None):
            given.append((config, out, address))
            if error:
                raise error
            folder = make(out, interrupted=interrupted)
            state = folder.state()
            observer.message("going on")
            observer.progress(progress_of(state, 8))
            return SweepResult(
                collected=collect(folder, state), progress=progress_of(state, 8), interrupted=interrupted, resumed=False
            )

        monkeypatch.setattr("grokray.sweep.runner.run_sweep", run_sweep)
        return given

    return set_up


def test_a_sweep_shows_its_best_trials_and_where_the_tables_are(ran, space, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    given = ran()
    assert main(["sweep", str(space), "--num-trials", "0.3e1", "--set", "trial.sustain=5", "--address", "auto"]) == 0
    ((config, out, address),) = given
    assert (config.num_trials, config.trial.sustain, out, address) == (3, 5, "results/small", "auto")
    lines = capsys.readouterr().out.splitlines()
    assert "going on" in lines
    assert any(re.fullmatch(r"\d+ s: 2 of 8 ended, 1 running · 1 grokked · 1 budget", line) for line in lines)
    assert "2 of 8 trials ended: 1 grokked · 1 budget" in lines
    assert "phases: 2 memorization · 1 comprehension" in lines
    assert "trials: results/small/trials.parquet" in lines
    assert "curves: results/small/curves/" in lines


def test_a_sweep_whose_trials_all_failed_says_why_and_has_no_phases(ran, space, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    config = load_sweep(space)

    def make(out, *, interrupted):
        folder = SweepFolder.create_or_open(out, config.to_yaml(), {}, {"versions": {}, "command": "grokray sweep"})
        trial = config.trial_config({"weight_decay": 0.1}, 0)
        with folder.writer("driver") as journal:
            who = {"trial_id": trial.id, "index": 0, "configuration": 0, "seed": 0}
            journal.write("trial", **who, config=trial.model_dump())
            journal.write("end", trial_id=trial.id, outcome="failed", step=0, error="MemoryError: too large")
        return folder

    ran(make=make)
    assert main(["sweep", str(space)]) == 1
    lines = capsys.readouterr().out.splitlines()
    at = lines.index("1 of 8 trials ended: 1 failed")
    assert lines[at + 1 : at + 4] == [
        "failed: 1 × MemoryError: too large",
        "failed: the same command with --retry-failed tries these again",
        "trials: results/small/trials.parquet",
    ]


def test_the_hint_at_the_end_works(ran, space, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    ran()
    main(["sweep", str(space), "--out", "o u't"])
    *_, report, look = capsys.readouterr().out.splitlines()
    assert shlex.split(report.removeprefix("figures of it: ")) == ["grokray", "report", "o u't"]
    hint = look.removeprefix("look at it: ")
    done = subprocess.run(hint.replace("python", sys.executable, 1), shell=True, capture_output=True, text=True)
    assert done.returncode == 0
    assert "4 rows" in done.stdout


def test_an_interrupted_sweep_says_how_to_go_on(ran, space, tmp_path, capsys):
    ran(interrupted=True)
    words = ["sweep", str(space), "--out", str(tmp_path / "a b"), "--set", "seeds=[0, 1]"]
    assert main(words) == 130
    captured = capsys.readouterr()
    assert "2 of 8 trials ended" in captured.out
    first, second = captured.err.splitlines()
    assert first == "interrupted"
    assert shlex.split(second.removeprefix("go on with: ")) == ["grokray", *words]


def test_ctrl_c_before_ray_is_up_says_how_to_go_on_too(ran, space, capsys):
    ran(error=KeyboardInterrupt())
    assert main(["sweep", str(space)]) == 130
    assert f"go on with: grokray sweep {space}" in capsys.readouterr().err


def test_an_error_of_the_runner_is_a_message(ran, space, capsys):
    ran(error=ExecutionError("no Ray cluster answers at here", hint="start one"))
    assert main(["sweep", str(space)]) == 1
    assert capsys.readouterr().err == "error: no Ray cluster answers at here\nhint: start one\n"


@pytest.mark.parametrize(("address", "code"), [("nonsense", 2), ("127.0.0.1:1", 1)])
def test_an_address_without_a_cluster_leaves_no_folder(address, code, space, tmp_path, capsys):
    assert main(["sweep", str(space), "--out", str(tmp_path / "out"), "--address", address]) == code
    assert address in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("columns", [40, 60, 80])
def test_the_end_of_a_sweep_fits_the_terminal(columns, ran, space, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.chdir(tmp_path)
    ran()
    main(["sweep", str(space)])
    lines = capsys.readouterr().out.splitlines()
    # The last three are paths and a command, to be copied whole.
    table = lines[3:-3]
    assert len(table) >= 6
    assert max(map(len, table)) <= columns


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["missing.yaml"], "missing.yaml: there is no such file"),
        (["SPACE", "--num-trials", "many"], "--num-trials is 'many', but must be a whole number"),
        (["SPACE", "--num-trials", "1.5"], "--num-trials is '1.5', but must be a whole number"),
        (["SPACE", "--num-trials", "1e9"], "--num-trials is 1000000000, but must be at most 10000000"),
        ([""], "the search space's name is empty, but must be the path of a YAML file"),
        (["SPACE", "--num-trials", "0"], "--num-trials is 0, but must be at least 1"),
        (["SPACE", "--part", ""], "--part : part has no value, but must have one"),
        (["SPACE", "--part", "3/2"], "--part 3/2: part is '3/2', but must be K/N"),
        (
            ["SPACE", "--set", f"seeds=[{2**63 + 92}]"],
            f"--set seeds=[{2**63 + 92}]: seeds[0] is {2**63 + 92}, but must be below {2**63}\n",
        ),
        (["SPACE", "--set", "nonsense"], "--set nonsense: an override must be key=value"),
        (["SPACE", "--set", "trail.sustain=3"], "--set trail.sustain=3: unknown key trail"),
        (["SPACE", "--set", "parameters.modulus=24"], "--set parameters.modulus=24: "),
        (["SPACE", "--set", "parameters.dropout=1.5"], "--set parameters.dropout=1.5: "),
    ],
)
@pytest.mark.parametrize("dry", [[], ["--dry-run"]])
def test_wrong_input_is_refused_before_anything_runs(words, message, dry, ran, space, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    given = ran()
    assert main(["sweep", *(str(space) if word == "SPACE" else word for word in words), *dry]) == 2
    assert capsys.readouterr().err.startswith(f"error: {message}")
    assert given == []


def test_a_file_is_refused_as_the_folder(space, capsys):
    assert main(["sweep", str(space), "--out", str(space)]) == 2
    assert capsys.readouterr().err == f"error: {space} is a file, but must be a folder\n"


def test_dry_run_tells_all_and_does_nothing(space, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["sweep", "small.yaml", "--dry-run"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "small (random): 4 configurations × 2 seeds = 8 trials"
    assert [line.split()[0] for line in lines[4:8]] == ["0", "1", "2", "3"]
    assert "steps: at most 16,000 (8 × 2,000), fewer as trials grok" in lines
    assert lines[-2:] == ["folder: results/small, which is to be made", "nothing was run"]
    assert [path.name for path in tmp_path.iterdir()] == ["small.yaml"]


def test_dry_run_tells_what_evaluations_take(space, tmp_path, monkeypatch, capsys):
    """A step of 64 rows of 4 tokens, forward and twice backward, against 9,312 rows whose first two tokens are shared
    by 97: 28 steps, as measured (24 to 29)."""
    monkeypatch.chdir(tmp_path)
    narrow = [f"parameters.{name}={value}" for name, value in NARROW.items()]
    sets = [word for line in narrow for word in ("--set", line)]
    assert main(["sweep", "small.yaml", "--dry-run", *sets]) == 0
    assert "evaluations: some 22 % of the time at eval_interval 100" in capsys.readouterr().out.splitlines()
    assert main(["sweep", "small.yaml", "--dry-run", *sets, "--set", "trial.eval_interval=10"]) == 0
    dear = "evaluations: some 74 % of the time at eval_interval 10, a larger one saves"
    assert dear in capsys.readouterr().out.splitlines()


def test_dry_run_tells_of_small_last_batches(space, capsys):
    sets = ["--set", "parameters.training_fraction=0.5", "--set", "parameters.batch_size=120"]
    where = "epochs of 4 of 4 end with a small batch, with batch_size 120 and training_fraction 0.5 of 13 rows"
    for options, is_said in (([], True), (["--set", "parameters.drop_last=true"], False)):
        assert main(["sweep", str(space), "--dry-run", *sets, *options]) == 0
        assert (where in " ".join(capsys.readouterr().out.split())) == is_said


def test_dry_run_tells_what_the_folder_holds(space, begun, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    begun()
    assert main(["sweep", "small.yaml", "--dry-run", "--out", "out"]) == 0
    line = "folder: out, which holds this sweep: 2 of 8 trials ended"
    assert capsys.readouterr().out.splitlines()[-2] == line
    assert main(["sweep", "small.yaml", "--dry-run", "--out", "out", "--num-trials", "5"]) == 0
    line = "folder: out, which holds this sweep: 2 of 10 trials ended; it grows: num_trials was 4, is now 5"
    assert capsys.readouterr().out.splitlines()[-2] == line
    assert main(["sweep", "small.yaml", "--dry-run", "--out", "out", "--set", "seeds=3"]) == 0
    line = "folder: out, which holds this sweep: 2 of 12 trials ended; it grows: seeds was [0, 1], is now [0, 1, 2]"
    assert capsys.readouterr().out.splitlines()[-2] == line
    assert main(["sweep", "small.yaml", "--dry-run", "--out", "out", "--num-trials", "3"]) == 2
    assert "out holds a sweep of another search space:\n  num_trials was 4, is now 3" in capsys.readouterr().err


@pytest.mark.parametrize("dry", [[], ["--dry-run"]])
def test_a_folder_of_something_else_is_refused(dry, space, tmp_path, capsys):
    assert main(["sweep", str(space), "--out", str(tmp_path), *dry]) == 2
    assert f"error: {tmp_path} is not empty and holds no sweep" in capsys.readouterr().err


def test_dry_run_of_a_part_shows_the_shapes_of_this_part_alone():
    text = "method: grid\nparameters: {weight_decay: {values: [0.1, 1]}, num_layers: {values: [1, 2]}}\n"
    shapes = {part: preview(load_text(f"{text}part: {part}\n", "c.yaml", "c")).shapes for part in ("1/2", "2/2")}
    assert {part: [s.shape.num_layers for s in found] for part, found in shapes.items()} == {"1/2": [1], "2/2": [2]}


def test_dry_run_and_status_say_that_a_part_is_empty(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("two.yaml").write_text("method: grid\nparameters: {weight_decay: {values: [0.1, 1]}}\n")
    assert main(["sweep", "two.yaml", "--part", "7/7", "--dry-run"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "two (grid): 0 configurations × 1 seed = 0 trials",
        "part 7/7 is empty: there are fewer configurations than parts",
        "folder: results/two/part-7of7, which is to be made",
        "nothing was run",
    ]
    config = load_sweep("two.yaml", part="7/7")
    SweepFolder.create_or_open("out", config.to_yaml(), config.fingerprint(), {"versions": {}, "command": ""})
    assert main(["status", "out"]) == 0
    assert capsys.readouterr().out.splitlines()[2] == "no trials"


def test_dry_run_of_a_part_shows_what_this_part_runs(space, capsys):
    def rows(*words: str) -> dict[str, str]:
        assert main(["sweep", str(space), "--dry-run", *words]) == 0
        lines = [line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines()[4:]]
        return dict(itertools.takewhile(bool, lines))  # type: ignore[arg-type]

    whole = rows()
    assert len({*whole.values()}) == 4
    assert rows("--part", "1/3") == {number: whole[number] for number in ("0", "3")}
    assert rows("--part", "2/3") == {"1": whole["1"]}
    assert rows("--part", "3/3") == {"2": whole["2"]}


@pytest.mark.parametrize("method", ["grid", "sobol"])
def test_the_preview_of_a_part_begins_with_its_own_configurations(method):
    text = f"method: {method}\nnum_trials: 4\nparameters: {{weight_decay: {{values: [0.1, 0.2, 0.3, 0.4, 0.5]}}}}\n"
    first = preview(load_text(text, "c.yaml", "c")).first
    assert preview(load_text(f"{text}part: 2/2\n", "c.yaml", "c")).first == first[1::2]


def test_dry_run_does_not_load_ray(space):
    code = (
        f"import sys; from grokray.cli.main import main; code = main(['sweep', {str(space)!r}, '--dry-run']);"
        "sys.exit(code or 'ray' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == 0


def test_the_preview_finds_every_shape_of_a_grid():
    config = load_text(CONDITIONAL.format(method="grid", limit=""), "c.yaml", "c")
    found = preview(config)
    assert (found.configurations, found.trials, found.all_shapes) == (12, 12, True)
    assert found.first[0] == {
        "modulus": 7, "task_type": "classification", "weight_decay": 0.1, "num_steps": 900
    }  # fmt: skip
    assert found.most_steps == 6 * 900 + 6 * 2_000
    assert found.rungs == (100, 400, 1600)
    assert len(found.shapes) == 3
    assert {s.state_bytes for s in found.shapes} == {3 * 4 * s.shape.layout.row_size for s in found.shapes}


@pytest.mark.parametrize(
    ("scheduler", "said"),
    [
        ("asha, grace_period: 900", ["rungs: 900; at each the best 1 in 3 goes on", "audit: 10 % of those"]),
        (
            "grok_asha, grace_period: 600, stop_share: 0.25, audit_fraction: 0.5",
            [
                "rungs: 600, 1,200; from step 600 on those",
                "the lowest 25 % in heldout_loss_slope",
                "audit: 50 % of those",
            ],
        ),
        (
            "asha, grace_period: 5000",
            ["rungs: none, as grace_period is 5,000 and no trial is longer: none is stopped"],
        ),
    ],
)
def test_dry_run_says_what_happens_at_rungs(scheduler, said, tmp_path, capsys):
    path = tmp_path / "c.yaml"
    text = CONDITIONAL.format(method="grid", limit="")
    path.write_text(text[: text.index("scheduler:")] + f"scheduler: {{type: {scheduler}}}\n")
    assert main(["sweep", str(path), "--dry-run"]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert all(words in out for words in said)


def test_the_preview_s_rungs_are_those_of_tune():
    from grokray.sweep.schedulers.asha import Asha as Scheduler
    from grokray.sweep.sections import Asha

    config = load_text(CONDITIONAL.format(method="grid", limit=""), "c.yaml", "c")
    assert isinstance(config.scheduler, Asha)
    scheduler = Scheduler(config.scheduler, max_steps=2000, record=print)
    assert preview(config).rungs == tuple(sorted(rung for rung, _ in scheduler._bracket._rungs))


@pytest.mark.parametrize("method", ["random", "tpe", "sobol"])
def test_the_preview_looks_at_some_of_many(method):
    config = load_text(CONDITIONAL.format(method=method, limit="num_trials: 500"), "c.yaml", "c")
    found = preview(config)
    assert found.trials == 500
    assert (found.sampled, found.all_shapes) == (SAMPLED, False)
    assert len(found.first) == 5
    assert len(found.shapes) == 3
    assert all(("base" in c) == (c["task_type"] == "sequence") for c in found.first)


def test_the_preview_proposes_what_the_sweep_will():
    from grokray.sweep.proposer import make_proposer

    config = load_text(CONDITIONAL.format(method="random", limit="num_trials: 3"), "c.yaml", "c")
    proposer = make_proposer(config)
    wanted = [proposer.choice(proposer.propose(i) or {}) for i in range(3)]
    assert [dict(c) for c in preview(config).first] == wanted


def test_dry_run_shows_notes_and_fits_60_columns(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "60")
    path = tmp_path / "c.yaml"
    path.write_text(CONDITIONAL.format(method="grid", limit='notes: ["what was meant"]'))
    assert main(["sweep", str(path), "--dry-run"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "note: what was meant" in lines
    assert "rungs: 100, 400, 1,600; at each the best 1 in 4 goes on" in lines
    assert max(map(len, lines)) <= 60


def test_dry_run_counts_what_is_trained_once_only(tmp_path, capsys):
    path = tmp_path / "vain.yaml"
    path.write_text(
        "method: grid\nparameters:\n  base: {values: [2, 3, 4]}\n  weight_decay: {values: [0, 1]}\n"
        "  task_type: {values: [classification, sequence]}\n"
    )
    assert main(["sweep", str(path), "--dry-run"]) == 0
    out = capsys.readouterr().out
    assert "note: configurations that repeat an earlier one, and are not trained again: 4" in out
    assert main(["sweep", str(path), "--dry-run", "--set", "parameters.task_type=sequence"]) == 0
    assert "note:" not in capsys.readouterr().out
    of_six = ["--set", "parameters.task_type=sequence", "--set", "method=random"]
    assert main(["sweep", str(path), "--dry-run", *of_six, "--num-trials", "40"]) == 0
    repeats = re.search(r"are not trained again: (\d+)", " ".join(capsys.readouterr().out.split()))
    assert repeats is not None
    assert 34 <= int(repeats[1]) < 40
    endless = ["--set", "parameters.weight_decay={min: 0.0, max: 1.0}", "--num-trials", "40"]
    assert main(["sweep", str(path), "--dry-run", *of_six, *endless]) == 0
    assert "not trained again" not in " ".join(capsys.readouterr().out.split())


@pytest.mark.ray
def test_a_real_sweep_from_the_command_line_to_parquet(one_core, tmp_path, capsys):
    space = tmp_path / "real.yaml"
    space.write_text(
        "method: grid\nparameters: {modulus: {value: 7}, num_layers: {value: 1}, dim_model: {value: 8},"
        " num_heads: {value: 1}, batch_size: {value: 16}, weight_decay: {values: [0, 1]}, num_steps: {value: 60},"
        " base: {value: 2}}\n"
        "trial: {eval_interval: 20}\n"
    )
    words = ["sweep", str(space), "--out", str(tmp_path / "out")]
    assert main(words) == 0
    out = capsys.readouterr().out
    assert out.startswith("note: base is given, but no trial has a use for it\n")
    assert "2 of 2 trials ended: 2 budget" in out
    assert ds.dataset(tmp_path / "out/trials.parquet").count_rows() == 2
    assert main(words) == 0
    again = capsys.readouterr().out
    assert again.splitlines()[-9:] == out.splitlines()[-9:]
    assert main(["status", str(tmp_path / "out")]) == 0
    assert "all trials have ended" in capsys.readouterr().out


def test_the_shipped_search_spaces_can_be_previewed():
    shipped = Path(grokray.__file__).parents[1] / "search_spaces"
    trials = {path.stem: preview(load_sweep(path)).trials for path in sorted(shipped.glob("*.yaml"))}
    assert trials["grid"] == 864
    assert trials["robust"] == 6000
    assert trials["quickstart"] >= 16


KINDS = """\
method: grid
parameters:
  optimizer: {values: [adamw, muon]}
  gradient_filter: {values: [none, grokfast_ema]}
  accumulation_steps: {values: [1, 2]}
  modulus: {value: 7}
"""


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ("", "steps: at most 18,800, fewer as trials grok"),
        ("num_trials: 2", "steps: at most 18,200, fewer as trials grok"),
        ("trial: {continue_training: true}", "steps: at most 18,800"),
    ],
)
def test_dry_run_adds_up_the_steps_of_a_grid(tmp_path, capsys, more, said):
    path = tmp_path / "steps.yaml"
    grid = "parameters: {modulus: {value: 7}, num_steps: {values: [100, 9000, 300]}}"
    path.write_text(f"method: grid\nseeds: [0, 1]\n{grid}\n{more}\n")
    assert main(["sweep", str(path), "--dry-run"]) == 0
    assert said in capsys.readouterr().out.splitlines()


@pytest.mark.parametrize("width", ["60", "100"])
def test_dry_run_says_what_sets_shapes_apart(tmp_path, monkeypatch, capsys, width):
    monkeypatch.setenv("COLUMNS", width)
    path = tmp_path / "kinds.yaml"
    path.write_text(KINDS)
    assert main(["sweep", str(path), "--dry-run"]) == 0
    out = capsys.readouterr().out
    rows = [line for line in out.splitlines() if line.rstrip().endswith(" kB") or " kB  " in line or " MB" in line]
    rows = [row for row in rows if "memory" not in row]
    assert len({*rows}) == len(rows) == 8
    assert not any("…" in row for row in rows)
    text = " ".join(out.split())
    assert "(weights, the optimizer's moments, a filter's average)" in text
    assert "AdamW" not in text


def test_dry_run_has_a_column_for_every_field_of_a_shape():
    assert {*FIELDS} == {field.name for field in dataclasses.fields(ShapeKey)}


def test_inputs_with_noise_are_a_shape_of_their_own_where_the_first_layer_goes_by_token():
    grid = "method: grid\nparameters: {input_noise: {values: [0, 0.1, 0.2]}, modulus: {value: 97}}\n"
    wide = preview(load_text(grid, "c.yaml", "c"))
    assert sorted(s.shape.by_token for s in wide.shapes) == [False, True]
    few_rows = load_text(grid.replace("modulus:", "batch_size: {value: 64}, modulus:"), "c.yaml", "c")
    assert [s.shape.by_token for s in preview(few_rows).shapes] == [False]


@pytest.mark.parametrize(
    ("method", "dropout"),
    [("grid", "{values: [0.1, 0.2, 0.3]}"), ("random", "{min: 0.1, max: 0.4}"), ("random", "{value: 0.1}")],
)
def test_how_much_dropout_there_is_makes_no_shape_and_no_table(method, dropout):
    text = f"method: {method}\nnum_trials: 3\nparameters: {{dropout: {dropout}, modulus: {{value: 97}}}}\n"
    (shape,) = preview(load_text(text, "c.yaml", "c")).shapes
    assert shape.table_bytes == build_dataset(resolve({"dropout": 0.1})).table.nbytes


def test_dry_run_shows_no_column_for_what_all_shapes_share(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "100")
    path = tmp_path / "kinds.yaml"
    path.write_text("method: grid\nparameters: {modulus: {values: [7, 11]}}\n")
    assert main(["sweep", str(path), "--dry-run"]) == 0
    out = capsys.readouterr().out
    assert "optimizer  " not in out
    assert "filter" not in out


BASES = "num_layers: {value: 1}, dim_model: {value: 32}, task_type: {value: sequence}, base: {values: [2, 24]}"


@pytest.mark.parametrize(
    ("grid", "shown"),
    [
        ("operation: {value: x+y}, operand_limit: {value: 24}, batch_size: {value: 64}, " + BASES, False),
        ("input_noise: {values: [0, 0.1]}", True),  # nothing else tells the shapes apart
    ],
)
def test_dry_run_tells_how_a_shape_is_computed_only_where_nothing_else_sets_it_apart(
    tmp_path, monkeypatch, capsys, grid, shown
):
    monkeypatch.setenv("COLUMNS", "160")
    path = tmp_path / "bases.yaml"
    path.write_text(f"method: grid\nparameters: {{{grid}}}\n")
    assert main(["sweep", str(path), "--dry-run"]) == 0
    assert ("by token" in capsys.readouterr().out) == shown


@pytest.mark.parametrize("more", [[], ["--dry-run"]])
def test_a_switch_of_the_environment_that_is_neither_0_nor_1(tmp_path, space, capsys, monkeypatch, more):
    monkeypatch.setenv("GROKRAY_COMPILE_AHEAD", "no")
    assert main(["sweep", str(space), "--out", str(tmp_path / "out"), *more]) == 2
    assert capsys.readouterr().err == "error: GROKRAY_COMPILE_AHEAD is 'no', but must be 0 or 1\n"
    assert not (tmp_path / "out").exists()


def test_bytes_that_are_no_text_are_named(space, capsys):
    # As Python takes them from a command line.
    assert main(["sweep", str(space), "--set", "name=\udcffb", "--dry-run"]) == 2
    said = capsys.readouterr().err.splitlines()[0]
    assert said.endswith("this is not YAML: the byte 0xff is no text in this terminal's encoding")
