"""From facts to findings, and the facts that can be read without a cluster."""

from __future__ import annotations

import socket
import threading
from dataclasses import replace

import pytest
from ray.exceptions import GetTimeoutError

from grokray.errors import FolderError
from grokray.sweep import doctor, doctor_cluster
from grokray.sweep.doctor_cluster import NOT_SHARED, Examiner
from grokray.sweep.doctor_storage import PROBE, Probe, of_store_here
from grokray.sweep.facts import Facts, file_modes, listens_on

VERSIONS = {"grokray": "0.1.0", "python": "3.11.7", "ray": "2.60.0", "torch": "2.13.0+cpu", "pyarrow": "26.0.1"}
GOOD = Facts(
    host="here",
    versions=VERSIONS,
    code="0a1b2c3d",
    modes={"~/.ray/auth_token": 0o600},
    auth_mode=None,
    has_token=True,
    ray_gpus=0,
    torch_gpus=0,
    compiler=True,
)


def levels(findings) -> dict[str, str]:
    return {finding.check: finding.level for finding in findings}


def test_a_sound_machine_has_no_faults():
    assert {*levels(doctor.of_machine(GOOD)).values()} == {"ok"}
    assert levels(doctor.of_versions(GOOD, GOOD)) == {"versions": "ok"}


@pytest.mark.parametrize(("mode", "level"), [(0o600, "ok"), (0o400, "ok"), (0o644, "fault"), (0o640, "fault")])
def test_secrets_are_for_their_owner_only(mode, level):
    found = [*doctor.of_machine(replace(GOOD, modes={"~/.netrc": mode, "~/.ray/auth_token": 0o600}))]
    assert levels(found)["secrets"] == level
    cures = [finding.cure for finding in found if finding.level == "fault"]
    assert cures == (["chmod 600 ~/.netrc"] if level == "fault" else [])


def test_gpus_that_torch_cannot_use_are_a_fault():
    assert levels(doctor.of_machine(replace(GOOD, ray_gpus=2)))["gpu"] == "fault"
    assert levels(doctor.of_machine(replace(GOOD, ray_gpus=2, torch_gpus=2)))["gpu"] == "ok"
    offered = doctor.of_gpus_offered(GOOD, 1, "node")
    assert offered is not None
    assert (offered.level, offered.where) == ("fault", "node")
    assert doctor.of_gpus_offered(replace(GOOD, torch_gpus=1), 1, "node") is None


def test_a_torch_that_cannot_be_loaded_is_a_fault():
    found = levels(doctor.of_machine(replace(GOOD, torch_error="libcudart.so: cannot open", compiler=False)))
    assert found == {"secrets": "ok", "torch": "fault"}


def test_a_missing_compiler_is_a_warning():
    assert levels(doctor.of_machine(replace(GOOD, compiler=False)))["compiler"] == "warning"


@pytest.mark.parametrize(
    ("name", "version", "level"),
    [
        ("grokray", "0.2.0", "fault"),
        ("ray", "2.61.0", "fault"),
        ("python", "3.12.1", "fault"),
        ("python", "3.11.9", "warning"),
        ("torch", "2.12.0+cpu", "warning"),
        ("torch", "2.13.0+cu130", "ok"),
        ("pyarrow", "25.0.0", "warning"),
    ],
)
def test_a_node_s_versions_against_ours(name, version, level):
    theirs = replace(GOOD, versions=VERSIONS | {name: version})
    (finding,) = doctor.of_versions(theirs, GOOD, "node")
    assert (finding.level, finding.where) == (level, "node")
    if level != "ok":
        assert finding.text == f"{name} is {version}, here {VERSIONS[name]}"
        assert finding.cure


def test_another_grokray_of_the_same_version_is_a_fault():
    (finding,) = doctor.of_versions(replace(GOOD, code="ffffffff"), GOOD, "node")
    assert (finding.level, finding.text) == ("fault", "the code of grokray is not this machine's")


@pytest.mark.parametrize(
    ("offset", "level"), [(0.3, "ok"), (-4.9, "ok"), (7, "warning"), (-7, "warning"), (61, "fault"), (-900, "fault")]
)
def test_clocks(offset, level):
    finding = doctor.of_clock(offset, "node")
    assert finding.level == level
    if level != "ok":
        assert ("ahead of" if offset > 0 else "behind") in finding.text


@pytest.mark.parametrize(
    ("control", "dashboard", "guarded", "expected"),
    [
        (["::"], ["127.0.0.1"], True, ["ok", "ok"]),
        (["::"], ["0.0.0.0"], True, ["ok", "warning"]),
        (["::"], ["127.0.0.1"], False, ["fault", "ok"]),
        (["0.0.0.0"], ["10.0.0.1"], False, ["fault", "fault"]),
        ([], [], True, []),
    ],
)
def test_who_reaches_a_cluster(control, dashboard, guarded, expected):
    assert [finding.level for finding in doctor.of_doors(control, dashboard, guarded=guarded)] == expected


@pytest.mark.parametrize(
    ("auth_mode", "has_token", "level"),
    [(None, True, "ok"), (None, False, "ok"), ("token", True, "ok"), ("token", False, "fault")],
)
def test_a_token_that_is_asked_for_must_be_there(auth_mode, has_token, level):
    assert doctor.of_token_here(replace(GOOD, auth_mode=auth_mode, has_token=has_token)).level == level


def test_modes_are_those_of_the_files_that_are_there(tmp_path, monkeypatch):
    for name in ("RAY_AUTH_TOKEN_PATH", "AWS_SHARED_CREDENTIALS_FILE", "NETRC"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert file_modes() == {}
    (tmp_path / ".netrc").touch()
    (tmp_path / ".netrc").chmod(0o640)
    (tmp_path / "elsewhere").touch(0o600)
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(tmp_path / "elsewhere"))
    assert file_modes() == {"~/.netrc": 0o640, str(tmp_path / "elsewhere"): 0o600}


@pytest.mark.parametrize("address", ["127.0.0.1", "0.0.0.0"])
def test_the_interface_of_an_open_port(address):
    with socket.create_server((address, 0)) as server:
        port = server.getsockname()[1]
        assert listens_on(port) == [address]
    assert listens_on(port) == []


def test_a_folder_is_probed_and_left_as_it_was(tmp_path):
    probe = Probe(str(tmp_path / "out"), "mark")
    assert levels(of_store_here(probe)) == {"storage": "ok"}
    probe.read()
    probe.delete()
    assert [*tmp_path.iterdir()] == []


def test_a_folder_that_was_there_remains(tmp_path):
    (tmp_path / "out").mkdir()
    probe = Probe(str(tmp_path / "out/deeper/still"), "mark")
    assert levels(of_store_here(probe)) == {"storage": "ok"}
    probe.delete()
    assert [path.name for path in tmp_path.rglob("*")] == ["out"]


def test_a_damaged_sweep_in_the_folder_is_a_fault(tmp_path):
    from grokray.records.folder import SweepFolder

    SweepFolder.create_or_open(tmp_path, "", {}, {})
    assert [finding.level for finding in of_store_here(Probe(str(tmp_path), "mark"))] == ["ok"]
    (tmp_path / "meta.json").write_text("{")
    fine, fault = of_store_here(Probe(str(tmp_path), "mark"))
    assert (fine.level, fault.level) == ("ok", "fault")
    assert "meta.json is damaged" in fault.text


def test_a_folder_that_gives_back_other_bytes_is_a_fault(tmp_path, monkeypatch):
    probe = Probe(str(tmp_path), "mark")
    monkeypatch.setattr(type(probe.store), "read_bytes", lambda self, name: b"other")
    (finding,) = of_store_here(probe)
    assert finding.level == "fault"
    assert "gives back other bytes than were written" in finding.text


def test_a_node_that_does_not_find_the_probe_has_another_folder(tmp_path):
    node = Examiner()
    assert node.sees(str(tmp_path), "mark") == NOT_SHARED
    damaged = Probe(str(tmp_path / "what is missing"), "mark")
    damaged.store.write_atomic(damaged.name, b"other")
    assert "gives back other bytes than were written" in (node.sees(damaged.store.uri, "mark") or "")
    damaged.write()
    assert node.sees(damaged.store.uri, "mark") is None


def test_a_folder_that_cannot_be_written_is_a_fault_with_a_cure(tmp_path, monkeypatch):
    def refuse(self, name, data):
        raise FolderError(f"cannot write {self.shown(name)}: Permission denied")

    probe = Probe(str(tmp_path), "mark")
    monkeypatch.setattr(type(probe.store), "write_atomic", refuse)
    (finding,) = of_store_here(probe)
    assert (finding.level, bool(finding.cure)) == ("fault", True)
    assert "Permission denied" in finding.text


def test_a_probe_is_nothing_of_a_sweep(tmp_path):
    from grokray.records.folder import SweepFolder

    Probe(str(tmp_path), "mark").write()
    assert (tmp_path / f"{PROBE}mark").exists()
    SweepFolder.create_or_open(tmp_path, "", {}, {})


def test_nodes_are_asked_at_once_and_told_in_their_order(monkeypatch):
    together, killed = threading.Barrier(3), []
    nodes = [doctor_cluster.Node(id=n, name=n, is_head=False, gpus=0, actor=n) for n in "abc"]

    def of_node(node, mine, probe):
        together.wait(timeout=10)
        yield doctor.of_clock(0.0, node.name)
        if node.name == "b":
            raise GetTimeoutError

    monkeypatch.setattr(doctor_cluster, "_nodes", lambda: nodes)
    monkeypatch.setattr(doctor_cluster, "_of_node", of_node)
    monkeypatch.setattr(doctor_cluster.ray, "kill", killed.append)
    _, *found = doctor_cluster.of_cluster("head:1", GOOD, None, guarded=True)
    assert [(finding.where, finding.level) for finding in found] == [
        *(("a", "ok"), ("b", "ok"), ("b", "fault"), ("c", "ok")),
    ]
    assert sorted(killed) == ["a", "b", "c"]
