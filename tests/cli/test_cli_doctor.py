"""`grokray doctor`: what it prints, and its exit code."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import grokray
from grokray.cli.main import main
from grokray.sweep import examine as module
from grokray.sweep.doctor import Finding

GOOD = Finding(check="gpu", level="ok", text="no GPU")
BAD = Finding(check="secrets", level="fault", text="~/.netrc has mode 0644", cure="chmod 600 ~/.netrc", where="node-1")
SO_SO = Finding(check="compiler", level="warning", text="no C++ compiler", cure="apt-get install g++")


@pytest.fixture
def found(monkeypatch):
    def set_up(*findings):
        monkeypatch.setattr(module, "examine", lambda address, out, cluster: iter(findings))

    return set_up


@pytest.mark.parametrize(("findings", "code"), [([GOOD], 0), ([GOOD, SO_SO], 0), ([GOOD, SO_SO, BAD], 1)])
def test_only_a_fault_is_a_failure(findings, code, found, capsys):
    found(*findings)
    assert main(["doctor"]) == code
    assert main(["doctor", "--json"]) == code
    out = capsys.readouterr().out
    told = json.loads(out[out.index("{") :])
    assert told["faults"] == code
    assert [finding["check"] for finding in told["findings"]] == [finding.check for finding in findings]


@pytest.mark.parametrize("columns", [40, 60, 100])
def test_each_fault_stands_with_its_cure_in_a_narrow_terminal_too(columns, found, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", str(columns))
    found(GOOD, SO_SO, BAD)
    main(["doctor"])
    out = capsys.readouterr().out
    assert max(len(line) for line in out.splitlines()) <= columns
    words = " ".join(out.split())
    assert "fault secrets ~/.netrc has mode 0644 (node-1) → chmod 600 ~/.netrc" in words
    assert words.endswith("1 fault, 1 warning")


def test_what_is_the_same_on_several_machines_is_said_once(found, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "100")
    found(*(Finding(check="gpu", level="ok", text="no GPU", where=f"node-{number}") for number in range(5)), GOOD)
    main(["doctor"])
    assert capsys.readouterr().out.splitlines()[0].split() == ["ok", "gpu", "no", "GPU", "(6", "machines)"]


def test_this_machine_and_a_folder_are_looked_at_for_real(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "AWS_SHARED_CREDENTIALS_FILE", "NETRC"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / ".aws").mkdir()
    (tmp_path / ".aws/credentials").write_text("[default]\naws_secret_access_key = CANARY\n")
    (tmp_path / ".aws/credentials").chmod(0o644)
    assert main(["doctor", "--out", str(tmp_path / "sweeps"), "--json"]) == 1
    out = capsys.readouterr().out
    found = {finding["check"]: finding for finding in json.loads(out)["findings"]}
    assert found["secrets"]["level"] == "fault"
    assert found["secrets"]["cure"] == "chmod 600 ~/.aws/credentials"
    assert found["storage"]["level"] == "ok"
    assert "CANARY" not in out
    assert not (tmp_path / "sweeps").exists()
    (tmp_path / ".aws/credentials").chmod(0o600)
    assert main(["doctor", "--out", str(tmp_path / "sweeps")]) == 0


def test_a_cluster_that_does_not_answer_is_a_fault_not_a_crash(capsys):
    assert main(["doctor", "--address", "127.0.0.1:1"]) == 1
    assert "no Ray cluster answers at 127.0.0.1:1" in " ".join(capsys.readouterr().out.split())


def test_the_file_of_a_cluster_is_looked_at_too(tmp_path, capsys):
    shipped = Path(grokray.__file__).parents[1] / "cluster.yaml"
    main(["doctor", "--cluster", str(shipped), "--json"])
    told = json.loads(capsys.readouterr().out)
    assert [finding["level"] for finding in told["findings"] if finding["check"] == "file"] == ["ok"]
    broken = tmp_path / "broken.yaml"
    broken.write_text(shipped.read_text().replace("max_workers:", "max_worker:", 1))
    assert main(["doctor", "--cluster", str(broken)]) == 1
    assert "broken.yaml:" in "".join(capsys.readouterr().out.split())
    assert main(["doctor", "--cluster", str(tmp_path / "missing.yaml")]) == 1
    assert "there is no such file" in " ".join(capsys.readouterr().out.split())


def test_a_folder_that_cannot_be_is_a_fault(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert main(["doctor", "--out", str(tmp_path / "file")]) == 1
    assert "is a file, but must be a folder" in " ".join(capsys.readouterr().out.split())
