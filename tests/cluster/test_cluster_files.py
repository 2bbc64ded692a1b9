"""The shipped cluster files pass the checks of Ray and of grokray; a slip in one is refused with place and rule."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from ruamel.yaml import YAML

from grokray.errors import ConfigError
from grokray.sweep.cluster_file import read_cluster_file

ROOT = Path(__file__).parents[2]
FILES = ("cluster.yaml", "cluster/gcp.yaml", "cluster/local.yaml")
Edit = Callable[[dict[str, Any]], object]


def content(name: str) -> dict[str, Any]:
    return YAML(typ="safe", pure=True).load((ROOT / name).read_text())


def refusal(tmp_path: Path, config: dict[str, Any], *, strict: bool = False) -> str:
    path = tmp_path / "broken.yaml"
    with path.open("w") as file:
        YAML().dump(config, file)
    with pytest.raises(ConfigError) as caught:
        read_cluster_file(path, strict=strict)
    assert caught.value.exit_code == 2
    assert all(problem.place.startswith(f"{path}:") for problem in caught.value.problems)
    return str(caught.value)


@pytest.mark.parametrize("name", FILES)
def test_a_shipped_file_has_no_fault(name):
    assert read_cluster_file(ROOT / name) == content(name)


@pytest.mark.parametrize(("name", "number"), [("cluster.yaml", 0), ("cluster/gcp.yaml", 2), ("cluster/local.yaml", 3)])
def test_what_is_to_be_filled_in_is_all_that_may_be_remarked_of_a_shipped_file(tmp_path, name, number):
    text = (ROOT / name).read_text()
    problems = []
    if number:
        with pytest.raises(ConfigError) as caught:
            read_cluster_file(ROOT / name, strict=True)
        problems = [problem.message for problem in caught.value.problems]
    assert len(problems) == number
    assert all(message.endswith(" stands for one of yours, which is to be filled in") for message in problems)
    path = tmp_path / "mine.yaml"
    path.write_text(text.replace("your-project-id", "grok-1").replace("192.0.2.", "10.0.0."))
    assert read_cluster_file(path, strict=True)["cluster_name"]


def test_a_file_of_kubernetes_is_said_to_be_one():
    with pytest.raises(ConfigError) as caught:
        read_cluster_file(ROOT / "cluster" / "kuberay" / "raycluster.yaml")
    (problem,) = caught.value.problems
    assert "this is a file of Kubernetes, for `kubectl apply`" in problem.message


@pytest.mark.parametrize("name", FILES)
def test_ray_itself_accepts_a_shipped_file(name):
    from ray.autoscaler._private.util import prepare_config, validate_config

    prepared = prepare_config(content(name))
    validate_config(prepared)
    # Ray's defaults would bind the dashboard to every interface and install another Ray.
    assert prepared["head_start_ray_commands"] == content(name)["head_start_ray_commands"]
    assert prepared["worker_setup_commands"][: len(content(name)["setup_commands"])] == content(name)["setup_commands"]


@pytest.mark.parametrize("name", FILES)
def test_what_is_copied_to_the_nodes_is_there_and_suffices_to_install(name):
    mounts = {
        target: source for target, source in content(name)["file_mounts"].items() if target != "~/.ray/auth_token"
    }
    assert all((ROOT / source).exists() for source in mounts.values())
    assert all(target == f"~/grokray/{source}" for target, source in mounts.items())
    project = (ROOT / "pyproject.toml").read_text()
    assert 'readme = "README.md"' in project
    assert {"grokray", "pyproject.toml", "README.md", "LICENSE", "cluster"} == {*mounts.values()}


@pytest.mark.parametrize("name", FILES)
def test_the_head_runs_no_trial(name):
    config = content(name)
    assert "--num-cpus=0" in config["head_start_ray_commands"][-1]
    if name != "cluster/local.yaml":
        assert config["available_node_types"]["head"]["resources"] == {"CPU": 0}


def test_workers_on_aws_are_spot_machines_and_all_machines_have_a_profile_rather_than_keys():
    types = content("cluster.yaml")["available_node_types"]
    assert all(spec["node_config"]["IamInstanceProfile"]["Name"].startswith("grokray-") for spec in types.values())
    assert {name for name, spec in types.items() if "InstanceMarketOptions" in spec["node_config"]} == {"gpu", "cpu"}
    assert content("cluster.yaml")["provider"]["cache_stopped_nodes"] is False  # stopped machines would cost on


def test_instance_types_on_aws_exist():
    session = pytest.importorskip("botocore.session", reason="EC2's list of instance types comes with boto3")
    shape = session.get_session().get_service_model("ec2").operation_model("RunInstances").input_shape
    for spec in content("cluster.yaml")["available_node_types"].values():
        assert spec["node_config"]["InstanceType"] in shape.members["InstanceType"].enum


def test_disks_on_google_cloud_are_of_a_type_that_their_machines_take():
    """A disk is a pd-standard unless something else is said, and no g2 machine has those."""
    config = content("cluster/gcp.yaml")
    kind = f"zones/{config['provider']['availability_zone']}/diskTypes/pd-balanced"
    for spec in config["available_node_types"].values():
        assert [disk["initializeParams"]["diskType"] for disk in spec["node_config"]["disks"]] == [kind]


def test_constraints_pin_all_that_is_asked_for():
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"], *project["optional-dependencies"]["cluster"]]
    lines = [line for line in (ROOT / "cluster/constraints.txt").read_text().splitlines() if not line.startswith("#")]
    pins: dict[str, list[Requirement]] = {}
    for requirement in map(Requirement, lines):
        assert [s.operator for s in requirement.specifier] == ["=="], requirement
        pins.setdefault(requirement.name, []).append(requirement)
    for requirement in map(Requirement, wanted):
        name = requirement.name.lower().replace(".", "-")
        versions = [next(iter(pin.specifier)).version for pin in pins[name]]
        assert all(requirement.specifier.contains(version, prereleases=True) for version in versions), requirement


def setter(*keys: str | int, value: Any) -> Edit:
    def edit(config: dict[str, Any]) -> None:
        inner: Any = config
        for key in keys[:-1]:
            inner = inner[key]
        inner[keys[-1]] = value

    return edit


def renamer(*keys: str | int, to: str) -> Edit:
    def edit(config: dict[str, Any]) -> None:
        inner: Any = config
        for key in keys[:-1]:
            inner = inner[key]
        inner[to] = inner.pop(keys[-1])

    return edit


def replacer(key: str, old: str, new: str) -> Edit:
    def edit(config: dict[str, Any]) -> None:
        assert any(old in command for command in config[key])
        config[key] = [command.replace(old, new) for command in config[key]]

    return edit


def few_in_all(config: dict[str, Any]) -> None:
    config["max_workers"] = 1
    config["available_node_types"]["gpu"]["min_workers"] = 2


GPU = ("available_node_types", "gpu")
AWS = (*GPU, "node_config")
# What is broken, how, and the rule that must say so.
BROKEN: list[tuple[str, Edit, str]] = [
    ("a typo at the top", renamer("max_workers", to="max_worker"), "the nearest is max_workers"),
    ("a typo in a node type", renamer(*GPU, "min_workers", to="min_worker"), "the nearest is min_workers"),
    ("a typo in node_config", renamer(*AWS, "InstanceType", to="InstanceTyp"), "the nearest is InstanceType"),
    (
        "no instance type",
        lambda c: c["available_node_types"]["gpu"]["node_config"].pop("InstanceType"),
        "InstanceType is",
    ),
    ("Ray's image", lambda c: c["available_node_types"]["gpu"]["node_config"].pop("ImageId"), "ImageId is missing"),
    ("a deep typo", setter(*AWS, "IamInstanceProfile", value={"Nam": "x"}), "Nam is no field of IamInstanceProfile"),
    (
        "a typo in a list",
        setter(*AWS, "BlockDeviceMappings", 0, "Ebs", "VolumeSiz", value=1),
        "the nearest is VolumeSize",
    ),
    ("a text for a number", setter(*AWS, "BlockDeviceMappings", 0, "Ebs", "VolumeSize", value="9"), "the type integer"),
    (
        "a mapping for a list",
        setter(*AWS, "BlockDeviceMappings", value={}),
        "BlockDeviceMappings is {}, but must be a list",
    ),
    ("a list for a mapping", setter(*AWS, "MetadataOptions", value=[]), "MetadataOptions is [], but must be a mapping"),
    ("another head", setter("head_node_type", value="hed"), "the nearest is head"),
    (
        "min above max",
        setter(*GPU, "min_workers", value=5),
        "min_workers is 5, but must be at most max_workers, which is 4",
    ),
    ("max below the sum", few_in_all, "max_workers is 1, but must be at least the sum of all min_workers, 2"),
    ("no max_workers", lambda c: c.pop("max_workers"), "max_workers is missing"),
    ("no resources", lambda c: c["available_node_types"]["gpu"].pop("resources"), "resources is missing"),
    ("no node types", lambda c: c.pop("available_node_types"), "available_node_types is missing"),
    ("an unknown provider", setter("provider", "type", value="awz"), "the nearest is aws"),
    ("no region", lambda c: c["provider"].pop("region"), "provider.region is missing"),
    ("a text for commands", setter("setup_commands", value="pip install x"), "must be of the type array"),
    ("a text for max_workers", setter("max_workers", value="4"), "max_workers is '4', but must be of the type integer"),
    ("no start of the head", lambda c: c.pop("head_start_ray_commands"), "head_start_ray_commands is missing"),
    (
        "no token mode",
        replacer("setup_commands", "RAY_AUTH_MODE=token", ""),
        "no command sets RAY_AUTH_MODE=token on the head",
    ),
    ("no token mode at all", setter("setup_commands", value=[]), "no command sets RAY_AUTH_MODE=token on the workers"),
    ("no token file", lambda c: c["file_mounts"].pop("~/.ray/auth_token"), "file_mounts has no ~/.ray/auth_token"),
    (
        "a mount of nothing",
        setter("file_mounts", "~/grokray/grokray", value=None),
        "file_mounts.~/grokray/grokray is null, but must be the path of a file or folder here",
    ),
    ("an open token", replacer("setup_commands", "chmod 600", "chmod 644"), "others on a node may read the token"),
    ("an open dashboard", replacer("head_start_ray_commands", "127.0.0.1", "0.0.0.0"), "--dashboard-host is 0.0.0.0"),
    ("a key of AWS", setter("setup_commands", 0, value="export X=AKIAABCDEFGHIJKLMNOP"), "this holds a key of AWS"),
    (
        "a secret",
        setter("setup_commands", 1, value="export AWS_SECRET_ACCESS_KEY=wJalrX"),
        "this holds a secret of AWS",
    ),
    ("a token", setter("setup_commands", 1, value="export RAY_AUTH_TOKEN=0123abcd"), "this holds a token"),
    ("a key of W&B", setter(*AWS, "UserData", value="WANDB_API_KEY: 0123"), "this holds a token"),
    ("a private key", setter(*AWS, "UserData", value="-----BEGIN RSA PRIVATE KEY-----"), "this holds a private key"),
    (
        "a password",
        setter("setup_commands", 1, value="git clone https://me:word@host/x"),
        "this holds a URI with a password",
    ),
    ("keys of the provider", setter("provider", "aws_credentials", value={"a": "b"}), "aws_credentials must not stand"),
]


@pytest.mark.parametrize(("edit", "rule"), [pytest.param(edit, rule, id=name) for name, edit, rule in BROKEN])
def test_a_broken_file_for_aws_is_refused(tmp_path, edit, rule):
    config = copy.deepcopy(content("cluster.yaml"))
    edit(config)
    assert rule in refusal(tmp_path, config)


UNWISE: list[tuple[str, Edit, str]] = [
    (
        "slow health checks",
        replacer("head_start_ray_commands", "RAY_health_check_period_ms=1000", ""),
        "must be set where",
    ),
    (
        "no pins",
        setter("setup_commands", 4, value="pip install 'ray[default]' boto3==1.40"),
        "'ray[default]' is installed",
    ),
]


@pytest.mark.parametrize(("edit", "rule"), [pytest.param(edit, rule, id=name) for name, edit, rule in UNWISE])
def test_what_is_unwise_is_a_fault_only_if_one_asks(tmp_path, edit, rule):
    config = copy.deepcopy(content("cluster.yaml"))
    edit(config)
    assert rule.replace("'", "") in refusal(tmp_path, config, strict=True)
    read_cluster_file(tmp_path / "broken.yaml")


@pytest.mark.parametrize(
    "command",
    [
        "pip install ray==2.60.0 'boto3==1.40'",
        "uv pip install -c pins.txt ray boto3",
        "pip install --constraint=pins.txt ray",
        "pip install -r requirements.txt -e ~/grokray",
        "pip install dist/grokray-0.1.0-py3-none-any.whl && echo ray",
    ],
)
def test_pinned_installations_are_no_fault(tmp_path, command):
    config = content("cluster.yaml")
    config["setup_commands"][4] = command
    with (tmp_path / "x.yaml").open("w") as file:
        YAML().dump(config, file)
    assert read_cluster_file(tmp_path / "x.yaml", strict=True)["setup_commands"][4] == command


@pytest.mark.parametrize(
    ("name", "edit", "rule"),
    [
        ("cluster/gcp.yaml", renamer(*AWS, "machineType", to="machinType"), "the nearest is machinType"),
        ("cluster/gcp.yaml", renamer(*AWS, "scheduling", to="sheduling"), "the nearest is scheduling"),
        ("cluster/gcp.yaml", lambda c: c["provider"].pop("project_id"), "provider.project_id is missing"),
        (
            "cluster/gcp.yaml",
            setter("provider", "gcp_credentials", value={"type": "service_account"}),
            "must not stand",
        ),
        ("cluster/local.yaml", lambda c: c["provider"].pop("worker_ips"), "provider.worker_ips is missing"),
        ("cluster/local.yaml", renamer("auth", "ssh_user", to="ssh_usr"), "ssh_usr is no key of auth"),
        ("cluster/local.yaml", lambda c: c["file_mounts"].clear(), "file_mounts has no ~/.ray/auth_token"),
    ],
)
def test_broken_files_for_other_machines_are_refused(tmp_path, name, edit, rule):
    config = content(name)
    edit(config)
    assert rule in refusal(tmp_path, config)


def test_all_faults_are_named_together_with_their_lines(tmp_path):
    text = (ROOT / "cluster.yaml").read_text()
    text = text.replace("InstanceType: g5.xlarge", "InstanceTyp: g5.xlarge").replace("host=127.0.0.1", "host=0.0.0.0")
    path = tmp_path / "two.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        read_cluster_file(path)
    lines = text.splitlines()
    found = {problem.message: int(problem.place.split(":")[1]) for problem in caught.value.problems}
    typo = next(line for message, line in found.items() if message.startswith("InstanceTyp is no field"))
    assert "InstanceTyp:" in lines[typo - 1]
    assert any("--dashboard-host is 0.0.0.0" in message for message in found)


def test_a_secret_is_not_repeated_in_the_message(tmp_path):
    config = content("cluster.yaml")
    config["setup_commands"][1] = "export AWS_SECRET_ACCESS_KEY=wJalrXUtnFEMI"
    assert "wJalr" not in refusal(tmp_path, config)


def test_merge_keys_are_read_as_ray_reads_them(tmp_path):
    text = (ROOT / "cluster.yaml").read_text()
    text = text.replace(
        "    node_config:\n      InstanceType: c7i",
        "    node_config:\n      <<: &base {EbsOptimized: true}\n      InstanceType: c7i",
    )
    (tmp_path / "merged.yaml").write_text(text)
    config = read_cluster_file(tmp_path / "merged.yaml")
    assert config["available_node_types"]["cpu"]["node_config"]["EbsOptimized"] is True
    assert config["available_node_types"]["cpu"]["node_config"]["InstanceType"] == "c7i.4xlarge"


@pytest.mark.parametrize(
    ("text", "rule"), [("", "the file is empty"), ("- a\n", "must be a mapping"), ("a: [", "not YAML")]
)
def test_what_is_no_cluster_file_is_refused(tmp_path, text, rule):
    (tmp_path / "x.yaml").write_text(text)
    with pytest.raises(ConfigError, match=rule):
        read_cluster_file(tmp_path / "x.yaml")


def places(value: Any, keys: tuple = ()) -> list[tuple]:
    """The keys of everything in it, at any depth."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [keys, *(found for key, item in inner for found in places(item, (*keys, key)))]


def test_nonsense_anywhere_is_refused_or_accepted_but_never_a_defect(tmp_path):
    rng = random.Random(0)
    path = tmp_path / "nonsense.yaml"
    refused = []
    for name in FILES * 20:
        config = content(name)
        keys = rng.choice(places(config)[1:])
        setter(*keys, value=rng.choice([None, True, -1, 1.5, "", "x", [], ["x"], [None], {}, {"x": 1}]))(config)
        with path.open("w") as file:
            YAML().dump(config, file)
        try:
            read_cluster_file(path, strict=True)
        except ConfigError as error:
            refused += [error.problems]
    assert len(refused) > 30
    assert all(problem.place and problem.message for problems in refused for problem in problems)
