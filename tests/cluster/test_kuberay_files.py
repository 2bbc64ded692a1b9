"""KubeRay's files hold only fields that there are, Ray's autoscaler reads them, and nobody gets in without a token."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from ruamel.yaml import YAML

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "cluster/kuberay"
Spec = dict[str, Any]


@cache
def validator() -> jsonschema.Draft202012Validator:
    schema = YAML(typ="safe", pure=True).load((Path(__file__).parent / "data/kuberay.yaml").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def resource(name: str) -> dict[str, Any]:
    return YAML(typ="safe", pure=True).load((FOLDER / name).read_text())


def problems(content: dict[str, Any]) -> list[str]:
    return [f"{'.'.join(map(str, e.absolute_path))}: {e.message}" for e in validator().iter_errors(content)]


def spec_of(content: dict[str, Any]) -> Spec:
    return content["spec"].get("rayClusterSpec", content["spec"])


def pods(spec: Spec) -> list[dict[str, Any]]:
    return [group["template"]["spec"] for group in (spec["headGroupSpec"], *spec["workerGroupSpecs"])]


def autoscaling_config(spec: Spec) -> dict[str, Any]:
    from ray.autoscaler._private.kuberay.autoscaling_config import _derive_autoscaling_config_from_ray_cr

    metadata = {"name": "grokray", "namespace": "default"}
    return _derive_autoscaling_config_from_ray_cr({"metadata": metadata, "spec": spec})  # and validates it


@pytest.fixture(params=["raycluster.yaml", "rayjob.yaml"])
def content(request):
    return resource(request.param)


def test_all_fields_are_known(content):
    assert problems(content) == []


def test_the_autoscaler_reads_it_as_meant(content):
    config = autoscaling_config(spec_of(content))
    assert config["available_node_types"]["headgroup"]["resources"]["CPU"] == 0
    gpu = config["available_node_types"]["gpu"]
    assert (gpu["min_workers"], gpu["max_workers"]) == (0, 4)
    assert (gpu["resources"]["CPU"], gpu["resources"]["GPU"]) == (3, 1)
    assert config["idle_timeout_minutes"] == 5


def test_the_job_runs_on_the_same_cluster():
    assert resource("rayjob.yaml")["spec"]["rayClusterSpec"] == resource("raycluster.yaml")["spec"]


def test_a_token_is_demanded_and_comes_from_a_secret(content):
    spec = spec_of(content)
    assert spec["authOptions"] == {"mode": "token", "secretName": "grokray-token"}
    assert spec["headGroupSpec"]["serviceType"] == "ClusterIP"


def test_no_key_is_in_the_files(content):
    names = [entry["name"] for pod in pods(spec_of(content)) for entry in pod["containers"][0].get("env", [])]
    assert all("TOKEN" not in name and "KEY" not in name and "SECRET" not in name for name in names)
    assert all(pod["serviceAccountName"] in ("grokray-head", "grokray-worker") for pod in pods(spec_of(content)))


def test_pods_run_without_privileges(content):
    for pod in pods(spec_of(content)):
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["runAsUser"] > 0
        for container in pod["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "capabilities": {"drop": ["ALL"]},
            }


def test_a_lost_pod_is_noticed_soon(content):
    env = {
        entry["name"]: entry["value"]
        for entry in spec_of(content)["headGroupSpec"]["template"]["spec"]["containers"][0]["env"]
    }
    assert env["RAY_health_check_period_ms"] == env["RAY_health_check_timeout_ms"] == "1000"
    assert env["RAY_health_check_initial_delay_ms"] == "1000"
    assert env["RAY_health_check_failure_threshold"] == "5"


def test_autoscaler_v2_and_pods_that_it_replaces(content):
    spec = spec_of(content)
    assert spec["enableInTreeAutoscaling"] is True
    assert spec["autoscalerOptions"]["version"] == "v2"
    assert all(pod["restartPolicy"] == "Never" for pod in pods(spec))


def test_workers_go_to_nodes_with_a_gpu(content):
    pod = spec_of(content)["workerGroupSpecs"][0]["template"]["spec"]
    assert {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"} in pod["tolerations"]
    resources = pod["containers"][0]["resources"]
    assert resources["limits"]["nvidia.com/gpu"] == resources["requests"]["nvidia.com/gpu"] == "1"


def test_versions_are_those_of_the_constraints(content):
    pins = dict(line.split("==") for line in (ROOT / "cluster/constraints.txt").read_text().split() if "==" in line)
    assert spec_of(content)["rayVersion"] == pins["ray"]
    for pod in pods(spec_of(content)):
        container = pod["containers"][0]
        assert container["image"].startswith(f"rayproject/ray:{pins['ray']}-py311")
        assert "--constraint /opt/grokray/constraints.txt" in container["args"][0]
        assert f"/opt/grokray/grokray-{version('grokray')}-py3-none-any.whl[cluster]" in container["args"][0]


def test_accounts_of_the_pods_are_there_and_ports_are_closed():
    documents = [*YAML(typ="safe", pure=True).load_all((FOLDER / "common.yaml").read_text())]
    assert [(d["kind"], d["metadata"]["name"]) for d in documents] == [
        ("ServiceAccount", "grokray-head"),
        ("ServiceAccount", "grokray-worker"),
        ("NetworkPolicy", "grokray"),
    ]
    policy = documents[2]["spec"]
    assert policy["podSelector"] == {"matchLabels": {"ray.io/is-ray-node": "yes"}}
    assert policy["policyTypes"] == ["Ingress"]
    assert all(rule["from"] for rule in policy["ingress"])  # an ingress rule without `from` would let everybody in


Edit = Callable[[dict[str, Any]], object]
HEAD = "spec.headGroupSpec"
WORKERS = "spec.workerGroupSpecs.0"


def worker(content: dict[str, Any]) -> dict[str, Any]:
    return content["spec"]["workerGroupSpecs"][0]


def container(content: dict[str, Any]) -> dict[str, Any]:
    return worker(content)["template"]["spec"]["containers"][0]


BROKEN: list[tuple[str, Edit, str]] = [
    (
        "a typo at the top",
        lambda c: c["spec"].update(rayVersoin="2"),
        "spec: Additional properties are not allowed ('rayVersoin'",
    ),
    (
        "a typo in a group",
        lambda c: worker(c).update(minReplica=1),
        f"{WORKERS}: Additional properties are not allowed",
    ),
    ("a typo in a pod", lambda c: worker(c)["template"]["spec"].update(toleration=[]), "('toleration' was unexpected)"),
    ("a typo in a container", lambda c: container(c).update(resource={}), "('resource' was unexpected)"),
    (
        "a typo in autoscalerOptions",
        lambda c: c["spec"]["autoscalerOptions"].update(idleTimeout=1),
        "('idleTimeout' was",
    ),
    (
        "a text for replicas",
        lambda c: worker(c).update(maxReplicas="3"),
        f"{WORKERS}.maxReplicas: '3' is not of type 'integer'",
    ),
    ("no maximum", lambda c: worker(c).pop("maxReplicas"), "'maxReplicas' is a required property"),
    (
        "a number in rayStartParams",
        lambda c: c["spec"]["headGroupSpec"].update(rayStartParams={"num-cpus": 0}),
        "not of type 'string'",
    ),
    ("a number in env", lambda c: container(c)["env"].append({"name": "A", "value": 1}), "1 is not of type 'string'"),
    (
        "a bad memory",
        lambda c: container(c)["resources"]["limits"].update(memory="8GB"),
        "limits.memory: '8GB' is not valid",
    ),
    ("a bad cpu", lambda c: container(c)["resources"]["limits"].update(cpu="2x"), "limits.cpu: '2x' is not valid"),
    ("another mode", lambda c: c["spec"]["authOptions"].update(mode="on"), "'on' is not one of ['disabled', 'token']"),
    (
        "a bad autoscaler",
        lambda c: c["spec"]["autoscalerOptions"].update(version="2"),
        "'2' is not one of ['v1', 'v2']",
    ),
    ("a bad service", lambda c: c["spec"]["headGroupSpec"].update(serviceType="Public"), "'Public' is not one of"),
    ("an old API", lambda c: c.update(apiVersion="ray.io/v1alpha1"), "'ray.io/v1' was expected"),
    ("a volume of nothing", lambda c: worker(c)["template"]["spec"]["volumes"].append({"name": "x"}), "volumes.1"),
]


@pytest.mark.parametrize(("edit", "rule"), [pytest.param(edit, rule, id=name) for name, edit, rule in BROKEN])
def test_broken_resources_are_refused(edit, rule):
    content = copy.deepcopy(resource("raycluster.yaml"))
    edit(content)
    assert any(rule in problem for problem in problems(content)), problems(content)


def test_a_bad_field_of_a_job_is_refused():
    content = resource("rayjob.yaml")
    content["spec"]["shutdownAfterJobFinish"] = True
    content["spec"]["submissionMode"] = "Http"
    assert len(problems(content)) == 2


@pytest.mark.parametrize("quantity", ["2x", "8GB", "a"])
def test_ray_refuses_bad_quantities_too(quantity):
    content = copy.deepcopy(resource("raycluster.yaml"))
    container(content)["resources"]["limits"]["cpu"] = quantity
    with pytest.raises(ValueError, match=quantity):
        autoscaling_config(content["spec"])
