"""`grokray submit`: what it refuses before it looks for a cluster, and what it says when it is left."""

from __future__ import annotations

import shlex

import pytest

from grokray.cli.main import main
from grokray.errors import ExecutionError
from grokray.sweep import follow
from grokray.sweep.doors import Direct, Tunnel

URL = "http://127.0.0.1:8265"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["missing.yaml", "--out", "s3://b/x"], "missing.yaml: there is no such file"),
        (["SPACE", "--out", "s3://b/x", "--set", "trail.sustain=3"], "--set trail.sustain=3: unknown key trail"),
        (["SPACE", "--out", "s3://b/x", "--num-trials", "0"], "--num-trials is 0, but must be at least 1"),
        (["SPACE"], "--out is missing, but must be a folder that every node of the cluster reaches"),
        (["SPACE", "--out", "results/x"], "--out is results/x, a path, which is another folder on each node"),
        (["SPACE", "--out", "s3://b/x"], "neither --cluster nor --address is given, but one of them must be"),
        (
            ["SPACE", "--out", "s3://b/x", "--cluster", "SPACE", "--address", URL],
            "both --cluster and --address are given, but only one of them may be",
        ),
        (
            ["SPACE", "--out", "s3://b/x", "--cluster", "missing.yaml"],
            "--cluster is missing.yaml, but must be",
        ),
        (["SPACE", "--out", "s3://b/x", "--address", "ray://head:10001"], "--address is ray://head:10001, but must be"),
        (["SPACE", "--out", "s3://b/x", "--address", "http://"], "--address is http://, but must be"),
        (["SPACE", "--out", "s3://b/x", "--address", "http://head:x"], "--address is http://head:x, but must be"),
        (["SPACE", "--out", "s3://b/x", "--address", "http://a b"], "--address is http://a b, but must be"),
        (["SPACE", "--out", "s3://b/x", "--address", ""], "--address is empty, but must be"),
    ],
)
def test_wrong_input_is_refused_before_anything_is_opened(words, message, space, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Direct, "open", lambda self: pytest.fail("opened"))
    monkeypatch.setattr(Tunnel, "open", lambda self: pytest.fail("opened"))
    assert main(["submit", *(str(space) if word == "SPACE" else word for word in words)]) == 2
    assert capsys.readouterr().err.startswith(f"error: {message}")


def test_a_file_of_something_else_is_refused_as_the_doctor_does(space, capsys):
    assert main(["submit", str(space), "--cluster", str(space), "--out", "s3://b/x"]) == 2
    error = capsys.readouterr().err
    assert f"error: {space}:1:1: cluster_name and provider are missing\n" in error
    assert main(["doctor", "--cluster", str(space)]) == 1
    assert "cluster_name and provider are missing" in " ".join(capsys.readouterr().out.split())


def test_a_secret_in_out_is_not_repeated(space, capsys):
    assert main(["submit", str(space), "--address", URL, "--out", "s3://key:CANARY@bucket/x"]) == 2
    captured = capsys.readouterr()
    assert "holds credentials" in captured.err
    assert "CANARY" not in captured.out + captured.err


@pytest.fixture
def cluster(monkeypatch):
    """Replaces the watching; what it was given is in the list."""
    given = []

    def set_up(*, code=0, error=None):
        def run(sweep):
            given.append(sweep)
            if isinstance(error, ExecutionError):
                raise error
            sweep.job_id = "small-1"
            sweep.watcher.job("small-1", False)
            sweep.watcher.text("1 of 8 ended\n")
            if error:
                raise error
            return code

        monkeypatch.setattr(follow.Sweep, "run", run)
        monkeypatch.setattr(follow.Sweep, "submit", lambda sweep: (run(sweep), "small-1")[1])
        return given

    return set_up


@pytest.mark.parametrize("code", [0, 1, 2, 3])
def test_its_exit_code_is_the_sweep_s(code, cluster, space, capsys):
    given = cluster(code=code)
    words = ["submit", str(space), "--address", "127.0.0.1:8265", "--out", "s3://b/x/", "--set", "trial.sustain=5"]
    assert main(words) == code
    (sweep,) = given
    assert (sweep.parcel.out, sweep.parcel.config.trial.sustain, sweep.door) == ("s3://b/x", 5, Direct(URL))
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == ["job small-1 is submitted", "1 of 8 ended"]
    assert lines[2:] == (["fetch it: grokray fetch s3://b/x results/small"] if code == 0 else [])


def test_a_part_is_run_in_a_folder_below(cluster, space):
    given = cluster()
    out = "s3://b/x?region=eu"
    assert main(["submit", str(space), "--address", URL, "--out", out, "--part", "2/3"]) == 0
    parcel = given[0].parcel
    assert (parcel.folder, parcel.config.part) == ("s3://b/x/part-2of3?region=eu", "2/3")
    assert f"--out '{out}' --part 2/3" in parcel.command  # so the job refuses a folder with another number of parts
    assert "part: 2/3" in parcel.config.to_yaml()


def test_ctrl_c_leaves_the_job_alone_and_says_how_to_look_at_it_and_stop_it(cluster, space, capsys):
    cluster(error=KeyboardInterrupt())
    words = ["submit", str(space), "--address", URL, "--out", "s3://b/x"]
    assert main(words) == 130
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        "no longer watching; job small-1 goes on",
        f"watch it: {shlex.join(['grokray', *words])}",
        "look at the folder: grokray status s3://b/x",
        f"stop it: RAY_AUTH_MODE=token ray job stop small-1 --address {URL}",
    ]


def test_a_stopped_sweep_can_be_gone_on_with(cluster, space, capsys):
    cluster(code=130)
    words = ["submit", str(space), "--address", URL, "--out", "s3://b/x"]
    assert main(words) == 130
    assert capsys.readouterr().err.splitlines() == ["interrupted", f"go on with: {shlex.join(['grokray', *words])}"]


def test_no_wait_says_how_to_come_back(cluster, space, tmp_path, capsys):
    cluster()
    (tmp_path / "cluster.yaml").write_text("cluster_name: x\nprovider: {type: aws, region: eu-west-1}\n")
    words = ["submit", str(space), "--cluster", str(tmp_path / "cluster.yaml"), "--out", "s3://b/x"]
    assert main([*words, "--no-wait"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert f"watch it: {shlex.join(['grokray', *words])}" in lines
    assert any(
        line.startswith(f"stop it: ray exec {tmp_path}/cluster.yaml 'RAY_AUTH_MODE=token ray job") for line in lines
    )


def test_a_cluster_that_cannot_be_reached_is_a_message(cluster, space, capsys):
    cluster(error=ExecutionError("no way to the head of x.yaml: not found", hint="`ray up` starts the cluster."))
    assert main(["submit", str(space), "--address", URL, "--out", "s3://b/x"]) == 1
    assert capsys.readouterr().err.startswith("error: no way to the head of x.yaml: not found\nhint: ")
