"""What a cluster file must hold: Ray's own schema, and what Ray does not ask for. Each rule yields its faults.

Commands are shell text, so rules about them look for words: they find what was forgotten, not what was hidden.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from grokray.sweep.cluster_node_config import node_config_faults
from grokray.sweep.rules import Fault
from grokray.wording import nearest, show

COMMANDS = ("initialization_commands", "setup_commands")
HEAD_COMMANDS = (*COMMANDS, "head_setup_commands", "head_start_ray_commands")
WORKER_COMMANDS = (*COMMANDS, "worker_setup_commands", "worker_start_ray_commands")
TOKEN_FILE = "~/.ray/auth_token"
LOOPBACK = ("127.0.0.1", "localhost", "::1")
HEALTH_CHECKS = tuple(
    f"RAY_health_check_{name}" for name in ("initial_delay_ms", "period_ms", "timeout_ms", "failure_threshold")
)
# What looks like a key, and what it is. A text that only names a variable or a file is none.
SECRETS = (
    (re.compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b"), "a key of AWS"),
    (re.compile(r"(?i)\baws_(?:secret_access_key|session_token)\b\s*[=:]\s*['\"]?[\w/+]"), "a secret of AWS"),
    (re.compile(r"(?i)\b(?:ray_auth_token|wandb_api_key|hf_token)\b\s*[=:]\s*['\"]?\w"), "a token"),
    (re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY"), "a private key"),
    (re.compile(r"\w://[^/\s:@]+:[^/\s@]+@"), "a URI with a password"),
)
# In the shipped files: a project's name, and the addresses that documents use (RFC 5737).
PLACEHOLDER = re.compile(r"your-project-id|\b192\.0\.2\.\d+")
SECRET_KEYS = ("aws_credentials", "gcp_credentials")
Rule = Callable[[dict[str, Any]], Iterator[Fault]]


def faults(config: dict[str, Any]) -> list[Fault]:
    """Every fault of a cluster file's content. Where it does not have Ray's form, only those of form, and secrets."""
    if wrong_form := faults_of_form(config):
        return [*wrong_form, *_secrets(config)]
    rules: tuple[Rule, ...] = (
        _provider,
        _node_types,
        node_config_faults,
        _commands_given,
        _file_mounts,
        _token,
        _dashboard,
        _secrets,
    )
    return [fault for rule in rules for fault in rule(config)]


def faults_of_form(config: dict[str, Any]) -> list[Fault]:
    """Why Ray's own schema refuses a cluster file's content, if it does."""
    return [*_schema(config)]


def advice(config: dict[str, Any]) -> list[Fault]:
    """What is better done otherwise, though the cluster would run: of content that has no faults."""
    return [*_filled_in(config), *_health_checks(config), *_pinned(config)]


def _schema(config: dict[str, Any]) -> Iterator[Fault]:
    if {"apiVersion", "kind"} <= config.keys():
        yield ("apiVersion",), "this is a file of Kubernetes, for `kubectl apply`, and no cluster file of `ray up`"
        return
    import jsonschema  # Ray brings it
    import ray.autoscaler

    schema = json.loads((Path(ray.autoscaler.__file__).parent / "ray-schema.json").read_text())
    if isinstance(provider := config.get("provider"), dict) and provider.get("type") == "local":
        schema["properties"]["min_workers"] = {"type": "integer"}  # Ray moves it before it looks at the schema
    for error in jsonschema.Draft7Validator(schema).iter_errors(config):
        keys = tuple(error.absolute_path)
        where = ".".join(map(str, keys))
        if error.validator == "additionalProperties":
            known = list(error.schema.get("properties", ()))
            for key in sorted(set(error.instance) - set(known)):
                yield (*keys, key), f"{key} is no key of {where or 'a cluster file'}{nearest(key, known)}"
        elif error.validator == "required":
            missing = [key for key in error.validator_value if key not in error.instance]
            verb = "is" if len(missing) == 1 else "are"
            yield keys, f"{' and '.join(missing)} {verb} missing{f' in {where}' if where else ''}"
        elif error.validator == "type":
            yield keys, f"{where} is {show(error.instance)}, but must be of the type {error.validator_value}"
        else:
            yield keys, f"{where}: {error.message}"


def _provider(config: dict[str, Any]) -> Iterator[Fault]:
    from ray.autoscaler._private.providers import _NODE_PROVIDERS

    kind = config["provider"].get("type")
    if kind not in _NODE_PROVIDERS:
        rule = f"but must be one that Ray knows{nearest(kind, list(_NODE_PROVIDERS))}"
        yield ("provider", "type"), f"provider.type is {show(kind)}, {rule}"
    needed = {"aws": ("region",), "gcp": ("region", "project_id")}.get(kind, ())
    if kind == "local" and "coordinator_address" not in config["provider"]:
        needed = ("head_ip", "worker_ips")
    for key in needed:
        if not config["provider"].get(key):
            yield ("provider",), f"provider.{key} is missing, but must be given for the type {kind}"


def _node_types(config: dict[str, Any]) -> Iterator[Fault]:
    types = config.get("available_node_types")
    if types is None:
        if config["provider"].get("type") != "local":
            yield (), "available_node_types is missing, but must name the machines of the head and of the workers"
        return
    head = config.get("head_node_type")
    if head not in types:
        near = nearest(head, list(types))
        yield ("head_node_type",), f"head_node_type is {show(head)}, but must be among available_node_types{near}"
    most = config.get("max_workers")
    for name, spec in types.items():
        low, high = spec.get("min_workers", 0), spec.get("max_workers", 0 if name == head else most)
        if high is not None and low > high:
            where = ("available_node_types", name, "min_workers")
            yield where, f"min_workers is {low}, but must be at most max_workers, which is {high}"
    total = sum(spec.get("min_workers", 0) for spec in types.values())
    if most is None:
        yield (), "max_workers is missing, but must say what the cluster may grow to"
    elif total > most:
        yield ("max_workers",), f"max_workers is {most}, but must be at least the sum of all min_workers, {total}"


def _commands_given(config: dict[str, Any]) -> Iterator[Fault]:
    # Ray's own start commands bind the dashboard to every interface.
    for key in ("head_start_ray_commands", "worker_start_ray_commands"):
        if not config.get(key):
            yield (key,), f"{key} is missing, but must start Ray"


def _file_mounts(config: dict[str, Any]) -> Iterator[Fault]:
    for target, source in (config.get("file_mounts") or {}).items():
        if not isinstance(source, str):
            rule = "but must be the path of a file or folder here"
            yield ("file_mounts", target), f"file_mounts.{target} is {show(source)}, {rule}"


def _token(config: dict[str, Any]) -> Iterator[Fault]:
    for whose, keys in (("the head", HEAD_COMMANDS), ("the workers", WORKER_COMMANDS)):
        if "RAY_AUTH_MODE=token" not in _text(config, *keys):
            message = f"no command sets RAY_AUTH_MODE=token on {whose}, so whoever reaches a port can run code there"
            yield ("setup_commands",), message
    mounts = [str(target).rstrip("/") for target in config.get("file_mounts") or {}]
    if not {TOKEN_FILE, "~/.ray"} & {*mounts}:
        yield ("file_mounts",), f"file_mounts has no {TOKEN_FILE}, but must copy the token to every node"
    elif not re.search(r"chmod\s+0?600\s+\S*auth_token", _text(config, *COMMANDS)):
        message = f"no command of setup_commands is `chmod 600 {TOKEN_FILE}`, so others on a node may read the token"
        yield ("setup_commands",), message


def _dashboard(config: dict[str, Any]) -> Iterator[Fault]:
    for i, command in enumerate(config.get("head_start_ray_commands") or []):
        for host in re.findall(r"--dashboard-host[=\s]+(\S+)", command):
            if host.strip("'\";") not in LOOPBACK:
                rule = "but must be 127.0.0.1: `ray dashboard` and `grokray submit` reach it through SSH"
                yield ("head_start_ray_commands", i), f"--dashboard-host is {host}, {rule}"


def _filled_in(config: dict[str, Any]) -> Iterator[Fault]:
    for keys, value in _leaves(config):
        if found := PLACEHOLDER.search(value):
            yield keys, f"{found[0]} stands for one of yours, which is to be filled in"


def _health_checks(config: dict[str, Any]) -> Iterator[Fault]:
    missing = [name for name in HEALTH_CHECKS if f"{name}=" not in _text(config, *HEAD_COMMANDS)]
    if missing:
        message = (
            f"{', '.join(missing)} must be set where the head starts: a lost node is noticed a minute late otherwise"
        )
        yield ("head_start_ray_commands",), message


def _pinned(config: dict[str, Any]) -> Iterator[Fault]:
    for key in {*HEAD_COMMANDS, *WORKER_COMMANDS}:
        for i, command in enumerate(config.get(key) or []):
            for name in _unpinned(command):
                message = (
                    f"{name} is installed without a version, but must be pinned: nodes that join later may get another"
                )
                yield (key, i), f"{message} (or give --constraint)"


def _unpinned(command: str) -> Iterator[str]:
    """Names that a `pip install` leaves open: `pip install ray boto3==1.40` → ray."""
    for words in re.findall(r"\bpip3?\s+install\s+([^;&|]*)", command):
        if re.search(r"(?:^|\s)(?:-c|--constraints?)[\s=]", words):
            continue
        takes_value = False
        for word in words.split():
            if not takes_value and not word.startswith("-"):
                name = word.strip("'\"")
                if not re.search(r"==|@|[/~]|^\.|\.whl$", name):
                    yield name
            takes_value = word in ("-r", "--requirement", "-e", "--editable", "--python", "--target", "-t", "-i")


def _secrets(config: dict[str, Any]) -> Iterator[Fault]:
    for keys, value in _leaves(config):
        if key := next((key for key in keys if key in SECRET_KEYS), None):
            yield keys[: keys.index(key) + 1], f"{key} must not stand in the file: the machines' own roles stand for it"
        for pattern, what in SECRETS:
            if pattern.search(value):
                yield keys, f"this holds {what}, but must not: files are copied to every node and kept in its logs"


def _leaves(value: Any, keys: tuple[str | int, ...] = ()) -> Iterator[tuple[tuple[str | int, ...], str]]:
    if isinstance(value, dict | list):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _leaves(inner, (*keys, key))
    else:
        # With its key: `AWS_SECRET_ACCESS_KEY: abc` is a secret as `AWS_SECRET_ACCESS_KEY=abc` is.
        yield keys, f"{keys[-1]}={value}" if keys and isinstance(keys[-1], str) else str(value)


def _text(config: dict[str, Any], *keys: str) -> str:
    return "\n".join(command for key in keys for command in config.get(key) or [])
