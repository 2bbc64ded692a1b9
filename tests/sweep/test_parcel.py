"""What is sent to a cluster, and which folders every node reaches."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest

from grokray.errors import ConfigError, FolderError
from grokray.records.uri import holds_credentials
from grokray.sweep.load import load_sweep
from grokray.sweep.parcel import Parcel, folder_for_all_nodes
from tests.sweep.sweeps import write

GRIDS = {"train": [{"input": [[1, 2]], "output": [[2, 1]]}, {"input": [[3, 2]], "output": [[2, 3]]}], "test": []}
ARC = """\
name: grids
method: grid
parameters:
  operation: {value: arc}
  data_dir: {%s}
  weight_decay: {values: [0.1, 1]}
  training_fraction: {value: 0.5}
"""


def test_what_is_sent_is_the_same_search(tmp_path):
    config = load_sweep(write(tmp_path), ["trial.sustain=5", "parameters.dropout=0.1"], None)
    with Parcel(config=config, out="s3://bucket/x").packed() as folder:
        assert [path.name for path in folder.iterdir()] == ["tiny.yaml"]
        sent = load_sweep(folder / "tiny.yaml")
    assert not folder.exists()
    assert sent.fingerprint() == config.fingerprint()
    assert sent == config


def test_the_command_names_folder_and_file(tmp_path):
    config = load_sweep(write(tmp_path))
    out = "s3://bucket/a b?endpoint_override=127.0.0.1:9000&scheme=http"
    words = ["grokray", "sweep", "tiny.yaml", "--address", "auto", "--out", out]
    assert shlex.split(Parcel(config=config, out=out).command) == words
    assert shlex.split(Parcel(config=config, out=out, insecure=True).command) == [*words, "--insecure"]
    assert shlex.split(Parcel(config=config, out=out, retry_failed=True).command) == [*words, "--retry-failed"]


def tasks(folder: Path) -> Path:
    folder.mkdir(parents=True)
    (folder / "a.json").write_text(json.dumps(GRIDS))
    (folder / "notes.txt").write_text("not data")
    return folder


def test_a_folder_of_tasks_goes_along(tmp_path):
    tasks(tmp_path / "space/grids")
    (tmp_path / "space/arc.yaml").write_text(ARC % "value: grids")
    config = load_sweep(tmp_path / "space/arc.yaml")
    with Parcel(config=config, out="s3://bucket/x").packed() as folder:
        assert sorted(path.name for path in folder.iterdir()) == ["grids.yaml", "tasks.json"]
        sent = load_sweep(folder / "grids.yaml")
        assert sent.parameters["data_dir"].values == (str(folder / "tasks.json"),)
        assert sent.fingerprint() == config.fingerprint()


def test_several_folders_of_tasks_stay_where_they_are(tmp_path):
    paths = [str(tasks(tmp_path / name)) for name in ("one", "two")]
    (tmp_path / "arc.yaml").write_text(ARC % f"values: {json.dumps(paths)}")
    config = load_sweep(tmp_path / "arc.yaml")
    with Parcel(config=config, out="s3://bucket/x").packed() as folder:
        assert [path.name for path in folder.iterdir()] == ["grids.yaml"]
        assert load_sweep(folder / "grids.yaml").parameters["data_dir"].values == tuple(paths)


@pytest.mark.parametrize(
    "out",
    [
        "s3://bucket/robust",
        "s3://bucket/robust?region=eu-west-1&endpoint_override=10.0.0.1:9000&scheme=http",
        "gs://anonymous@bucket/robust",
        "abfss://container@account.dfs.core.windows.net/robust",
        "file:///mnt/shared/robust",
    ],
)
def test_folders_that_every_node_reaches(out):
    assert folder_for_all_nodes(out) == out
    assert folder_for_all_nodes(out + "/" * ("?" not in out)) == out


@pytest.mark.parametrize(
    ("out", "message"),
    [
        (None, "--out is missing"),
        ("results/robust", "--out is results/robust, a path, which is another folder on each node"),
        ("/mnt/shared/robust", "--out is /mnt/shared/robust, a path"),
        ("~/robust", "a path"),
        ("http://bucket/robust", "the scheme of http://bucket/robust is 'http'"),
        ("s3:///robust", "names no bucket"),
    ],
)
def test_folders_that_mean_nothing_on_a_node_are_refused(out, message):
    with pytest.raises((ConfigError, FolderError)) as caught:
        folder_for_all_nodes(out)
    assert message in str(caught.value)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    "out",
    [
        "s3://key:secret@bucket/robust",
        "s3://key@bucket/robust",
        "s3://bucket/robust?secret_key=CANARY",
        "s3://bucket/robust?access_key=CANARY&region=eu",
        "s3://bucket/robust?session_token=CANARY",
        "abfss://container:CANARY@account/robust",
    ],
)
def test_credentials_in_a_uri_are_refused_and_not_repeated(out):
    assert holds_credentials(out)
    with pytest.raises(ConfigError) as caught:
        folder_for_all_nodes(out)
    assert "holds credentials" in str(caught.value)
    assert "profile" in (caught.value.hint or "")
    assert "secret@" not in str(caught.value)
    assert "CANARY" not in str(caught.value)
