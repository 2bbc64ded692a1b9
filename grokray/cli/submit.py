"""`grokray submit`: a sweep on a cluster, started and watched from here."""

from __future__ import annotations

import shlex
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from grokray.cli.sweep_options import File, Insecure, NumTrials, Overrides, Part, RetryFailed, sweep_of

if TYPE_CHECKING:
    from grokray.sweep.follow import Sweep

NARROWEST = 60  # of the tables that the driver prints


def submit(
    ctx: typer.Context,
    file: File,
    cluster: Annotated[
        str | None, typer.Option(metavar="CLUSTER", help="The file of a cluster that `ray up` started.")
    ] = None,
    address: Annotated[
        str | None, typer.Option(metavar="URL", help="Of a cluster's Jobs API, such as http://127.0.0.1:8265.")
    ] = None,
    out: Annotated[
        str | None,
        typer.Option(metavar="URI", help="The sweep's folder, which every node reaches: s3://bucket/robust."),
    ] = None,
    num_trials: NumTrials = None,
    overrides: Overrides = None,
    part: Part = None,
    no_wait: Annotated[bool, typer.Option("--no-wait", help="Do not wait for its end.")] = False,
    insecure: Insecure = False,
    retry_failed: RetryFailed = False,
) -> int:
    """Run a sweep on a cluster, or watch it if it runs there already. Ctrl-C ends the watching alone."""
    from grokray.cli.screen import screen
    from grokray.sweep.doors import door
    from grokray.sweep.follow import Sweep, Watcher
    from grokray.sweep.parcel import Parcel, folder_for_all_nodes

    config = sweep_of(file, num_trials, overrides, part)
    place = folder_for_all_nodes(out)
    parcel = Parcel(config=config, out=place, part=part, insecure=insecure, retry_failed=retry_failed)
    way = door(cluster=cluster, address=address)

    def tell_job(job_id: str, attached: bool) -> None:
        print(f"job {job_id} {'runs already' if attached else 'is submitted'}", flush=True)
        ctx.obj.farewell = _farewell(sweep, job_id, ctx.obj.resume_command)

    watcher = Watcher(message=lambda text: print(text, flush=True), text=_print, job=tell_job)
    sweep = Sweep(parcel, way, watcher, columns=max(screen().width, NARROWEST))
    if not no_wait:
        code = sweep.run()
        if code == 0:
            print(f"fetch it: grokray fetch {shlex.quote(parcel.folder)} results/{config.name}", flush=True)
        ctx.obj.farewell, ctx.obj.resumable = (), True
        return code
    job_id = sweep.submit()
    again = [word for word in ctx.obj.words if word != "--no-wait"]
    print(*_commands(sweep, job_id, shlex.join(["grokray", *again])), sep="\n")
    return 0


def _print(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


def _farewell(sweep: Sweep, job_id: str, again: str) -> tuple[str, ...]:
    return (f"no longer watching; job {job_id} goes on", *_commands(sweep, job_id, again))


def _commands(sweep: Sweep, job_id: str, again: str) -> tuple[str, ...]:
    """What may be wanted next."""
    return (
        f"watch it: {again}",
        f"look at the folder: grokray status {shlex.quote(sweep.parcel.folder)}",
        f"stop it: {sweep.door.stop_command(job_id)}",
    )
