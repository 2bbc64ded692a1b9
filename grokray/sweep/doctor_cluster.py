"""The nodes of a cluster, each asked by a small actor that holds no core."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any

import ray
from ray.exceptions import GetTimeoutError, RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from grokray.errors import FileMissing, GrokrayError
from grokray.sweep import doctor
from grokray.sweep.doctor import Finding
from grokray.sweep.doctor_storage import Probe, fault_of, mark, not_shared
from grokray.sweep.facts import Facts, facts, listens_on
from grokray.sweep.guard import dashboard_of, jobs_answer

NOT_SHARED = "not shared"
ANSWER_S = 120.0  # a process has to start there, and torch to be loaded
AT_ONCE = 64  # nodes


class Examiner:
    """Made an actor on a node."""

    def facts(self) -> dict[str, Any]:
        return asdict(facts())

    def now(self) -> float:
        return time.time()

    def listens_on(self, port: int) -> list[str]:
        return listens_on(port)

    def sees(self, uri: str, name: str) -> str | None:
        """What is wrong with the folder here, if anything: NOT_SHARED, or an error's text."""
        try:
            Probe(uri, name).read()
        except FileMissing:
            return NOT_SHARED
        except GrokrayError as error:
            return str(error)
        return None

    def writes(self, uri: str, name: str) -> str | None:
        probe = Probe(uri, name)
        try:
            probe.write()
        except GrokrayError as error:
            return str(error)
        finally:
            probe.delete()
        return None


@dataclass(frozen=True, kw_only=True)
class Node:
    """`name` is what a person calls it; `gpus` is what Ray has there for its actors."""

    id: str
    name: str
    is_head: bool
    gpus: int
    actor: Any


def of_guard(address: str, *, guarded: bool) -> Iterator[Finding]:
    """Whether the cluster asks for a token; `guarded` is whether its control service does, asked before joining it."""
    if not guarded:
        text = "Ray's control service asks for no token: whoever reaches it can run code there"
        yield Finding(check="token", level="fault", text=text, cure=doctor.GUARD_CURE, where=address)
        return
    yield Finding(check="token", level="ok", text="the cluster asks for a token, and takes ours", where=address)
    dashboard = dashboard_of(address)  # ClusterError if it does not take ours
    answer = "silent" if dashboard is None else jobs_answer(f"http://{dashboard}")
    if answer == "open":
        text = f"the dashboard, at {dashboard}, asks for no token"
        yield Finding(check="token", level="fault", text=text, cure=doctor.GUARD_CURE, where=address)


def of_cluster(address: str, mine: Facts, probe: Probe | None, *, guarded: bool) -> Iterator[Finding]:
    """Everything about the nodes of the cluster that Ray is connected to; the probe has been written here."""
    nodes = _nodes()
    yield Finding(check="nodes", level="ok", text=", ".join(node.name for node in nodes), where=address)
    with ThreadPoolExecutor(min(len(nodes), AT_ONCE) or 1) as pool:
        for findings in pool.map(lambda node: [*_asked(node, address, mine, probe, guarded=guarded)], nodes):
            yield from findings


def _asked(node: Node, address: str, mine: Facts, probe: Probe | None, *, guarded: bool) -> Iterator[Finding]:
    try:
        yield from _of_node(node, mine, probe)
        if node.is_head:
            yield from _doors(node, address, guarded=guarded)
    except GetTimeoutError:
        text, cure = f"does not answer within {ANSWER_S:.0f} s", "`ray status` says what it does."
        yield Finding(check="nodes", level="fault", text=text, cure=cure, where=node.name)
    except RayError as error:
        lines = [line for line in str(error).splitlines() if line.strip()]
        text, cure = f"cannot run grokray: {lines[-1].strip()}", "Install grokray there, as its setup_commands do."
        yield Finding(check="nodes", level="fault", text=text, cure=cure, where=node.name)
    finally:
        ray.kill(node.actor)


def _of_node(node: Node, mine: Facts, probe: Probe | None) -> Iterator[Finding]:
    try:
        theirs = Facts(**_ask(node.actor.facts.remote()))
    except TypeError:  # it knows other facts than we do
        yield doctor.other_code(node.name)
        return
    yield from doctor.of_versions(theirs, mine, node.name)
    yield from doctor.of_machine(theirs, node.name)
    offered = doctor.of_gpus_offered(theirs, node.gpus, node.name)
    if offered:
        yield offered
    yield doctor.of_clock(_clock_offset(node), node.name)
    if probe is not None:
        yield from _storage(node, probe)


def _doors(node: Node, address: str, *, guarded: bool) -> Iterator[Finding]:
    dashboard = ray.get_runtime_context().worker.node.address_info.get("webui_url") or ""
    ports = [text.rpartition(":")[2] for text in (address, dashboard)]
    control, board = ([] if not p.isdigit() else _ask(node.actor.listens_on.remote(int(p))) for p in ports)
    yield from doctor.of_doors(control, board, guarded=guarded)


def _storage(node: Node, probe: Probe) -> Iterator[Finding]:
    uri = probe.store.uri
    trouble = _ask(node.actor.sees.remote(uri, probe.content.decode())) or _ask(node.actor.writes.remote(uri, mark()))
    if trouble == NOT_SHARED:
        yield not_shared(str(probe.store), node.name)
    elif trouble:
        yield fault_of(GrokrayError(trouble), node.name)
    else:
        yield Finding(check="storage", level="ok", text=f"{probe.store} can be written and read", where=node.name)


def _clock_offset(node: Node) -> float:
    """Seconds that the node's clock is ahead of ours, by the quickest of three answers."""
    answers = []
    for _ in range(3):
        before = time.time()
        there = _ask(node.actor.now.remote())
        after = time.time()
        answers.append((after - before, there - (before + after) / 2))
    return min(answers)[1]


def _nodes() -> list[Node]:
    examiner: Any = ray.remote(Examiner)
    nodes = []
    for found in ray.nodes():
        if found["Alive"]:
            place = NodeAffinitySchedulingStrategy(found["NodeID"], soft=False)
            nodes.append(
                Node(
                    id=found["NodeID"],
                    name=f"{found['NodeManagerHostname']} ({found['NodeManagerAddress']})",
                    is_head="node:__internal_head__" in found["Resources"],
                    gpus=int(found["Resources"].get("GPU", 0)),
                    actor=examiner.options(num_cpus=0, scheduling_strategy=place).remote(),
                )
            )
    return sorted(nodes, key=lambda node: (not node.is_head, node.name))


def _ask(call: Any) -> Any:
    return ray.get(call, timeout=ANSWER_S)
