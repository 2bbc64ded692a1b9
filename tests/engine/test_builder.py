from __future__ import annotations

import time

from grokray.engine.builder import Builder


def hanging(tmp_path, patience: float) -> Builder:
    return Builder("tests.engine.hanging", {"patience": patience}, log=tmp_path / "logs" / "log")


def test_a_process_that_hangs_says_where_and_ends(tmp_path):
    build = hanging(tmp_path, patience=0.5)
    assert build.wait() == 1
    assert not build.running
    assert 'tests/engine/hanging.py", line' in build.log.read_text()
    assert "in hang" in build.log.read_text()


def test_nothing_is_imported_from_the_working_directory(tmp_path, monkeypatch):
    for name in ("random.py", "json.py", "grokray.py", "tests.py"):
        (tmp_path / name).write_text("raise SystemExit('taken from the working directory')")
    monkeypatch.chdir(tmp_path)
    build = hanging(tmp_path, patience=0.5)
    build.wait()
    assert "in hang" in build.log.read_text()


def test_a_process_that_nobody_needs_any_more_ends_at_once(tmp_path):
    build = hanging(tmp_path, patience=600)
    while not build.log.read_text():
        time.sleep(0.01)
    assert build.running
    build.stop()
    assert not build.running
    assert build.log.read_text() == "hanging\n"
