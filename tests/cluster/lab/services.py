"""What the lab's client serves to the others: a cloud, and an object store. Seen from the test."""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass
from typing import Any

from tests.cluster.lab.cluster_file import profiles
from tests.cluster.lab.lab import BIN, CLIENT_IP, Lab
from tests.cluster.lab.rgw import ACCESS_KEY, SECRET_KEY

BUCKET = "sweeps"
# As a user's own on the client; nothing carries them to a cluster.
CREDENTIALS = f"[default]\naws_access_key_id = {ACCESS_KEY}\naws_secret_access_key = {SECRET_KEY}\n"


@dataclass(frozen=True)
class Machine:
    """A host that the cloud has booted for an instance."""

    name: str
    ip: str
    node_type: str
    instance: str


class Cloud:
    """The cloud's API, and its machines."""

    def __init__(self, lab: Lab, config: dict[str, Any]) -> None:
        """As the content of a cluster file needs it."""
        self._lab, self._region = lab, config["provider"]["region"]
        command = (f"{BIN}/python", "-m", "tests.cluster.lab.cloud", self._region, ACCESS_KEY, SECRET_KEY)
        lab.start(*command, *sorted(profiles(config)), log="cloud.log")

    def wait(self) -> None:
        self._lab.wait_for("the cloud", lambda: self._told("ready"), seconds=120)

    def machines(self) -> list[Machine]:
        """All that were ever booted, in that order."""
        return [Machine(e["host"], e["ip"], e["node_type"], e["instance"]) for e in self._told("boot")]

    def powered(self) -> list[Machine]:
        """Those whose instances the cloud has not terminated."""
        off = {event["instance"] for event in self._told("power_off")}
        return [machine for machine in self.machines() if machine.instance not in off]

    def terminate(self, machine: Machine) -> None:
        """As the cloud does with an instance whose hardware has failed."""
        words = ("terminate_instances", f"InstanceIds=[{machine.instance!r}]")
        code = f"import boto3; boto3.client('ec2', region_name={self._region!r}).{words[0]}({words[1]})"
        self._lab.run(f"{BIN}/python", "-c", code)

    def _told(self, event: str) -> list[dict[str, Any]]:
        lines = self._lab.log("cloud.jsonl").splitlines()
        return [told for told in map(json.loads, lines) if told["event"] == event]


class ObjectStore:
    """An S3 server with one bucket that exists."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self._folder = lab.folder / "store"
        self._folder.mkdir()
        command = (f"{BIN}/python", "-m", "tests.cluster.lab.object_store", self._folder, CLIENT_IP, "9000", BUCKET)
        lab.start(*command, log="store.log")
        (lab.folder / "credentials").write_text(CREDENTIALS)
        lab.run("bash", "-c", f"umask 077; mkdir ~/.aws; cp {shlex.quote(str(lab.folder))}/credentials ~/.aws/")

    def wait(self) -> None:
        self._lab.wait_for("the object store", (self._folder / "ready").exists, seconds=240)

    def freeze(self) -> None:
        """As if the network to it were down: nothing answers, no connection closes."""
        self._lab.run("pkill", "-STOP", "-x", "radosgw")

    def thaw(self) -> None:
        self._lab.run("pkill", "-CONT", "-x", "radosgw")
