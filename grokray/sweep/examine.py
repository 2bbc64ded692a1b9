"""All checks of `grokray doctor`, in the order in which they are told."""

from __future__ import annotations

from collections.abc import Iterator

from grokray.errors import ConfigError, GrokrayError
from grokray.sweep import doctor
from grokray.sweep.cluster import ray_cluster
from grokray.sweep.doctor import Finding, Level
from grokray.sweep.doctor_storage import Probe, fault_of, mark, of_store_here
from grokray.sweep.facts import facts
from grokray.sweep.guard import control_answer, find


def examine(address: str | None = None, out: str | None = None, cluster: str | None = None) -> Iterator[Finding]:
    """Findings about this machine, the folder `out`, the file `cluster` of a cluster and the cluster at `address`.

    What is wrong is a finding, not an error.
    """
    mine = facts()
    yield from doctor.of_versions(mine)
    yield from doctor.of_machine(mine)
    if address is None:
        yield doctor.of_token_here(mine)
    if cluster is not None:
        yield from _cluster_file(cluster)
    try:
        probe = None if out is None else Probe(out, mark())
    except GrokrayError as error:
        probe = None
        yield fault_of(error)
    try:
        if probe is not None:
            for finding in of_store_here(probe):
                yield finding
                if finding.level == "fault":
                    probe = None
        if address is not None:
            yield from _cluster(address, mine, probe)
    finally:
        if probe is not None:
            probe.delete()


def _cluster_file(path: str) -> Iterator[Finding]:
    """What is wrong is a fault; what is merely unwise, a warning."""
    from grokray.sweep.cluster_file import read_cluster_file

    levels: tuple[tuple[bool, Level], ...] = ((False, "fault"), (True, "warning"))
    for strict, level in levels:
        try:
            read_cluster_file(path, strict=strict)
        except ConfigError as error:
            for problem in error.problems:
                yield Finding(check="file", level=level, text=str(problem), cure=error.hint or "")
            return
    yield Finding(check="file", level="ok", text=f"{path} says nothing wrong")


def _cluster(address: str, mine: doctor.Facts, probe: Probe | None) -> Iterator[Finding]:
    from grokray.sweep.doctor_cluster import of_cluster, of_guard

    try:
        found = find(address)
        # Before joining it: to ask without a token takes it from all that is connected.
        guarded = control_answer(found) == "guarded"
        yield from of_guard(found, guarded=guarded)
        with ray_cluster(found, insecure=True):
            yield from of_cluster(found, mine, probe, guarded=guarded)
    except (GrokrayError, OSError) as error:
        cure = getattr(error, "hint", None) or "`ray status` says whether it runs; see that its port can be reached."
        text = str(error) if isinstance(error, GrokrayError) else f"no Ray cluster answers at {address}: {error}"
        yield Finding(check="cluster", level="fault", text=text, cure=cure, where=address)
