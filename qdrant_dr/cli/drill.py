"""`drill`."""

from __future__ import annotations

from typing import Annotated, Literal

from cyclopts import Parameter
from pydantic import ValidationError

from qdrant_dr.cli.runs import run_verb
from qdrant_dr.cli.session import Given, Reply
from qdrant_dr.config import Config
from qdrant_dr.configfile.refused_values import plain
from qdrant_dr.errors import UsageError
from qdrant_dr.jobs.drill.job import DrillRequest
from qdrant_dr.jobs.drill.job import drill as rehearse
from qdrant_dr.jobs.drill.scenario import usable


def drill(
    collection: str | None = None,
    /,
    *,
    pick: Literal["coverage", "latest", "random"] | None = None,
    engine: Literal["edge", "server"] | None = None,
    scratch: str | None = None,
    repository: Annotated[str | None, Parameter(name=["--repository", "-r"])] = None,
    seed: int | None = None,
    keep: Annotated[bool, Parameter(negative=())] = False,
    scenario: str | None = None,
    ran_by: str = "",
    note: str = "",
    dry_run: Annotated[bool, Parameter(negative=())] = False,
    session: Given,
) -> Reply:
    """Restore backups to a disposable server, prove them there, and measure the time.

    Without a collection it drills as many copies as `drill.budget` allows, the longest undrilled
    first. Engine `server` restores into --scratch, else into the configured scratch, else into a
    server that it starts itself ($QDRANT_BIN, else the sandbox). Only a drill on a real server
    measures a recovery time.

    Parameters
    ----------
    collection
        Drill one backup of this collection. Default: of any.
    pick
        The copy that has gone undrilled longest, the latest backup, or a random one. Default: as
        configured.
    engine
        Read the backup with the engine alone (`edge`), or restore it into a server (`server`).
    scratch
        URL of a server whose data may all be lost. Naming it here declares it disposable.
    repository
        Only copies in this repository.
    seed
        For --pick random: the same seed picks the same backup.
    keep
        Leave the restored collection on the server for inspection; only one copy is drilled then.
    scenario
        The loss to rehearse: lost-collection, lost-node (the cluster is not asked), lost-cloud:NAME
        (nor are the repositories in the failure domain of NAME), or no-prefect.
    ran_by
        Who runs this. Default: the user of this machine.
    note
        A note to store in the record of the run.
    dry_run
        Say what would be drilled, and drill nothing.
    """
    config = session.config
    if scratch is not None:
        if engine == "edge":
            raise UsageError("--engine edge uses no --scratch", "leave out one of them.")
        config, engine = with_scratch(config, scratch), "server"
    request = DrillRequest(
        collection=collection,
        repository=repository,
        pick=pick,
        engine=engine,
        seed=seed,
        keep=keep,
        scenario=scenario,
        ran_by=ran_by,
        note=note,
        dry_run=dry_run,
    )
    there = usable(config, scenario)
    return run_verb(session, "drill", request, rehearse, config=config, repositories=there)


def with_scratch(config: Config, url: str) -> Config:
    """Return the configuration with another scratch; its key stays only for the configured address.

    Raise UsageError for a node of the cluster.
    """
    configured = config.drill.scratch
    key = configured.api_key if configured and configured.url == url else None
    body = config.model_dump(mode="json")
    body["drill"]["scratch"] = {"url": url, "api_key": key, "disposable": True}
    try:
        return Config.model_validate(body)
    except ValidationError as e:
        raise UsageError(f"--scratch {url}: {plain(e.errors()[0])}") from None
