from __future__ import annotations

import hashlib
import json
import os
import re
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, nullcontext
from unittest.mock import Mock

import duckdb
import pandas as pd
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from records_helpers import VERSIONS, event, little_room, make_folder, measurement, memory_store, trial_event

from grokray.errors import FolderBusy, FolderError
from grokray.records import collect as collect_module
from grokray.records import tables
from grokray.records.collect import collect
from grokray.records.folder import SweepFolder
from grokray.records.lock import hold
from grokray.records.schema import CURVES_SCHEMA, METRICS, TRIALS_SCHEMA, arrow_field, curves_schema
from grokray.records.tables import curve_columns, curve_parts, read_curves, read_manifest, read_trials
from grokray.trial import TrialConfig

IDS = [trial_event(i)["trial_id"] for i in range(4)]
GROKKED = {
    "memorization_step": 200,
    "memorization_step_lower": 100,
    "grok_step": 1400,
    "grok_step_lower": 1300,
    "train_phase_step": 200,
    "heldout_phase_step": 1400,
}


@pytest.fixture
def folder(tmp_path):
    """Four trials: grokked, pruned, failed and still running."""
    folder = make_folder(tmp_path / "sweep")
    a, b, c, d = IDS
    with folder.writer("driver") as driver, folder.writer("engine") as engine:
        driver.write("sweep", session="s", versions=VERSIONS, command="grokray run", fingerprint={})
        # Read after the driver's part, and the highest index first: the tables are sorted all the same.
        driver.write_many([trial_event(i) | {"t": 2.0} for i in (3, 1, 0, 2)])
        engine.write_many([event("start", 4e9, trial_id=i, attempt=1, step=0, engine="e") for i in (a, b, d)])
        engine.write_many(
            [
                measurement(b, 100, metrics={"heldout_exact_match": 0.25, "task/x+y": 0.5, "train_loss": float("nan")}),
                measurement(a, 1600, metrics={"heldout_exact_match": 1.0, "heldout_loss": 0.1}, events=GROKKED),
                measurement(a, 200, metrics={"heldout_exact_match": 0.0}),
                measurement(b, 200, metrics={"heldout_exact_match": 0.2, "train_loss": float("inf")}, attempt=1),
                measurement(b, 200, metrics={"heldout_exact_match": 0.1, "train_loss": 7.0}, attempt=2, wall_time_s=5),
                measurement(d, 100),
            ]
        )
        engine.write("finish", trial_id=a, attempt=1, step=1600, outcome="grokked")
        driver.write("end", trial_id=a, outcome="pruned", step=1600)
        driver.write("end", trial_id=b, outcome="pruned", step=200)
        driver.write("failure", trial_id=c, attempt=1, error="out of memory", fault="trial")
        driver.write("end", trial_id=c, outcome="failed", error="out of memory")
    return folder


def rows(folder):
    return read_trials(folder).to_pylist()


def test_one_row_a_trial(folder):
    collected = collect(folder)
    assert (collected.trials_rows, collected.curve_rows, collected.damaged_lines) == (4, 5, 0)
    grokked, pruned, failed, running = rows(folder)
    assert [row["trial_id"] for row in rows(folder)] == IDS
    expected = {
        "state": "ended",
        "outcome": "grokked",
        "phase": "grokking",
        "memorization_step": 200,
        "grok_step": 1400,
        "grok_step_lower": 1300,
        "grok_delay": 1200,
        "duration_steps": 1400,
        "event_observed": True,
        "censor_reason": None,
        "steps_trained": 1600,
        "wall_time_s": 16.0,
        "final_heldout_exact_match": 1.0,
        "best_heldout_exact_match_step": 1600,
        "best_heldout_loss": 0.1,
        "operation": "x/y_mod",
        "base": None,
        "init_seed": 0,
        "grokray_version": "0.1.0",
        "torch_version": "2.13.0",
        "ray_version": "2.60.0",
    }
    assert {name: grokked[name] for name in expected} == expected
    expected = {
        "outcome": "pruned",
        "grok_step": None,
        "grok_delay": None,
        "duration_steps": 200,
        "event_observed": False,
        "censor_reason": "pruned",
        "final_train_loss": 7.0,
        "best_heldout_exact_match": 0.25,
        "wall_time_s": 5.0,
    }
    assert {name: pruned[name] for name in expected} == expected
    expected = {"duration_steps": 0, "censor_reason": "failed", "phase": None, "error": "out of memory"}
    assert {name: failed[name] for name in expected} == expected
    assert failed["grokray_version"] is None
    expected = {"state": "running", "outcome": None, "censor_reason": "running", "duration_steps": 100}
    assert {name: running[name] for name in expected} == expected


def test_a_row_says_with_what_kernels_its_trial_is_trained(folder):
    with folder.writer("engine") as engine:
        engine.write("kernels", trial_id=IDS[0], compiled=True)
        engine.write("kernels", trial_id=IDS[1], compiled=False)
    collect(folder)
    assert read_trials(folder)["compiled"].to_pylist() == [True, False, None, None]


def test_a_row_says_what_was_taken_of_a_checkpoint_and_of_none_where_there_is_none(tmp_path):
    folder = make_folder(tmp_path)
    events = [trial_event(0), *(trial_event(i, initial_checkpoint="w.pt") for i in (1, 2)), trial_event(3)]
    events[2] = trial_event(2, initial_checkpoint="w.pt", initial_parts="blocks")
    for older in (events[1], events[3]):  # of before it could be said
        del older["config"]["initial_parts"]
    with folder.writer("driver") as driver:
        for one in events:
            driver.write(one.pop("event"), **{key: value for key, value in one.items() if key != "t"})
    collect(folder)
    assert [row["initial_parts"] for row in rows(folder)] == [None, "embeddings,blocks,head", "blocks", None]


def test_curves_are_sorted_and_the_latest_attempt_counts(folder):
    collect(folder)
    curves = read_curves(folder)
    assert curves.schema == curves_schema(["task/x+y"])
    keys = [(row["trial_index"], row["step"], row["attempt"]) for row in curves.to_pylist()]
    assert keys == [(0, 200, 1), (0, 1600, 1), (1, 100, 1), (1, 200, 2), (3, 100, 1)]
    assert curves["trial_id"].to_pylist() == [IDS[i] for i in (0, 0, 1, 1, 3)]
    assert curves["train_loss"].to_pylist()[2:4] == [None, 7.0]
    assert curves["task/x+y"].to_pylist() == [None, None, 0.5, None, None]
    some = read_curves(folder, [IDS[3], IDS[0], "unknown"])
    assert some["trial_index"].to_pylist() == [0, 0, 3]
    assert read_curves(folder, []).num_rows == 0


def test_collecting_twice_gives_equal_tables(folder):
    collect(folder)
    trials, curves, files = read_trials(folder), read_curves(folder), read_manifest(folder)["files"]
    collect(folder, folder.state())
    assert read_trials(folder).equals(trials, check_metadata=True)
    assert read_curves(folder).equals(curves, check_metadata=True)
    assert read_manifest(folder)["files"] == files
    assert len(folder.store.list("curves")) == 1


def test_the_manifest_describes_the_files(folder):
    collected = collect(folder, part_rows=2)
    manifest = json.loads(folder.store.read_bytes("manifest.json"))
    assert manifest["schema_version"] == 1
    assert [file["rows"] for file in manifest["files"]] == [4, 2, 2, 1]
    names = [file["name"] for file in manifest["files"]]
    assert names[0] == "trials.parquet"
    assert all(re.fullmatch(rf"curves/part-{i:05d}-[0-9a-f]{{8}}\.parquet", n) for i, n in enumerate(names[1:]))
    for file in manifest["files"]:
        data = folder.store.read_bytes(file["name"])
        assert (file["bytes"], file["sha256"]) == (len(data), hashlib.sha256(data).hexdigest())
    assert collected.trials_path == str(folder.store.local_path("trials.parquet"))
    assert [os.path.exists(path) for path in collected.curve_paths] == [True] * 3


def test_parts_spilled_to_disk_equal_one_part(folder, monkeypatch):
    collect(folder)
    whole = read_curves(folder)
    monkeypatch.setattr("grokray.records.curves._SPILL_ROWS", 1)
    collect(folder, part_rows=1)
    assert len(read_manifest(folder)["files"]) == 4
    assert read_curves(folder).equals(whole)
    assert read_curves(folder, [IDS[1]]).num_rows == 2


def test_stale_parts_go_once_the_manifest_is_in_place(folder, monkeypatch):
    collect(folder)
    [old] = folder.store.list("curves")
    with folder.writer("engine") as writer:
        writer.write_many([measurement(IDS[3], 200)])

    def crash(*_, **__):
        raise RuntimeError("crash")

    with monkeypatch.context() as patch:
        patch.setattr(collect_module, "_write_manifest", crash)
        with pytest.raises(RuntimeError, match="crash"):
            collect(folder)
    assert old in folder.store.list("curves")
    assert read_curves(folder).num_rows == 5  # the old set, whole
    collect(folder)
    assert read_curves(folder).num_rows == 6
    assert old not in folder.store.list("curves")
    assert len(folder.store.list("curves")) == 1


def test_what_a_killed_collect_left_half_written_goes(folder):
    collect(folder)
    names = (
        ".trials.parquet.0a1b2c3d.tmp",
        ".manifest.json.0a1b2c3d.tmp",
        "curves/.part-00000-ab.parquet.0a1b2c3d.tmp",
    )
    for name in names:
        folder.store.local_path(name).touch()
    collect(folder)
    assert not list(folder.store.local_path().rglob("*.tmp"))


def test_a_disk_that_is_full_is_said_wherever_it_is_met(folder, monkeypatch):
    monkeypatch.setattr("grokray.records.curves._SPILL_ROWS", 1)
    with little_room(), pytest.raises(FolderError, match=r"cannot write .*grokray-curves-\w+: File too large$"):
        collect(folder)
    with little_room(0), pytest.raises(FolderError, match=r"cannot lock .*curves/\.lock: File too large$"):
        collect(folder)
    assert collect(folder).trials_rows == len(folder.state().trials)


def test_both_tables_tell_of_one_moment(folder):
    state = folder.state()
    with folder.writer("driver") as writer:
        new = trial_event(9)
        later = [measurement(IDS[3], 200), new, measurement(new["trial_id"], 50)]
        writer.write_many(later)
    collect(folder, state)
    assert read_curves(folder, [IDS[3]])["step"].to_pylist() == [100]
    assert read_trials(folder).num_rows == 4


def test_an_empty_sweep(tmp_path):
    folder = make_folder(tmp_path)
    collected = collect(folder)
    assert (collected.trials_rows, collected.curve_rows) == (0, 0)
    assert read_trials(folder).schema.equals(TRIALS_SCHEMA, check_metadata=True)
    assert read_curves(folder).schema.equals(CURVES_SCHEMA, check_metadata=True)


def test_tables_without_a_journal_are_not_overwritten(folder):
    collect(folder)
    folder.store.delete_tree("journal")
    with pytest.raises(FolderError, match="holds tables but no journal, so they cannot be made anew"):
        collect(folder)
    assert read_trials(folder).num_rows == 4
    # Of an empty sweep nothing can be lost.
    empty = make_folder(folder.store.local_path("empty"))
    assert [collect(empty).trials_rows, collect(empty).trials_rows] == [0, 0]


def cut(folder: SweepFolder, role: str) -> None:
    """A journal part loses its last two lines."""
    (name,) = (name for name in folder.store.list("journal") if role in name)
    lines = folder.store.read_bytes(name).splitlines(keepends=True)
    folder.store.write_atomic(name, b"".join(lines[:-2]))


def test_tables_do_not_shrink_with_a_journal_that_lost_a_part(folder):
    before = collect(folder)
    assert (before.curve_rows, before.cut_short) == (5, 0)
    cut(folder, "engine")  # a measurement and an end
    cut(folder, "engine")  # two measurements, one of them of an attempt that the next made up for
    pattern = r"journal has lost a part: the tables hold 2 rows more than it tells of, so they are not made anew"
    with pytest.raises(FolderError, match=pattern) as raised:
        collect(folder)
    assert "manifest.json to go on with what is left" in str(raised.value.hint)
    with pytest.raises(FolderError, match=pattern):
        collect(folder, folder.state())
    assert read_curves(folder).num_rows == 5
    folder.store.delete("manifest.json")
    assert collect(folder).curve_rows == 3


def test_lines_that_cannot_be_read_are_lost_and_said_and_stop_nothing(folder):
    collect(folder)
    cut(folder, "engine")
    folder.store.write_atomic("journal/z.jsonl", b"damaged\ndamaged\n")
    again = collect(folder)
    assert (again.curve_rows, again.damaged_lines) == (4, 2)


def test_damage_that_would_take_most_of_the_tables_with_it_leaves_them_as_they_are(folder):
    collect(folder)
    for part in folder.store.local_path("journal").iterdir():
        part.write_bytes(b"".join(b"\xff" * (len(line) - 1) + b"\n" for line in part.read_bytes().splitlines(True)))
    before = read_trials(folder)
    with pytest.raises(FolderError, match="has lost a part: the tables hold 9 rows more than it tells of"):
        collect(folder)
    assert read_trials(folder).equals(before)


def test_tables_that_are_newer_than_what_the_caller_knows(folder):
    state = folder.state()
    with folder.writer("engine") as writer:
        writer.write_many([measurement(IDS[3], step) for step in (200, 300)])
    assert collect(folder).curve_rows == 7
    assert collect(folder, state).curve_rows == 7


def test_trials_that_ended_after_their_last_measurement_are_counted(folder):
    with folder.writer("engine") as writer:
        writer.write("finish", trial_id=IDS[3], attempt=1, step=5000, outcome="budget")
    assert collect(folder).cut_short == 1
    with folder.writer("engine") as writer:
        writer.write_many([measurement(IDS[3], 5000)])
    assert collect(folder).cut_short == 0


@pytest.mark.parametrize(
    ("edited", "said"),
    [
        ({"modulus": "x"}, "modulus of trial {} is 'x', but must be a whole number"),
        ({"operation": None}, "operation of trial {} is null, but must be text"),
        ({"num_steps": 10**30}, "num_steps of trial {} is 1000000000000000000000000000000, but must be a whole number"),
        ({"fixed_sequence_length": 3}, "fixed_sequence_length of trial {} is 3, but must be true or false"),
    ],
)
def test_a_config_that_was_edited_to_another_type_is_one_error_that_names_it(folder, edited, said):
    with folder.writer("driver") as driver:
        driver.write_many([trial_event(9)])
    part = folder.store.local_path(driver.name)
    line = json.loads(part.read_text())
    line["config"] |= edited
    part.write_text(json.dumps(line) + "\n")
    with pytest.raises(FolderError, match=said.format(line["trial_id"])) as raised:
        collect(folder)
    assert raised.value.exit_code == 2
    part.unlink()
    assert collect(folder).trials_rows == 4


def test_want_of_memory_is_not_taken_for_an_edited_journal(folder, monkeypatch):
    def out_of_memory(*_, **__):
        raise pa.ArrowMemoryError("malloc of size 64 failed")

    monkeypatch.setattr(pa, "RecordBatch", Mock(from_pylist=out_of_memory))
    with pytest.raises(MemoryError):
        collect(folder)


def test_damaged_lines_are_reported(folder):
    folder.store.write_atomic("journal/z.jsonl", b"damaged\n")
    assert collect(folder).damaged_lines == 1


def test_nothing_collected_yet(folder):
    with pytest.raises(FolderError, match="holds no tables yet"):
        read_trials(folder)


def test_damage_is_found(folder):
    collect(folder)
    path = folder.store.local_path("trials.parquet")
    data = bytearray(path.read_bytes())
    data[60] ^= 1
    path.write_bytes(data)
    with pytest.raises(FolderError, match="a table of .* is damaged"):
        read_trials(folder)
    [part] = folder.store.list("curves")
    folder.store.delete(part)
    with pytest.raises(FolderError, match="is missing"):
        read_curves(folder)
    folder.store.write_atomic("manifest.json", b"{}")
    with pytest.raises(FolderError, match=r"manifest.json is damaged"):
        read_trials(folder)
    collect(folder)
    assert len(rows(folder)) == 4


def test_no_number_is_read_off_a_flipped_bit(folder):
    collect(folder)
    [part] = folder.store.list("curves")
    path, there = folder.store.local_path(part), read_curves(folder)
    sound = path.read_bytes()
    footer = len(sound) - 8 - int.from_bytes(sound[-8:-4], "little")
    found = 0
    for place in range(4, footer, footer // 60):
        path.write_bytes(sound[:place] + bytes([sound[place] ^ 1]) + sound[place + 1 :])
        try:
            assert read_curves(folder).equals(there)
        except FolderError:
            found += 1
    assert found > 30


def test_tables_that_are_made_anew_while_they_are_read_are_read_again(folder, monkeypatch):
    collect(folder)
    old = read_manifest(folder)
    with folder.writer("engine") as writer:
        writer.write_many([measurement(IDS[3], 200)])
    collect(folder)
    seen = [old, old]
    monkeypatch.setattr(tables, "read_manifest", lambda folder: seen.pop() if seen else read_manifest(folder))
    assert read_curves(folder).num_rows == 6
    seen += [old] * 3
    with pytest.raises(FolderError, match=r"a table of .* is missing"):
        read_curves(folder)


def test_who_has_lost_the_lock_names_no_tables(folder, monkeypatch):
    class Lost:
        def require(self):
            raise FolderBusy("somebody else has it")

    monkeypatch.setattr(collect_module, "hold", lambda *_, **__: nullcontext(Lost()))
    with pytest.raises(FolderBusy):
        collect(folder)
    assert not folder.store.exists("manifest.json")


@pytest.mark.parametrize("read", [read_curves, curve_columns, lambda folder: [*curve_parts(folder, ["step"])]])
def test_curves_cut_short_are_damaged_however_they_are_read(read, folder):
    collect(folder)
    [part] = folder.store.list("curves")
    path = folder.store.local_path(part)
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(FolderError, match="a table of .* is damaged") as caught:
        read(folder)
    assert caught.value.hint == "grokray collect makes it anew"


def test_what_the_system_does_not_let_one_read_is_not_called_damaged(folder):
    collect(folder)
    path = folder.store.local_path("trials.parquet")
    path.unlink()
    path.mkdir()  # permissions would not hold root back
    with pytest.raises(FolderError, match=r"cannot read .*/trials\.parquet: Is a directory$"):
        read_trials(folder)


def test_only_one_process_collects(folder, monkeypatch):
    busy = pytest.raises(FolderBusy, match="in use by 'grokray collect'")
    monkeypatch.setattr("grokray.records.collect.WAIT_S", 0.1)
    with hold(folder.store, "curves/.lock", command="grokray collect"), busy:
        collect(folder)


def test_who_collects_while_another_process_does_waits_for_it(folder, monkeypatch):
    monkeypatch.setattr("grokray.records.collect.LOOK_S", 0.01)
    with ExitStack() as held, ThreadPoolExecutor() as pool:
        held.enter_context(hold(folder.store, "curves/.lock", command="grokray collect"))
        waiting = pool.submit(collect, folder)
        time.sleep(0.3)
        assert not waiting.done()
        held.close()
        assert waiting.result().trials_rows == 4


def test_pyarrow_pandas_and_duckdb_read_the_files(folder):
    collect(folder, part_rows=2)
    trials = folder.store.local_path("trials.parquet")
    curves = folder.store.local_path("curves")
    assert pq.read_table(trials).num_rows == 4
    assert pq.read_schema(trials).metadata[b"grokray.schema_version"] == b"1"
    assert ds.dataset(curves).to_table().num_rows == 5
    frame = pd.read_parquet(trials)
    assert frame["duration_steps"].dtype == "int64"
    assert frame["event_observed"].dtype == "bool"
    assert list(frame["censor_reason"].isna()) == [True, False, False, False]
    assert len(pd.read_parquet(curves)) == 5
    query = f"select t.outcome, max(c.step) from '{trials}' t join '{curves}/*.parquet' c using (trial_id) group by 1"
    assert set(duckdb.sql(query).fetchall()) == {("grokked", 1600), ("pruned", 200), (None, 100)}


def test_tables_on_an_object_store(folder):
    store = memory_store("s3://bucket/tables")
    for name in folder.store.list():
        store.write_atomic(name, folder.store.read_bytes(name))
    remote = SweepFolder(store, folder.meta)
    collect(folder)
    assert collect(remote).trials_path == "s3://bucket/tables/trials.parquet"
    assert read_trials(remote).equals(read_trials(folder))
    assert read_curves(remote, IDS[:2]).equals(read_curves(folder, IDS[:2]))


def test_columns_have_the_types_of_the_config():
    expected = {
        "operation": pa.field("operation", pa.string(), nullable=False),
        "task_type": pa.field("task_type", pa.string(), nullable=False),
        "base": pa.field("base", pa.int64()),
        "digit_order": pa.field("digit_order", pa.string()),
        "fixed_sequence_length": pa.field("fixed_sequence_length", pa.bool_(), nullable=False),
        "weight_decay": pa.field("weight_decay", pa.float64(), nullable=False),
        "num_steps": pa.field("num_steps", pa.int64(), nullable=False),
        "seed": pa.field("seed", pa.int64()),
        "event_observed": pa.field("event_observed", pa.bool_(), nullable=False),
        "final_out_of_domain_exact_match": pa.field("final_out_of_domain_exact_match", pa.float64()),
    }
    assert {name: TRIALS_SCHEMA.field(name) for name in expected} == expected
    assert set(TrialConfig.model_fields) <= set(TRIALS_SCHEMA.names)
    assert len(TRIALS_SCHEMA.names) == len(set(TRIALS_SCHEMA.names))
    assert len(METRICS) == 9


@pytest.mark.parametrize("annotation", [list[int], int | str, dict])
def test_a_type_without_a_column_is_refused(annotation):
    with pytest.raises(TypeError, match="x has type"):
        arrow_field("x", annotation)


def test_a_metric_named_as_a_column_takes_no_second_one():
    assert curves_schema(["step", "wall_time_s", "zz", "aa"]).names == [
        *CURVES_SCHEMA.names[:-1],
        "aa",
        "zz",
        "wall_time_s",
    ]


def test_a_field_that_an_older_version_did_not_know_had_its_default(tmp_path):
    folder = make_folder(tmp_path)
    old = trial_event(0)
    del old["config"]["norm"]
    with folder.writer("driver") as writer:
        writer.write_many([old])
    collect(folder)
    assert rows(folder)[0]["norm"] == "pre"


def test_what_the_scheduler_wanted_is_told_of_pruned_and_of_audited_trials(tmp_path):
    """One is pruned with an audit, one before there were audits, one is audited, one goes on."""
    folder = make_folder(tmp_path / "sweep")
    with folder.writer("driver") as driver:
        driver.write_many([trial_event(i) for i in range(4)])
        for trial_id, action, more in (
            (IDS[0], "stop", {"audit_probability": 0.25}),
            (IDS[1], "stop", {}),
            (IDS[2], "audit", {"audit_probability": 0.25}),
            (IDS[3], "continue", {}),
        ):
            driver.write("decision", trial_id=trial_id, step=100, rung=100, action=action, **more)
            outcome = "pruned" if action == "stop" else "budget"
            driver.write("end", trial_id=trial_id, outcome=outcome, step=100)
    collect(folder)
    columns = ("outcome", "stop_step", "audited", "audit_probability")
    assert [tuple(row[c] for c in columns) for row in rows(folder)] == [
        ("pruned", 100, False, 0.25),
        ("pruned", 100, False, 0.0),
        ("budget", 100, True, 0.25),
        ("budget", None, False, None),
    ]
