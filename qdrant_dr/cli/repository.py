"""`repository create|list|show|adopt`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from qdrant_dr import layout
from qdrant_dr.cli.exit_codes import Verdict
from qdrant_dr.cli.packs import LAST_BACKUPS, packs_of_repository, stored_in_words
from qdrant_dr.cli.session import Column, Given, Reply, Session
from qdrant_dr.cli.tables import listed, table, terminal_width
from qdrant_dr.cli.words import moment
from qdrant_dr.errors import DRError, NothingSelected, UsageError
from qdrant_dr.quantities import format_size
from qdrant_dr.report.evidence.vaults import monthly_cost
from qdrant_dr.repository import (
    adopt_repository,
    create_repository,
    location_of,
    read_repository,
    stranger_remarks,
)
from qdrant_dr.text import printable

if TYPE_CHECKING:
    from qdrant_dr.config import RepositoryConfig

CREATED = (Column("name", "NAME"), Column("id", "ID"), Column("location", "LOCATION"))
ADOPTED = (
    Column("name", "NAME"),
    Column("was", "WAS"),
    Column("id", "ID", lambda made: made or "-"),
    Column("backups", "BACKUPS", right=True),
    Column("location", "LOCATION"),
)
LISTED = (
    Column("name", "NAME"),
    Column("id", "ID"),
    Column("domain", "DOMAIN"),
    Column("state", "STATE"),
    Column("location", "LOCATION"),
)

HELD = (
    Column("folder", "FOLDER"),
    Column("objects", "OBJECTS", str, right=True),
    Column("size", "SIZE", format_size, right=True),
)


def create(
    *names: str,
    save: Annotated[bool, Parameter(negative=())] = False,
    layout: Literal["plain", "chunked"] = "plain",
    encrypt: Annotated[bool, Parameter(negative=())] = False,
    session: Given,
) -> Reply:
    """Create the repositories that are configured without an id, and print their new ids.

    Put each id into the configuration, below its name, or let --save do it. From then on it is an
    error if another repository, or none, is found at that place.

    Parameters
    ----------
    names
        Only these.
    save
        Write the ids into the configuration file.
    layout
        How archives are stored: `plain` as they are, `chunked` each block once, compressed.
    encrypt
        Encrypt a chunked repository with the `key` that is configured for it; a key file that is
        not there yet is made.
    """
    wanted = _wanted(session, names)
    if taken := [r.name for r in wanted if r.id is not None]:
        if names:
            raise UsageError(
                f"{', '.join(taken)}: an id is configured, so it exists already",
                "`qdrant-dr repository show NAME` shows it.",
            )
        wanted = [r for r in wanted if r.id is None]
    if not wanted:
        return Reply(
            rows=[
                {"name": r.name, "id": r.id, "location": str(location_of(r))}
                for r in session.config.repositories
            ],
            columns=CREATED,
            remarks=[
                "nothing to create: every configured repository has an id",
                "`qdrant-dr repository list` checks that they are there",
            ],
        )
    rows: list[dict[str, Any]] = []
    errors: list[DRError] = []
    for cfg in wanted:
        try:
            made = create_repository(cfg, datetime.now(UTC), kind=layout, encrypt=encrypt)
            key_id = _key_id(cfg, session) if encrypt else None
        except DRError as e:
            errors.append(e)
            continue
        row = {"name": cfg.name, "id": made, "location": str(location_of(cfg))}
        rows.append(row | {"layout": layout, "key_id": key_id})
    remarks = [line for row in rows if row["key_id"] for line in _about_key(row)]
    try:
        keys = {row["name"]: row["key_id"] for row in rows if row["key_id"]}
        remarks += _keep(session, {row["name"]: row["id"] for row in rows}, keys, save=save)
    except DRError as e:  # the repositories exist: their ids must be printed all the same
        errors.append(e)
    return Reply(
        rows=rows,
        columns=CREATED,
        verdict="failed" if errors else "ok",
        exit_code=errors[0].exit_code if errors else 0,
        errors=errors,
        remarks=remarks,
    )


def adopt(
    *names: str,
    execute: Annotated[bool, Parameter(negative=())] = False,
    save: Annotated[bool, Parameter(negative=())] = False,
    session: Given,
) -> Reply:
    """Give repositories that were copied elsewhere ids of their own.

    Proofs of the original no longer count here: run `verify` to prove these copies. Without
    --execute it says what would be done.

    Parameters
    ----------
    names
        Names in the configuration. Default: those configured without an id.
    execute
        Write the new ids.
    save
        Also write the ids into the configuration file.
    """
    from qdrant_dr.jobs.adopt.job import plan_adopt
    from qdrant_dr.jobs.run.ledger import ledger_of_copy
    from qdrant_dr.repository.changes import noting_changes

    if save and not execute:
        raise UsageError("--save stores the ids that --execute makes", "give both, or neither.")
    wanted = _wanted(session, names)
    if not names:
        wanted = [r for r in wanted if r.id is None]
    if not wanted:
        raise NothingSelected(
            "every configured repository has an id", "name the repository that was copied."
        )
    rows: list[dict[str, Any]] = []
    errors: list[DRError] = []
    unlisted: list[DRError] = []
    remarks: list[str] = []
    for cfg in wanted:
        try:
            now = datetime.now(UTC)
            plan = plan_adopt(session.config, cfg.name, now)
            backups = sum(s.path.endswith("/manifest.json") for s in plan.found.find("backups"))
            made = None
            if execute:
                with noting_changes() as changes:
                    made = adopt_repository(plan.found, now)
                adopted = read_repository(cfg, stall_timeout=session.config.copies.stall_timeout)
                unlisted += ledger_of_copy(session.config, adopted, changes).values()
        except DRError as e:
            errors.append(e)
            continue
        remarks += [f"{cfg.name}: {remark}" for remark in plan.remarks]
        found = {"name": cfg.name, "was": plan.found.id, "id": made, "backups": backups}
        rows.append(found | {"location": str(plan.found.location)})
    if execute:
        try:
            remarks += _keep(session, {row["name"]: row["id"] for row in rows}, {}, save=save)
        except DRError as e:  # the ids are written: they must be printed all the same
            errors.append(e)
        remarks += [f"next: qdrant-dr verify -r {row['name']}" for row in rows]
    elif rows:
        remarks.append("nothing was changed; stop whatever copies into it, then add --execute")
    return Reply(
        rows=rows,
        columns=ADOPTED,
        verdict="failed" if errors else "degraded" if unlisted else "ok",
        exit_code=errors[0].exit_code if errors else None,
        errors=[*errors, *unlisted],
        remarks=remarks,
    )


def list_repositories(*, session: Given) -> Reply:
    """List the configured repositories and whether they can be used."""
    rows = []
    errors: list[DRError] = []
    for cfg in session.config.repositories:
        row, error = _look(cfg, session)
        rows.append(row)
        errors += [error] if error else []
    verdict: Verdict = "degraded" if len(errors) < len(rows) else "failed"
    verdict = verdict if errors else "ok"
    return Reply(
        rows=rows,
        columns=LISTED,
        verdict=verdict,
        exit_code=errors[0].exit_code if verdict == "failed" else None,
        errors=errors,
    )


def show(name: str, /, *, session: Given) -> Reply:
    """Show one repository: its id, location and contents.

    Parameters
    ----------
    name
        Its name in the configuration.
    """
    (cfg,) = _wanted(session, [name])
    found = read_repository(cfg, stall_timeout=session.config.copies.stall_timeout)
    folders = ("backups", "proofs", "runs")
    looked = {folder: found.sort_out(folder) for folder in layout.FOLDERS}
    objects = {folder: looked[folder][0] for folder in folders}
    strangers = [s for _, others in looked.values() for s in others]
    facts: dict[str, Any] = {
        "name": found.name,
        "id": found.id,
        "configured_id": cfg.id,
        "domain": found.domain,
        "location": str(found.location),
        "layout": found.record.layout,
        "key_id": found.record.key_id,
        "created_at": found.record.created_at,
        "created_by": found.record.tool_version,
        "adopted_from": ", ".join(found.record.adopted_from) or None,
        "free_bytes": found.store.free_bytes(),
    }
    for folder, there in objects.items():
        facts[f"{folder}_objects"] = len(there)
        facts[f"{folder}_bytes"] = sum(stat.size_bytes for stat in there)
    if found.record.layout == "chunked":
        facts |= packs_of_repository(session, cfg.name)
    elif (cost := monthly_cost(facts["backups_bytes"], cfg.price_per_gib_month)) is not None:
        facts["monthly_cost"] = cost
    facts["foreign_objects"] = ", ".join(printable(s.path) for s in strangers) or None
    wrong = found.id != cfg.id
    return Reply(
        rows=[facts],
        text=_in_words(facts, folders),
        verdict="ok" if not wrong else "failed" if cfg.id else "degraded",
        remarks=[
            *([f"id: {found.id} is not the configured id"] if wrong else []),
            *stranger_remarks(strangers),
        ],
    )


def _key_id(cfg: RepositoryConfig, session: Session) -> str | None:
    found = read_repository(cfg, stall_timeout=session.config.copies.stall_timeout)
    return found.record.key_id


def _about_key(row: Mapping[str, Any]) -> list[str]:
    """Say what must be done about a new master key, before a backup depends on it."""
    name = row["name"]
    add = f"qdrant-dr key add {name} --secret file:PATH --label WHERE"
    return [
        f"{name} is encrypted, and ONE secret opens it: lose it, and every backup there is lost",
        f"add a second one now, and keep it elsewhere: `{add}`",
    ]


def _in_words(facts: dict[str, Any], folders: Sequence[str]) -> str:
    """Write what is known of a repository, then what each folder holds."""
    width = terminal_width()
    free, configured = facts["free_bytes"], facts["configured_id"]
    words = {
        "name": facts["name"],
        "id": facts["id"],
        "configured id": None if configured == facts["id"] else configured or "none",
        "domain": facts["domain"],
        "location": facts["location"],
        "layout": facts["layout"],
        "encrypted": facts["key_id"] and f"key {facts['key_id']}",
        "created": f"{moment(facts['created_at'])} by qdrant-dr {facts['created_by']}",
        "adopted from": facts["adopted_from"],
        "stored": stored_in_words(facts),
        "free": None if free is None else format_size(free),
        "foreign objects": facts["foreign_objects"],
    }
    told = [(name, printable(str(value))) for name, value in words.items() if value is not None]
    held = [
        {"folder": f, "objects": facts[f"{f}_objects"], "size": facts[f"{f}_bytes"]}
        for f in (*folders, "packs")
        if f"{f}_objects" in facts
    ]
    text = listed(told, width) + "\n" + table(held, HELD, width)
    if last := facts.get("last_backups"):
        text += "\nThe last backup of each collection:\n" + table(last, LAST_BACKUPS, width)
    return text


def _wanted(session: Session, names: Sequence[str]) -> list[RepositoryConfig]:
    configured = {r.name: r for r in session.config.repositories}
    if unknown := [n for n in names if n not in configured]:
        raise NothingSelected(
            f"no repository is called {', '.join(unknown)}",
            f"choose from {', '.join(configured)}.",
        )
    return [configured[n] for n in names] if names else list(configured.values())


def _look(cfg: RepositoryConfig, session: Session) -> tuple[dict[str, Any], DRError | None]:
    from qdrant_dr.repository import open_repository

    row: dict[str, Any] = {"name": cfg.name, "id": cfg.id, "domain": cfg.domain}
    try:
        row["location"] = str(location_of(cfg))
        found = open_repository(cfg, stall_timeout=session.config.copies.stall_timeout)
        if found.only_read is not None:
            raise found.only_read
    except DRError as e:
        return row | {"state": e.code}, e
    return row | {"state": "ok"}, None


def _keep(
    session: Session, ids: Mapping[str, str], keys: Mapping[str, str], *, save: bool
) -> list[str]:
    """Write the ids, of repositories and of their master keys, into the configuration file, or say
    what to write there."""
    if not ids:
        return []
    from qdrant_dr import configfile

    if save:
        reference = configfile.find(session.reference)
        configfile.save_ids(Path(reference), ids, keys)
        return [f"wrote {len(ids)} id{'s' * (len(ids) != 1)} into {reference}"]
    pinned = {name: f' and `key_id: "{key}"`' for name, key in keys.items()}
    return [
        f'put `id: "{made}"`{pinned.get(name, "")} below `name: {name}`'
        for name, made in ids.items()
    ]
