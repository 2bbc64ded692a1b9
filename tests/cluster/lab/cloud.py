"""A cloud on the lab's client: moto's EC2 and IAM, and a hypervisor that gives every instance a machine.

Run in the lab: `python -m tests.cluster.lab.cloud REGION ACCESS_KEY SECRET_KEY PROFILE…`. Every running instance
becomes a host with the instance's addresses, which its key pair may log in to; a terminated one has its power cut. Each
host finds its credentials where EC2's instances do, at the metadata service, so no file of the cluster holds a key.

What happens is told in `cloud.jsonl` in the lab's folder, a line each: ready, boot (instance, host, ip, node_type),
power_off (instance, host).
"""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import boto3
from moto.server import ThreadedMotoServer

HERE = Path(__file__).resolve().parent
API = ("0.0.0.0", 5000)
METADATA = ("169.254.169.254", 80)
POLL_S = 0.5
ROLES = "/latest/meta-data/iam/security-credentials/"


def main(region: str, access_key: str, secret_key: str, *profiles: str) -> None:
    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # it tells of every request
    ThreadedMotoServer(*API, verbose=False).start()
    _start_metadata_service(access_key, secret_key)
    for profile in profiles:
        _make_profile(profile)
    Hypervisor(region).run()


def _make_profile(name: str) -> None:
    """There already, as a user's own would be; Ray waits for 30 s after making one."""
    trust = {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}],
    }
    iam = boto3.client("iam")
    iam.create_instance_profile(InstanceProfileName=name)
    iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(trust))
    iam.add_role_to_instance_profile(InstanceProfileName=name, RoleName=name)


def _start_metadata_service(access_key: str, secret_key: str) -> None:
    """Version 2 of the service's protocol, as far as an AWS client asks it for credentials."""
    credentials = {
        "Code": "Success",
        "Type": "AWS-HMAC",
        "LastUpdated": "2026-01-01T00:00:00Z",
        "Expiration": "2099-01-01T00:00:00Z",
        "AccessKeyId": access_key,
        "SecretAccessKey": secret_key,
        "Token": "",
    }
    answers = {ROLES: "role", ROLES + "role": json.dumps(credentials)}

    class Metadata(BaseHTTPRequestHandler):
        def do_PUT(self) -> None:
            self._answer("session" if self.path == "/latest/api/token" else None)

        def do_GET(self) -> None:
            self._answer(answers.get(self.path, answers.get(self.path + "/")))

        def _answer(self, text: str | None) -> None:
            self.send_response(404 if text is None else 200)
            self.send_header("X-aws-ec2-metadata-token-ttl-seconds", "21600")
            self.end_headers()
            self.wfile.write((text or "").encode())

        def log_message(self, *_: Any) -> None:
            pass

    threading.Thread(target=ThreadingHTTPServer(METADATA, Metadata).serve_forever, daemon=True).start()


class Hypervisor:
    """Makes the lab's hosts what the cloud's API says that they are."""

    def __init__(self, region: str) -> None:
        self._ec2 = boto3.client("ec2", region_name=region)
        self._folder = Path(os.environ["LAB"])
        self._hosts: dict[str, str] = {}  # by instance, those whose power is on
        self._booted = 0

    def run(self) -> None:
        self._tell("ready")
        while True:
            for instance in self._instances():
                self._follow(instance)
            time.sleep(POLL_S)

    def _instances(self) -> list[dict[str, Any]]:
        reservations = self._ec2.describe_instances()["Reservations"]
        return [instance for reservation in reservations for instance in reservation["Instances"]]

    def _follow(self, instance: dict[str, Any]) -> None:
        name, state = instance["InstanceId"], instance["State"]["Name"]
        if state == "running" and name not in self._hosts:
            self._hosts[name] = self._boot(instance)
        elif state in ("stopping", "stopped", "shutting-down", "terminated") and name in self._hosts:
            host = self._hosts.pop(name)
            # It may have lost its power before.
            subprocess.run([HERE / "host_cut", host], check=False, stderr=subprocess.DEVNULL)
            self._tell("power_off", instance=name, host=host)

    def _boot(self, instance: dict[str, Any]) -> str:
        self._booted += 1
        host, ip = f"h{self._booted}", instance["PrivateIpAddress"]
        pair = self._ec2.describe_key_pairs(KeyNames=[instance["KeyName"]], IncludePublicKey=True)["KeyPairs"][0]
        key = self._folder / f"{host}.pub"
        key.write_text(pair["PublicKey"].strip() + "\n")
        subprocess.run([HERE / "host_boot", host, ip, instance.get("PublicIpAddress", ""), key], check=True)
        tags = {tag["Key"]: tag["Value"] for tag in instance.get("Tags", [])}
        self._tell(
            "boot", instance=instance["InstanceId"], host=host, ip=ip, node_type=tags.get("ray-user-node-type", "")
        )
        return host

    def _tell(self, event: str, **fields: str) -> None:
        with (self._folder / "cloud.jsonl").open("a") as file:
            file.write(json.dumps({"t": time.time(), "event": event, **fields}) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
