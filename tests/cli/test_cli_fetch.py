"""`grokray fetch`: a copy that the other commands work on."""

from __future__ import annotations

from grokray.cli.main import main
from grokray.records.collect import collect


def test_a_copy_is_looked_at_like_the_sweep_itself(begun, tmp_path, capsys):
    folder = begun()
    collect(folder)
    copy = str(tmp_path / "a copy")
    assert main(["fetch", str(folder.store), copy]) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith("3 files copied (")
    assert second == f"look at it: grokray analyze '{copy}'"
    assert main(["status", copy]) == 0
    assert "8 trials: 2 ended · 1 begun · 5 waiting" in capsys.readouterr().out
    assert main(["analyze", copy]) == 0
    assert main(["fetch", str(folder.store), copy]) == 0
    assert "0 files copied (0 bytes), 3 were there already" in capsys.readouterr().out


def test_tables_only(begun, tmp_path, capsys):
    folder = begun()
    collect(folder)
    assert main(["fetch", str(folder.store), str(tmp_path / "copy"), "--tables"]) == 0
    assert capsys.readouterr().out.startswith("2 files copied (")
    assert not (tmp_path / "copy/journal").exists()


def test_a_sweep_without_tables_is_for_status(begun, tmp_path, capsys):
    folder = begun()
    assert main(["fetch", str(folder.store), str(tmp_path / "copy")]) == 0
    assert f"look at it: grokray status {tmp_path}/copy" in capsys.readouterr().out


def test_the_parts_of_a_sweep_are_copied_side_by_side(begun, tmp_path, capsys):
    for number in (1, 2):
        collect(begun(f"parts/part-{number}of2"))
    assert main(["fetch", str(tmp_path / "parts"), str(tmp_path / "copy")]) == 0
    assert sorted(path.name for path in (tmp_path / "copy").iterdir()) == ["part-1of2", "part-2of2"]
    assert main(["status", str(tmp_path / "copy")]) == 0
    assert capsys.readouterr().out.count("8 trials: 2 ended") == 2


def test_another_folder_is_refused(begun, tmp_path, capsys):
    folder = begun()
    (tmp_path / "other").mkdir()
    (tmp_path / "other/a.txt").write_text("")
    assert main(["fetch", str(folder.store), str(tmp_path / "other")]) == 2
    assert "is not empty and holds no sweep" in capsys.readouterr().err
    assert main(["fetch", str(tmp_path / "nowhere"), str(tmp_path / "copy")]) == 2
    assert "is no sweep's folder" in capsys.readouterr().err
