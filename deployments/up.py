"""`qdrant-dr up`: from a written qdrant-dr.yaml to a scheduled pipeline. Again: without a change.

It uses the Prefect API that is configured (`PREFECT_API_URL` or a profile), which it never changes;
only where there is none it starts a server of its own below `.up/`. Then: work pool and queues,
limits, configuration block, automations, the deployments of prefect.yaml, a worker; and it waits
until the server sees the worker and has made a run for every schedule. `qdrant-dr down` takes the
processes away again; deployments and data stay.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from prefect.client.orchestration import get_client
from prefect.settings import PREFECT_API_URL, get_current_settings, temporary_settings

from deployments import prefect_yaml
from deployments.configured_api import configured_api, look_at, refusals_named, shown
from deployments.deploy import deploy, refuse_those_of_others
from deployments.inputs import DEFAULT_POOL, NOTIFY, POOL, Asked, look, named
from deployments.local_server import LocalServer
from deployments.register import NOBODY, is_told, register
from deployments.upcoming import await_scheduled
from deployments.worker import Worker, online
from qdrant_dr.disk import own_folder
from qdrant_dr.errors import SetupFailed, UsageError
from tasks.config import is_file

PREFECT_YAML = Path(__file__).parents[1] / "prefect.yaml"
Say = Callable[[str], None]


def home() -> Path:
    """Return where the processes that are started here keep their pids, logs and data."""
    return Path(os.environ.get("QDR_UP_HOME", ".up")).resolve()


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Allow one `up` or `down` at a time. Raise UsageError for the second, FolderUnsafe if others
    may write there."""
    own_folder(folder, "$QDR_UP_HOME")  # by the pids in it, processes are ended
    with (folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UsageError(
                f"another `qdrant-dr up` or `down` is at work in {folder}", "wait for its end."
            ) from None
        yield


def say(text: str) -> None:
    """Print for the person watching, at once."""
    print(text, flush=True)


def up(prefect_file: Path | None, environ: Mapping[str, str], say: Say = say) -> None:
    """Set everything up and say so, one `up` at a time. Raise UsageError before, SetupFailed on
    the way."""
    with alone(home()):
        _up(prefect_file or PREFECT_YAML, environ, say)


def _up(prefect_file: Path, environ: Mapping[str, str], say: Say) -> None:
    server = LocalServer(home())
    api = configured_api()
    own = api is None or api == server.api
    chosen = {**environ, POOL: environ.get(POOL) or DEFAULT_POOL}
    if own:
        chosen = server.environment(chosen)
    else:
        for line in look_at(str(api)):
            say(line)
    if own and not is_file(named(chosen)):  # a block of that server must be asked for
        server.ensure(chosen)
    with temporary_settings({PREFECT_API_URL: server.api if own else api}):
        asked = look(prefect_file, chosen)
    if own:
        say(f"prefect server: {server.ensure(chosen)}")
        chosen = server.environment(chosen)
        api = server.api
    with temporary_settings({PREFECT_API_URL: api}), refusals_named(str(api)):
        set_up(asked, str(api), asked.environment(chosen), say, own=own)


def register_only(
    prefect_file: Path | None, environ: Mapping[str, str], save_as: str | None, say: Say = say
) -> None:
    """Do what `up` does, but start nothing: the worker and the server belong to somebody else.

    Raise SetupFailed before anything is made if no API is configured and no earlier `up` has left
    one here, or if it cannot be worked with.
    """
    server = LocalServer(home())
    chosen = {**environ, POOL: environ.get(POOL) or DEFAULT_POOL}
    if (api := configured_api()) is None:
        if (api := server.api) is None:
            raise SetupFailed(
                "no Prefect API is configured",
                "`export PREFECT_API_URL=http://HOST:4200/api` for a server of yours; "
                "`qdrant-dr up` starts one here.",
            )
        chosen = server.environment(chosen)
    with temporary_settings({PREFECT_API_URL: api}), refusals_named(api):
        for line in look_at(api):
            say(line)
        asked = look(prefect_file or PREFECT_YAML, chosen, worker_here=False)
        make(asked, asked.environment(chosen), save_as, say)
        with get_client(sync_client=True) as client:
            if not is_told(client, asked.config):
                say(NOBODY)


def make(asked: Asked, environ: Mapping[str, str], save_as: str | None, say: Say) -> None:
    """Register and deploy, a line each."""
    with get_client(sync_client=True) as client:
        refuse_those_of_others(client, asked, environ)
    for line in register(asked.reference, asked.pool, save_as, environ.get(NOTIFY) or None):
        say(line)
    with get_client(sync_client=True) as client:
        for line in deploy(client, asked, environ):
            say(line)


def set_up(asked: Asked, api: str, environ: Mapping[str, str], say: Say, *, own: bool) -> None:
    """Register, deploy, start, wait, and tell what comes next."""
    make(asked, environ, asked.block, say)
    with get_client(sync_client=True) as client:
        if (kind := client.read_work_pool(asked.pool).type) == "process":
            did = Worker(home()).ensure(client, asked.pool, shown(api), environ)
            say(f"worker: {did}")
        elif not online(client, asked.pool):
            say(f"worker: none is online, and pool {asked.pool} is of type {kind}: start one "
                f"there, `prefect worker start --pool {asked.pool}`")  # fmt: skip
        entries = prefect_yaml.entries(asked.spec, environ)
        coming = await_scheduled(client, {e.name: list(e.schedules) for e in entries})
        told = is_told(client, asked.config)
    say("\nscheduled next (UTC):")
    for run in coming:
        say(f"  {run.due:%Y-%m-%d %H:%M}  {run.deployment}")
    backup = next((e.name for e in entries if e.flow.name == "backup"), None)
    tell_next(shown(api), backup, say, own=own)
    if not told:
        say(NOBODY)


def tell_next(api: str, backup: str | None, say: Say, *, own: bool) -> None:
    """Print what people want to do now, as commands to copy."""
    say(f"\npages  {ui_of(api)}\nlogs   {home()}\n")
    lines = [(f"export PREFECT_API_URL={api}", "so that Prefect's commands find it")] if own else []
    if backup:
        lines.append((f"{command('prefect')} deployment run {backup} --watch", "a backup now"))
    lines += [
        (f"{command('qdrant-dr')} status", "what is protected"),
        (f"{command('qdrant-dr')} down",
         "end the worker" + (" and the server; data stays" if own else "")),
    ]  # fmt: skip
    width = max(len(line) for line, _ in lines)
    for line, why in lines:
        say(f"{line:<{width}}  # {why}")


def ui_of(api: str) -> str:
    """Return the address of the pages for people."""
    return shown(get_current_settings().ui_url or api.removesuffix("/api"))


def command(name: str) -> str:
    """Return how to call a program of this environment from here: it need not be activated."""
    ours = Path(sys.executable).parent / name
    found = shutil.which(name)
    return name if found and Path(found) == ours else os.path.relpath(ours)
