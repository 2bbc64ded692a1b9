"""The parts of benchmarks/gpu.py on a CPU, at sizes whose numbers mean nothing."""

from __future__ import annotations

import io
import itertools
import json
import math
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import harness
import pytest
import torch
from card import builds, device, engines, exactness, process, processes, products, rivals, run, stability, upkeep
from card.heats import Entrant, heat
from card.notes import Notes
from card.parts import PARTS, order
from card.plan import Plan, full_plan, quick_plan
from card.report import report
from harness import Contestant
from peers.case import Case
from workers import Worker, WorkerError, remote
from workers.pipes import Remarks, one_line

from grokray.engine import tiles
from grokray.engine.stack import Stack

BENCHMARKS = Path(harness.__file__).parent
PLAN = replace(quick_plan("cpu"), slice_s=0.01, build_s=0.0)
TINY = PLAN.cases["tiny"].parameters


@pytest.fixture
def said() -> list[dict]:
    return []


@pytest.fixture
def notes(said) -> Notes:
    return Notes(PLAN, "tiny", emit=said.append, seconds=600)


def puts(said) -> dict[str, object]:
    return {"/".join(m["put"]): m["value"] for m in said if "put" in m}


def left_out(said) -> dict[str, str]:
    return {m["left_out"]: m["why"] for m in said if "left_out" in m}


def test_a_device_is_waited_for_at_the_ends_of_a_slice_alone(monkeypatch):
    done, clock = [], itertools.count()
    monkeypatch.setattr(harness, "time", SimpleNamespace(monotonic=lambda: next(clock), process_time=lambda: 0.0))
    made = [
        Contestant(name=n, call=lambda n=n: done.append(f"{n} call") or 3.0, wait=lambda n=n: done.append(f"{n} wait"))
        for n in "ab"
    ]
    harness.measure_wall(made, rounds=2, slice_s=4)
    slices = [[f"{n} wait", *4 * [f"{n} call"], f"{n} wait"] for n in "abba"]  # the order turns
    calibration = [f"{n} {what}" for n in "ab" for what in ("wait", "call", "wait")]
    assert done == [*calibration, *itertools.chain(*slices)]
    assert made[0].per_wall_s == [12.0, 12.0]  # 4 calls of 3, a tick of the clock


def test_who_fails_is_left_out_with_one_line_and_the_others_are_measured(notes, said):
    def fail() -> Contestant:
        raise RuntimeError("out of memory\nand a long explanation")

    def fail_later() -> float:
        raise ValueError("never")

    closed = []
    makers = {
        "fine": lambda: Contestant(name="", call=lambda: 2.0),
        "broken": fail,
        "late": lambda: Contestant(name="", call=fail_later, close=lambda: closed.append("late")),
    }
    found = heat(notes, ["kind", "name"], [Entrant(name=n, make=m, needs_s=0) for n, m in makers.items()])
    assert found is not None
    assert list(found) == ["fine"]
    assert len(found["fine"]["rounds_per_s"]) == PLAN.rounds
    assert puts(said) == {"kind/name": found}
    assert left_out(said) == {
        "kind name: broken": "RuntimeError: out of memory",
        "kind name: late": "ValueError: never",
    }
    assert closed == ["late"]


def test_what_has_no_time_left_is_not_begun(said):
    notes = Notes(PLAN, "tiny", emit=said.append, seconds=5)
    assert notes.attempt("long", lambda: pytest.fail("it was begun"), needs_s=100) is None
    assert left_out(said) == {"long": "it takes about 100 s, and 5 s were left"}
    assert notes.attempt("short", lambda: 7, needs_s=1) == 7


def test_operations_of_the_products_are_counted(notes):
    """By hand: 4 trials, 16 rows of 4 tokens, width 16; a layer has 12 d² weights, each product counts twice, and
    there are three of each."""
    made = products.of_the_model(notes, "float32")
    assert made.call() == 4 * 3 * 2 * (16 * 4) * 12 * 16**2
    assert products.square(notes, 64, "bf16").call() == 2 * 64**3


def test_evaluations_of_what_few_trials_are_later_measured_with_are_built_too(notes):
    made = {build.name: build.evaluated for build in builds._builds(notes)}
    main = {"float32 4": True, "tf32 4": True, "bf16 4": True}
    assert made == {**main, "float32 2": False, "float32 1": True}


def test_the_engines_rates_are_of_all_trials(notes, said):
    engines.measure(notes)
    found = puts(said)
    assert "eager float32 4" in found["engines/float32"]
    assert "eager float32 1" in found["engines/fewer trials"]
    assert engines.engine(notes, "eager", "float32", 4).make().call() == 4 * engines.TURN_STEPS
    # What a trial cannot have is said to be left out.
    missing = {"tf32", "bf16"} - {*engines.precisions(notes)}
    assert {what.split()[-1] for what in left_out(said)} == missing


def test_what_the_engine_will_need_is_built_beforehand(monkeypatch, notes, said):
    """The first and the last of what is needed: each is a process."""
    first, *_, last = builds._builds(notes)
    monkeypatch.setattr(builds, "_builds", lambda notes: [first, last])
    builds.measure(notes)
    assert said == []  # on a CPU nothing is compiled
    builds.build(notes, "grokray")
    found = puts(said)
    assert {*found} == {"builds/float32 4", "builds/float32 1"}
    assert all(value["warm_up_s"] > 0 for value in found.values())
    assert not left_out(said)


def test_what_cannot_be_built_is_left_out_and_why(monkeypatch, notes, said):
    monkeypatch.setattr(builds, "_builds", lambda notes: [builds.Build("float32 4", TINY, 4, False)])
    builds.build(notes, "nobody")
    assert left_out(said) == {"building float32 4": "WorkerError: KeyError: 'nobody'"}


def test_upkeep_is_measured_beside_the_same_without_it(monkeypatch, notes, said):
    measure, evaluated = Stack.measure, set()
    monkeypatch.setattr(Stack, "measure", lambda self, seats: evaluated.add(len(seats)) or measure(self, seats))
    upkeep.measure(notes)
    assert evaluated == {4}  # all at once
    found = puts(said)
    assert not left_out(said)
    for name in ("upkeep/evaluation", "upkeep/evaluation, 4 × as many"):
        evaluation = found[name]
        assert evaluation["trials"] == 4
        assert evaluation["share"] < 1
        assert math.isfinite(evaluation["ms"])  # with so tiny models it may be noise
    assert tiles.EVALUATED_ELEMENTS == 1 << 22  # as it was
    assert found["upkeep/churn"]["ratio"] > 0
    parameters = 16 * (13 + 4) + 12 * 16**2 + 13 * 16 + 2 * 16 * 4  # about, of a tiny trial
    assert found["upkeep/checkpoints"]["size_mib"] * 2**20 > 3 * 4 * parameters  # with two moments
    assert found["upkeep/checkpoints"]["trials"] == 4


def test_curves_are_compared_in_one_bucket_and_between_buckets(monkeypatch, notes, said):
    monkeypatch.setattr(exactness, "precisions", lambda notes: ["float32"])
    exactness.measure(notes)
    value = puts(said)["exactness/eager float32"]
    assert value == {"identical_in_bucket": True, "in_bucket": 0.0, "between_buckets": 0.0, "steps": 20}


def test_curves_that_differ_are_seen_to():
    a = [{"train_loss": 1.0, "heldout_loss": 2.0, "train_exact_match": 0.0}]
    b = [{"train_loss": 1.0, "heldout_loss": 2.25, "train_exact_match": 1.0}]
    assert exactness.difference(a, b) == 0.25
    assert exactness.difference(a, [{"train_loss": math.nan, "heldout_loss": 2.0}]) == math.inf


def test_stability_has_both_weight_decays(notes, said):
    stability.measure(notes)
    found = {name: value for name, value in puts(said).items() if "float32" in name}
    assert list(found) == ["stability/float32, weight decay 1", "stability/float32, weight decay 0"]
    assert all(value["trials"] == 2 and value["steps"] == 60 for value in found.values())


def test_rivals_that_are_not_installed_are_said_to_be_left_out(notes, said, monkeypatch):
    monkeypatch.setattr("peers.installed", lambda name: not name.startswith("jax"))
    rivals.measure(notes)
    rivals.measure_plain(notes)
    assert left_out(said) == dict.fromkeys(("jax_pruned", "jax"), "not installed")
    heats = {name: [*value] for name, value in puts(said).items()}
    assert heats == {
        "rivals/hfta, float32": ["eager float32 4", "hfta_pruned 2", "hfta 2"],
        "rivals/vmap, float32": ["eager float32 4", "vmap_pruned 2", "vmap 2"],
        "rivals/plain, float32": ["eager float32 4", "plain 1"],
    }


def test_processes_train_at_the_same_time(notes, said):
    processes.measure(notes)
    found = puts(said)
    assert [*found] == ["processes/plain/1", "processes/plain/2"]
    assert all(value["per_s"] > 0 for value in found.values())


def test_a_remote_contestant_trains_as_many_steps_as_it_says():
    made = remote(Worker("hfta", TINY, 3))
    assert made.call() + made.call() == 6  # trials
    made.wait()
    made.close()
    with pytest.raises((WorkerError, ValueError, OSError)):
        made.wait()


def test_a_part_is_a_process_that_is_ended_when_its_time_is_over(monkeypatch):
    monkeypatch.setattr(process, "GRACE_S", 0.0)
    part = process.PartProcess(PLAN, "tiny", "stability")
    took = []
    assert part.run({}, 0.2, took.append) == "ended after 0 s, unfinished"
    part.end()
    assert part._process.returncode == -9


def test_a_part_does_not_outlive_a_run_that_is_killed():
    part = process.PartProcess(replace(PLAN, collapse_steps=10**6), "tiny", "stability")
    part._tell({"seconds": 600, "found": {}})
    assert part._process.stdin is not None
    part._process.stdin.close()  # as with whoever held it
    try:
        assert part._process.wait(timeout=60) == 1
    finally:
        part.end()


def test_results_are_written_whenever_something_is_found(tmp_path, capfd):
    results: dict = {}
    whole = run.Run(PLAN, budget_s=120, name="gpu-test", folder=tmp_path, results=results)
    written = []
    whole._take = lambda case, m, take=whole._take: (
        take(case, m),
        written.append((tmp_path / "gpu-test.json").exists()),
    )
    whole.parts([("tiny", "products"), ("tiny", "stability")])
    found = json.loads((tmp_path / "gpu-test.json").read_text())
    assert [*found["cases"]["tiny"]] == ["products", "stability"]
    assert [*found["part_s"]] == ["tiny products", "tiny stability"]
    assert any(written[:-1])
    text = report(PLAN, results)
    assert "stability, float32, weight decay 1: trials 2" in text


def test_a_part_that_hangs_at_the_end_is_ended_within_the_budget():
    reporting_s = 4.0
    assert process.GRACE_S + reporting_s <= run.RESERVE_S


def test_the_budget_begins_with_the_process():
    code = "import time; from card.run import running_s; time.sleep(0.3); print(running_s())"
    command = [sys.executable, "-c", code]
    start = time.monotonic()
    done = subprocess.run(command, cwd=BENCHMARKS, capture_output=True, text=True, check=True)
    assert 0.3 <= float(done.stdout) <= time.monotonic() - start + 0.1


def test_parts_for_which_no_time_is_left_are_said_to_be_left_out(tmp_path):
    results: dict = {}
    run.Run(PLAN, budget_s=0, name="gpu-test", folder=tmp_path, results=results).parts([*order(PLAN)])
    assert [*results["left_out"]] == [f"tiny {part}" for part in PARTS]
    assert (tmp_path / "gpu-test.json").exists()


def test_the_report_sets_ratios_beside_their_targets():
    def result(*rounds: float) -> dict:
        rate = sorted(rounds)[len(rounds) // 2]
        return {"per_s": rate, "rounds_per_s": rounds, "build_s": 1.0, "warm_up_s": 1.0, "peak_gib": 2.0}

    flops = Case.of(PLAN.cases["tiny"].parameters).flops
    found = {
        "products": {"float32": {"64": result(100 * flops), "the model's": result(50 * flops)}},
        "engines": {"float32": {"compiled float32 4": result(30.0)}},
        "processes": {"plain": {"1": result(1.0), "2": result(2.0)}},
        "rivals": {
            "hfta, float32": {
                # In the same round the engine is three times as fast, whatever the rounds are like.
                "compiled float32 4": result(30.0, 60.0, 90.0),
                "hfta 2": result(10.0, 20.0, 30.0),
                "hfta_pruned 2": result(1.0, 1.0, 1.0),
            },
            "jax, float32": {"compiled float32 4": result(30.0), "jax 2": result(60.0)},
        },
        "upkeep": {"churn": {"ratio": 0.95}, "evaluation": {"share": 0.06, "ms": 1.0}},
    }
    text = report(
        PLAN, {"cases": {"tiny": found}, "left_out": {"tiny x": {"y": "no time"}}, "remarks": ["grokray: look"]}
    )
    lines = [" ".join(line.split()) for line in text.splitlines()]
    assert "× best of a process a trial 30 >= 20 met" in lines  # 60 over 2
    assert "× best of hfta, float32 3 >= 2 met" in lines
    assert "× best of jax, float32 0.5 >= 1 not met" in lines
    assert "× best of vmap, float32 >= 2 not measured" in lines
    assert "share of the ceiling, float32 0.6 >= 0.4 met" in lines
    assert "churn over steady 0.95 >= 0.9 met" in lines
    assert "share of time in evaluations 0.06 <= 0.05 not met" in lines
    assert f"float32: {60 * 1800 / 2500:.0f}" in lines
    assert "tiny x, y: no time" in lines
    assert "grokray: look" in lines


@pytest.mark.parametrize("part", ["rivals", "rivals_tf32", "rivals_plain"])
def test_jax_can_be_begun_in_each_part_that_has_it(part):
    """In its first heat, or after one in which something is compiled."""
    for plan in (full_plan("cuda"), PLAN):
        assert PARTS[part].at_most_s > 2 * plan.compile_s + plan.jax_s


def test_plans_travel_as_json():
    for plan in (full_plan("cuda"), PLAN):
        assert Plan.from_json(json.loads(json.dumps(plan.as_json()))) == plan


def test_what_the_package_says_about_itself_is_handed_on():
    stream, taken = io.StringIO(), []
    remarks = Remarks(stream, taken.append)
    print("grokray: going on without", file=remarks)
    print("else", "grokray: within a line", file=remarks)
    assert taken == ["grokray: going on without"]
    assert stream.getvalue() == "grokray: going on without\nelse grokray: within a line\n"


def test_an_error_is_told_in_one_line():
    assert one_line(MemoryError()) == "MemoryError"
    assert len(one_line(RuntimeError("x" * 1000))) == 160


@pytest.mark.slow
def test_the_rehearsal_takes_every_part(tmp_path):
    command = [sys.executable, str(BENCHMARKS / "gpu.py"), "--device", "cpu", "--quick", "--out", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=400, check=True)
    found = json.loads((tmp_path / "gpu-cpu-quick.json").read_text())
    assert [*found["part_s"]] == [f"tiny {part}" for part in PARTS]
    measured = {"products", "engines", "processes", "rivals", "upkeep", "exactness", "stability"}
    assert measured == {*found["cases"]["tiny"]}
    assert all("the rest" not in what for what in found["left_out"].values())
    assert "projected, not measured" in done.stdout


def test_a_gpu_that_is_not_there_is_one_clear_error(monkeypatch, capsys):
    import gpu

    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr(sys, "argv", ["gpu.py"])
    with pytest.raises(SystemExit, match="2"):
        gpu.main()
    assert "--device is cuda, but PyTorch" in capsys.readouterr().err


def test_a_file_that_is_to_be_the_results_folder_is_one_clear_error(monkeypatch, tmp_path, capsys):
    import gpu

    (tmp_path / "file").touch()
    monkeypatch.setattr(sys, "argv", ["gpu.py", "--device", "cpu", "--out", str(tmp_path / "file")])
    with pytest.raises(SystemExit, match="2"):
        gpu.main()
    assert "which cannot be a folder: File exists" in capsys.readouterr().err


def test_results_are_written_whole_or_not_at_all(monkeypatch, tmp_path):
    harness.write("gpu-test", {"found": 1}, tmp_path)
    whole = Path.write_text

    def cut_short(self: Path, text: str) -> int:
        whole(self, text[: len(text) // 2])
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "write_text", cut_short)
    with pytest.raises(KeyboardInterrupt):
        harness.write("gpu-test", {"found": 2}, tmp_path)
    assert json.loads((tmp_path / "gpu-test.json").read_text())["found"] == 1


def test_an_earlier_run_is_kept_but_for_what_it_said_about_parts_that_are_measured_anew(tmp_path):
    import gpu

    old = {
        "cases": {"wide": {"products": 1}},
        "left_out": {"wide rivals": {"jax": "not installed"}, "wide rivals_tf32": {"all of it": "no time"}},
        "part_s": {"wide products": 3.0},
        "remarks": ["wide rivals: grokray: one", "wide upkeep: grokray: two"],
    }
    path = tmp_path / "old.json"
    path.write_text(json.dumps({"machine": {}, **old}))
    kept = gpu._kept(path, [("wide", "rivals")])
    assert kept == {
        **old,
        "left_out": {"wide rivals_tf32": {"all of it": "no time"}},
        "remarks": ["wide upkeep: grokray: two"],
    }
    assert gpu._kept(tmp_path / "none.json", []) == {}
    path.write_text("half of i")
    with pytest.raises(SystemExit, match="old.json cannot be kept: it is no JSON"):
        gpu._kept(path, [])


def test_memory_of_a_gpu_is_counted_from_what_was_there_before(monkeypatch):
    held = SimpleNamespace(now=3 << 30, most=7 << 30)
    for name, value in {
        "synchronize": lambda: None,
        "reset_peak_memory_stats": lambda: setattr(held, "most", held.now),
        "memory_allocated": lambda: held.now,
        "max_memory_allocated": lambda: held.most,
        "get_device_name": lambda device: "NVIDIA H100 80GB HBM3",
    }.items():
        monkeypatch.setattr(f"torch.cuda.{name}", value)
    peak = device.Peak("cuda")
    assert peak.gib == 0
    held.most = 5 << 30
    assert peak.gib == 2
    assert device.Peak("cpu").gib is None
    assert device.card_name("cuda") == "nvidia-h100-80gb-hbm3"


@pytest.mark.parametrize(("precision", "inside"), [("float32", "highest"), ("tf32", "high")])
def test_products_of_others_are_in_the_asked_precision_for_as_long(precision, inside):
    with device.products_in(precision):
        assert torch.get_float32_matmul_precision() == inside
    assert torch.get_float32_matmul_precision() == "highest"
