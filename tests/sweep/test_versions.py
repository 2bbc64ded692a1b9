"""What a result was made with."""

from __future__ import annotations

import shutil
import subprocess
from types import SimpleNamespace
from typing import Any, cast

import pytest

from grokray.analysis.report.page import _origin
from grokray.sweep import versions
from tests.analysis.tables import trials_of


@pytest.mark.skipif(shutil.which("git") is None, reason="needs git")
def test_a_clone_says_its_commit_and_whether_it_was_changed(tmp_path, monkeypatch):
    def git(*words: str) -> str:
        who = ("-c", "user.name=a", "-c", "user.email=a@b")
        return subprocess.run(["git", *who, *words], cwd=tmp_path, check=True, capture_output=True, text=True).stdout

    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
    file = tmp_path / "code.py"
    file.write_text("a = 1")
    git("init", "-q")
    git("add", ".")
    git("commit", "-q", "-m", "first")
    git("tag", "-a", "v1", "-m", "a version")
    first = git("rev-parse", "HEAD")[:12]
    versions.commit.cache_clear()
    assert versions.commit(tmp_path) == first
    file.write_text("a = 2")
    versions.commit.cache_clear()
    assert versions.commit(tmp_path) == f"{first}-dirty"


def test_what_is_no_clone_has_no_commit(tmp_path, monkeypatch):
    assert versions.commit(tmp_path) is None
    (tmp_path / "broken" / ".git").mkdir(parents=True)
    assert versions.commit(tmp_path / "broken") is None
    monkeypatch.setattr(versions, "commit", lambda: None)
    assert versions.made_with() == versions.versions()
    monkeypatch.setattr(versions, "commit", lambda: "b303769ca12f")
    assert versions.made_with() == {**versions.versions(), "commit": "b303769ca12f"}


def test_a_report_names_the_commits_that_trained_a_sweep():
    visits = [
        {"command": "grokray sweep a.yaml", "versions": one} for one in ({"commit": "1a"}, {"commit": "2b"}, None)
    ]
    folder = cast(Any, SimpleNamespace(meta={"commands": visits}, sweep_yaml=""))
    trials = trials_of(2, grokray_version="0.1.0", torch_version="2.13.0").append_column("sweep", [["a", "a"]])
    assert _origin(folder, trials, "a").versions == "grokray 0.1.0 (commit 1a and 2b), torch 2.13.0"
    visits[:] = [{"command": "grokray sweep a.yaml", "versions": {"grokray": "0.1.0"}}]
    assert _origin(folder, trials, "a").versions == "grokray 0.1.0, torch 2.13.0"
