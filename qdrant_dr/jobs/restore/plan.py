"""The plan of one restore: every step in words, or every reason why not. Pure.

What is on the target, what the catalog says and the time are arguments; nothing is asked here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from qdrant_dr.cluster.aliases import AliasPlan, plan_aliases
from qdrant_dr.config import Config
from qdrant_dr.jobs.restore.options import OnTarget, RestoreRequest, continues, goes_on, route_of
from qdrant_dr.jobs.restore.refusals import (
    archive_reasons,
    name_reasons,
    room_reasons,
    spool_reasons,
    topology_reasons,
    versions_reasons,
    way_reasons,
)
from qdrant_dr.jobs.run.trust import trust_reasons
from qdrant_dr.jobs.run.units import RestoreOptions, RestoreUnit, Route
from qdrant_dr.quantities import format_size, how_long
from qdrant_dr.records import BackupKey, Drilled, Manifest, Outcome, Restored, RunEnd, Seal
from qdrant_dr.repository import Backup, Copy, rank_sources, time_to_reach

ASSUMED_RATE = 20 * 2**20
"""Bytes per second from start to proven, where nothing was measured yet."""


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that will be done, and the bytes that it moves."""

    what: str
    size_bytes: int | None = None

    def __str__(self) -> str:
        size = "" if self.size_bytes is None else f" ({format_size(self.size_bytes)})"
        return self.what + size


@dataclass(frozen=True, slots=True)
class RestorePlan:
    """Steps and an estimate, or every reason why not. `warnings` do not stop it.

    `seconds` is from the decision to verified, `estimate` says where the figure comes from.
    """

    key: BackupKey
    target: str
    name: str
    route: Route
    size_bytes: int
    steps: tuple[Step, ...]
    refusals: tuple[str, ...]
    warnings: tuple[str, ...]
    seconds: float
    estimate: str
    unit: RestoreUnit | None

    @property
    def possible(self) -> bool:
        return self.unit is not None


def plan_restore(
    config: Config,
    backup: Backup,
    there: OnTarget,
    options: RestoreRequest,
    *,
    repositories: Sequence[str],
    ends: Sequence[RunEnd],
    now: datetime,
    accepted: bool = False,
    remarks: Sequence[str] = (),
) -> RestorePlan:
    """Decide how to restore one backup, or collect every reason why it is not to be done.

    `accepted`: it is suspect, and somebody has accepted it. `remarks` are what else is to be known
    of the choice.
    """
    manifest = backup.manifest
    name = options.name or manifest.collection
    route = route_of(manifest, there.facts, salvage=options.salvage)
    sources = sources_of(backup, repositories, now=now)
    frozen = archive_reasons(config, backup, sources, repositories)
    refusals, warnings = trust_reasons(
        config,
        backup,
        sources,
        allow_unproven=options.allow_unproven,
        now=now,
        accepted=accepted,
        frozen=frozen,
    )
    readable = any(not s.archived for s in sources)
    there_already = options.way == "server-file" and backup.seal is not None
    refusals += frozen if sources and not readable and not there_already else []
    warnings = [*remarks, *(frozen if readable or there_already else ()), *warnings]
    wait = time_to_reach(sources)
    if options.way == "url" and readable:
        now_there = [s for s in sources if not s.archived]
        signing = tuple(s for s in now_there if s.repository not in there.unsigned)
        refusals += [] if signing else [there.unsigned[s.repository] for s in now_there]
        sources = signing
    refusals += [
        *versions_reasons(manifest, there.facts, salvage=options.salvage),
        *name_reasons(manifest, there, name, options),
        *topology_reasons(manifest, there.facts, options),
        *way_reasons(manifest, options, route),
        *spool_reasons(config, manifest, there, route),
    ]
    known, unknown = room_reasons(config, manifest, there.facts, options)
    refusals, warnings = refusals + known, warnings + unknown
    aliases = plan_aliases(
        manifest.aliases, there.facts.aliases, name, options.aliases, there.facts.collections
    )
    seconds, estimate = no_faster(options, manifest, route, *estimate_of(manifest, ends))
    if wait:
        seconds += wait.total_seconds()
        estimate += f", and {how_long(wait)} to bring it back from the archive"
    unit = None
    if not refusals:
        unit = RestoreUnit(
            key=backup.key,
            repositories=tuple(s.repository for s in sources),
            target=options.to,
            target_key=options.to_key,
            name=name,
            route=route,
            accepted=accepted,
            remarks=tuple(remarks),
            **RestoreOptions.among(dict(options)),
        )
    warnings += [f"alias {alias!r} is left alone: {why}" for alias, why in aliases.left]
    return RestorePlan(
        key=backup.key,
        target=options.to,
        name=name,
        route=route,
        size_bytes=manifest.size_bytes,
        steps=_steps(backup, there, options, name, route, sources, aliases),
        refusals=tuple(refusals),
        warnings=tuple(warnings),
        seconds=seconds,
        estimate=estimate,
        unit=unit,
    )


def sources_of(backup: Backup, repositories: Sequence[str], *, now: datetime) -> tuple[Copy, ...]:
    """Return the copies that may be read, the one to read first in front.

    Those with an open failure are the last resort: their bytes are compared in passing like any.
    What lies in an archive is none if nobody knows how long it takes to bring it back.
    """
    return tuple(
        s.copy
        for s in rank_sources(backup, now=now)
        if s.complete and s.copy.within_reach and s.copy.repository in repositories
    )


def estimate_of(manifest: Manifest, ends: Sequence[RunEnd]) -> tuple[float, str]:
    """Estimate the seconds until proven, and say where the figure comes from: measured on a server,
    or assumed."""
    measured = [
        (outcome.ended_at, *found)
        for end in ends
        for outcome in end.outcomes
        if outcome.collection == manifest.collection and (found := _rate(outcome))
    ]
    if not measured:
        return (
            manifest.size_bytes / ASSUMED_RATE,
            (
                f"assumed {format_size(ASSUMED_RATE)}/s: no restore of {manifest.collection!r} was "
                "measured on a server yet"
            ),
        )
    at, rate, what = max(measured)
    return manifest.size_bytes / rate, (
        f"measured {format_size(rate)}/s by the {what} of {at:%Y-%m-%d}"
    )


def no_faster(
    options: RestoreRequest, manifest: Manifest, route: Route, seconds: float, estimate: str
) -> tuple[float, str]:
    """Return the estimate, or what `--bandwidth` alone takes if that is longer. What is cut here
    passes twice: once as it is read, once shard by shard as it is sent. A salvage and what the
    target fetches itself have no limit."""
    if options.bandwidth is None or options.way != "upload" or route == "salvage":
        return seconds, estimate
    cut = route == "shards"
    passing = sum(p.size_bytes * (1 + (cut and p.kind == "collection")) for p in manifest.parts)
    limited = passing / options.bandwidth
    if limited <= seconds:
        return seconds, estimate
    return limited, f"limited to {format_size(options.bandwidth)}/s by `--bandwidth`"


def _rate(outcome: Outcome) -> tuple[float, str] | None:
    """Bytes per second from decision to verified, if a server was restored with success."""
    detail = outcome.detail
    if outcome.verdict == "failed" or not isinstance(detail, Drilled | Restored):
        return None
    if isinstance(detail, Restored) and detail.route == "salvage":
        return None  # the engine's speed, and not the server's
    took = detail.recovery_us if isinstance(detail, Drilled) else detail.total_us
    on_server = detail.target_kind == "server" and detail.fingerprint_equal
    if not on_server or took <= 0 or not detail.size_bytes:
        return None
    return detail.size_bytes * 1e6 / took, "drill" if isinstance(detail, Drilled) else "restore"


def _steps(
    backup: Backup,
    there: OnTarget,
    options: RestoreRequest,
    name: str,
    route: Route,
    sources: Sequence[Copy],
    aliases: AliasPlan,
) -> tuple[Step, ...]:
    manifest, url = backup.manifest, there.facts.url
    first, *others = [_named(s) for s in sources] or ["no repository"]
    where = first + "".join(f", else {o}" for o in others)
    steps = []
    if (left := there.unfinished) is not None:
        began = f"the restore of {left.backup} that began {left.began_at:%Y-%m-%d %H:%M:%S} UTC"
        if continues(left, backup.key, route):
            steps.append(Step(f"continue {began}: what it recovered is not sent again"))
        elif left.created and goes_on(left, backup.key, route):
            steps.append(
                Step(
                    f"remove what {began} made of {name!r} and did not end, unless somebody has "
                    "filled it since"
                )
            )
    shards, over = len(manifest.shards), options.into_existing and name in there.facts.collections
    if over:
        steps.append(Step(f"replace every point of the existing {name!r} on {url}"))
    elif route == "whole":
        steps.append(Step(f"create {name!r} on {url} from the archive, {shards} shards"))
    else:
        copies = options.replication_factor or manifest.replication_factor
        held = f" of {copies} replicas" if there.facts.clustered else ""
        steps.append(Step(f"create {name!r} on {url}: {shards} shards{held}, payload indexes"))
    steps += [Step(*_moved(route, options, where, p.file, p.size_bytes)) for p in manifest.parts]
    points = _points(backup.seal)
    against = "the seal" if backup.seal else "an engine reading of the same bytes: it has no seal"
    steps += [
        Step("wait until every replica is active and no update is queued"),
        Step(f"compare {points} with {against}"),
        Step("compare payload indexes and configuration with the manifest"),
    ]
    steps += [Step(f"set alias {alias!r} of {name!r}") for alias in aliases.set]
    steps += [Step(f"move alias {a!r} from {was!r} to {name!r}") for a, was in aliases.move]
    if options.way == "upload" and route == "whole":
        steps.append(Step("remove the uploaded file from the target"))
    return tuple(steps)


def _named(source: Copy) -> str:
    return f"{source.repository} (archived)" if source.archived else source.repository


def _moved(
    route: Route, options: RestoreRequest, where: str, file: str, size: int
) -> tuple[str, int]:
    if route == "salvage":
        return f"read {file} from {where} with the engine, and upsert its points", size
    if options.way == "url":
        return f"let the target fetch {file} by a signed URL of {where}", size
    if options.way == "server-file":
        return f"let the target read {options.server_file} where it lies", size
    return f"send {file} from {where}, hashed in passing", size


def _points(seal: Seal | None) -> str:
    return "every point" if seal is None else f"all {seal.points} points"
