"""docs/cluster.md: its policies are JSON and allow no more than one bucket and one cluster; what it names is there."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs/cluster.md").read_text()
CLUSTER = YAML(typ="safe", pure=True).load((ROOT / "cluster.yaml").read_text())


def policy(name: str) -> list[dict[str, Any]]:
    found = re.search(rf"cat > {name} <<'END'\n(.*?)\nEND\n", TEXT, re.DOTALL)
    assert found, name
    return json.loads(found.group(1))["Statement"]


def test_workers_may_use_one_bucket_and_nothing_else():
    assert {statement["Resource"] for statement in policy("bucket.json")} == {
        "arn:aws:s3:::BUCKET",
        "arn:aws:s3:::BUCKET/*",
    }
    actions = [action for statement in policy("bucket.json") for action in statement["Action"]]
    assert {"s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:ListBucket", "s3:AbortMultipartUpload"} <= {*actions}
    assert all(action.startswith("s3:") and "*" not in action for action in actions)


def test_the_head_terminates_only_instances_of_its_cluster_and_passes_only_the_workers_role():
    statements = policy("head.json")
    ending = [s for s in statements if "ec2:TerminateInstances" in s["Action"]]
    name = {"ec2:ResourceTag/ray-cluster-name": CLUSTER["cluster_name"]}
    assert [s["Condition"] for s in ending] == [{"StringEquals": name}]
    passing = [s for s in statements if "iam:PassRole" in s["Action"]]
    profile = CLUSTER["available_node_types"]["gpu"]["node_config"]["IamInstanceProfile"]["Name"]
    assert [s["Resource"] for s in passing] == [f"arn:aws:iam::ACCOUNT:role/{profile}"]


def test_what_uploads_leave_that_were_cut_off_is_deleted():
    found = re.search(r"cat > lifecycle.json <<'END'\n(.*?)\nEND\n", TEXT, re.DOTALL)
    assert found
    (rule,) = json.loads(found.group(1))["Rules"]
    assert (rule["Status"], rule["Filter"]) == ("Enabled", {"Prefix": ""})
    assert rule["AbortIncompleteMultipartUpload"]["DaysAfterInitiation"] >= 1


def test_every_profile_of_the_cluster_file_is_made():
    made = re.search(r"for role in ([^;]+); do", TEXT)
    assert made
    types = CLUSTER["available_node_types"].values()
    assert {spec["node_config"]["IamInstanceProfile"]["Name"] for spec in types} == {*made.group(1).split()}


def test_the_quota_suffices_for_all_workers():
    gpu = CLUSTER["available_node_types"]["gpu"]
    asked = int(re.findall(r"--desired-value (\d+)", TEXT)[0])
    assert asked >= gpu["max_workers"] * gpu["resources"]["CPU"]


@pytest.mark.parametrize("path", sorted({*re.findall(r"\b(cluster/[\w./-]+\.\w+|search_spaces/[\w.]+)", TEXT)}))
def test_files_that_it_names_are_there(path):
    assert (ROOT / path).is_file()
