"""What stands in node_config, which Ray passes on unread: a slip there shows only when a machine is to start."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

from grokray.sweep.rules import Fault
from grokray.wording import nearest, show

# Ray takes a list of subnets where EC2 takes one.
AWS_OWN = ("SubnetIds",)
# The fields of an instance that Compute Engine's API has: resource `instances`, REST v1.
# fmt: off
GCP = (
    "advancedMachineFeatures", "canIpForward", "confidentialInstanceConfig", "deletionProtection", "description",
    "disks", "displayDevice", "guestAccelerators", "hostname", "labels", "machineType", "metadata", "minCpuPlatform",
    "name", "networkInterfaces", "networkPerformanceConfig", "params", "privateIpv6GoogleAccess",
    "reservationAffinity", "resourcePolicies", "scheduling", "serviceAccounts", "shieldedInstanceConfig",
    "sourceMachineImage", "tags",
)
# fmt: on
SCALARS = {"string": str, "integer": int, "long": int, "boolean": bool, "double": float, "float": float}


def node_config_faults(config: dict[str, Any]) -> Iterator[Fault]:
    """Fields that the provider does not know, and values of a wrong type, in every node type."""
    provider = config["provider"].get("type")
    for name, spec in (config.get("available_node_types") or {}).items():
        keys = ("available_node_types", name, "node_config")
        node_config = spec["node_config"]
        if provider == "aws":
            yield from _aws(node_config, keys)
        elif provider == "gcp":
            yield from _gcp(node_config, keys)


def _aws(node_config: dict[str, Any], keys: tuple[str | int, ...]) -> Iterator[Fault]:
    if "InstanceType" not in node_config:
        yield keys, "InstanceType is missing in node_config, but must say which machine it is"
    if not node_config.get("ImageId") and "LaunchTemplate" not in node_config:
        yield keys, "ImageId is missing in node_config, but must be given: Ray's own default is Ubuntu 18.04"
    shape = _run_instances()
    if shape is not None:
        given = {key: value for key, value in node_config.items() if key not in AWS_OWN}
        yield from _shape_faults(given, shape, keys)


def _gcp(node_config: dict[str, Any], keys: tuple[str | int, ...]) -> Iterator[Fault]:
    # A TPU has acceleratorType or acceleratorConfig instead, and other fields.
    if not {"machineType", "acceleratorType", "acceleratorConfig"} & node_config.keys():
        yield keys, f"machineType is missing in node_config{_misspelt('machineType', node_config)}"
    elif "machineType" in node_config:
        for key in node_config:
            if key not in GCP:
                yield (*keys, key), f"{key} is no field of a Compute Engine instance{nearest(key, GCP)}"


def _misspelt(name: str, given: dict[str, Any]) -> str:
    return f", but must say which machine it is{nearest(name, list(given))}"


@cache
def _run_instances() -> Any:
    """EC2's own description of what an instance can have, as botocore carries it; None without botocore."""
    try:
        import botocore.session
    except ImportError:
        return None
    model = botocore.session.get_session().get_service_model("ec2")
    return model.operation_model("RunInstances").input_shape


def _shape_faults(value: Any, shape: Any, keys: tuple[str | int, ...]) -> Iterator[Fault]:
    where = keys[-1] if isinstance(keys[-1], str) else f"{keys[-2]}[{keys[-1]}]"
    if shape.type_name == "structure":
        if not isinstance(value, dict):
            yield keys, f"{where} is {show(value)}, but must be a mapping"
            return
        for key, inner in value.items():
            if key in shape.members:
                yield from _shape_faults(inner, shape.members[key], (*keys, key))
            else:
                whose = "an EC2 instance" if where == "node_config" else where
                yield (*keys, key), f"{key} is no field of {whose}{nearest(key, list(shape.members))}"
    elif shape.type_name == "list":
        if not isinstance(value, list):
            yield keys, f"{where} is {show(value)}, but must be a list"
            return
        for i, inner in enumerate(value):
            yield from _shape_faults(inner, shape.member, (*keys, i))
    elif (kind := SCALARS.get(shape.type_name)) and not _is(value, kind):
        yield keys, f"{where} is {show(value)}, but must be of the type {shape.type_name}"


def _is(value: Any, kind: type) -> bool:
    if kind is bool or isinstance(value, bool):
        return kind is bool and isinstance(value, bool)
    return isinstance(value, (int, float) if kind is float else kind)
