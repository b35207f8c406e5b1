"""Hand-made records for tests of everything that only reads them.

Each factory makes a valid record with quiet defaults; keyword arguments replace its fields.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from qdrant_dr.config import Config
from qdrant_dr.errors import DRError, RepositoryUnreachable
from qdrant_dr.records import (
    AcceptedBackup,
    Acknowledgement,
    Captured,
    Component,
    Drilled,
    ErrorFacts,
    Expired,
    Finding,
    Fingerprint,
    Location,
    Manifest,
    Outcome,
    Part,
    Phase,
    Proof,
    Proved,
    RepositorySeen,
    Restored,
    RunEnd,
    RunStart,
    Seal,
    SealedShard,
    SeenCollection,
    ShardFacts,
)
from qdrant_dr.records.fingerprint import BUCKETS
from qdrant_dr.repository import (
    Backup,
    Catalog,
    Copy,
    InArchive,
    RepositoryState,
    Unreadable,
    open_failures,
)
from qdrant_dr.stores.tiers import Storage

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
CLUSTER = "prod"


def hours(n: float) -> timedelta:
    return timedelta(hours=n)


def days(n: float) -> timedelta:
    return timedelta(days=n)


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def config(*names: str, **sections: Any) -> Config:
    """A configuration of prod with these repositories (default aws, gcp), a domain each."""
    body: dict[str, Any] = {
        "format": 1,
        "cluster": {"name": CLUSTER, "nodes": ["http://127.0.0.1:6333"]},
        "collections": {"expect": []},
        "repositories": [
            {
                "name": name,
                "id": digest(name)[:8],
                "url": f"memory://{name}",
                "domain": f"domain-{name}",
            }
            for name in names or ("aws", "gcp")
        ],
        "copies": {"quorum": 2, "domains": 2},
    }
    return Config.model_validate({**body, **sections})


def error(code: str = "repository-unreachable", message: str = "no answer") -> ErrorFacts:
    return ErrorFacts(code=code, message=message, hint="run `qdrant-dr check`.")


def location(repository: str) -> Location:
    return Location(protocol="s3", endpoint="", bucket=f"bucket-{repository}", prefix="qdrant")


def repository(name: str, *, reachable: bool = True, **fields: Any) -> RepositorySeen:
    """One as `config` declares it; an unreachable one has no location and an error."""
    return RepositorySeen(
        **{
            "name": name,
            "repository_id": digest(name)[:8],
            "domain": f"domain-{name}",
            "location": location(name) if reachable else None,
            "reachable": reachable,
            "error": None if reachable else error(),
            **fields,
        }
    )


def backup_id(at: datetime, salt: str = "") -> str:
    return f"{at:%Y%m%dT%H%M%SZ}-{digest(f'{at}{salt}')[:6]}"


def manifest(collection: str = "movies", at: datetime = NOW - hours(2), **fields: Any) -> Manifest:
    """A backup of `collection` captured at `at`: one part, one shard, 2000 points."""
    part = Part(
        name="collection",
        kind="collection",
        shards=(0,),
        wal=True,
        size_bytes=fields.pop("size_bytes", 1_449_472),
        sha256=digest(f"{collection}{at}"),
        node="http://127.0.0.1:6333",
        server_name=f"{collection}-1-{at:%Y-%m-%d-%H-%M-%S}.snapshot",
        server_size_bytes=1_449_472,
        server_checksum=digest(f"{collection}{at}"),
    )
    shard = ShardFacts(
        shard=0, operation_before=7, operation_after=7, count_before=2000, count_after=2000
    )
    return Manifest(
        **{
            "backup_id": backup_id(at, collection),
            "run_id": f"{at:%Y%m%dT%H%M%SZ}-aaaaaa",
            "cluster": CLUSTER,
            "collection": collection,
            "incarnation": digest(collection)[:8],
            "source_kind": "server",
            "method": "collection",
            "method_reason": "one node",
            "captured_at": at,
            "answered_at": at + timedelta(seconds=4),
            "transferred_at": at + timedelta(seconds=24),
            "clock_offset_ms": 3,
            "server_version": "1.18.3",
            "server_commit": None,
            "engine_version": "0.9.0",
            "tool_version": "0.1.0",
            "config_sha256": digest("config"),
            "parts": (part,),
            "shards": (shard,),
            "aliases": (),
            "status": "green",
            "collection_info": "{}",
            "collection_cluster": "{}",
            "shard_keys": "[]",
            **fields,
        }
    )


def fingerprint(points: int = 2000, salt: str = "") -> Fingerprint:
    part = Component(count=points, sum=digest(salt), buckets="0" * (BUCKETS * 16))
    return Fingerprint(points=points, components={"id": part})


def seal(of: Manifest, points: int = 2000, **fields: Any) -> Seal:
    total = fingerprint(points, of.backup_id)
    return Seal(
        **{
            "backup_id": of.backup_id,
            "cluster": of.cluster,
            "collection": of.collection,
            "manifest_sha256": of.sha256,
            "sealed_at": of.transferred_at + timedelta(seconds=30),
            "engine_version": "0.9.0",
            "consistency": "quiesced",
            "reference": "source",
            "reference_reason": "nothing moved",
            "live_sample": 100,
            "points": points,
            "shards": (SealedShard(shard=0, operation=7, points=points, settled=total),),
            "total": total,
            **fields,
        }
    )


def acknowledgement(code: str, scope: str, facts: str, **fields: Any) -> Acknowledgement:
    """Of one instance of a finding, by ana, for good."""
    return Acknowledgement(
        **{
            "acknowledgement_id": f"{NOW:%Y%m%dT%H%M%SZ}-{digest(f'{code}{scope}{facts}')[:6]}",
            "cluster": CLUSTER,
            "made_at": NOW,
            "made_by": "ana",
            "reason": "it was meant",
            "until": None,
            "code": code,
            "scope": scope,
            "facts": facts,
            "what": "what was told",
            **fields,
        }
    )


def acceptance(of: Manifest, sealed: Seal, **fields: Any) -> Acknowledgement:
    """Of the content of a backup."""
    accepts = AcceptedBackup(
        backup_id=of.backup_id,
        collection=of.collection,
        incarnation=of.incarnation,
        captured_at=of.captured_at,
        seal_sha256=sealed.sha256,
    )
    given = {"code": "suspect", "scope": str(of.key), "facts": sealed.sha256, "accepts": accepts}
    return acknowledgement(**{**given, **fields})


def expired(of: Manifest, **fields: Any) -> Expired:
    """That a copy of this backup goes."""
    body = {
        "backup_id": of.backup_id,
        "cluster": of.cluster,
        "collection": of.collection,
        "incarnation": of.incarnation,
        "run_id": f"{NOW:%Y%m%dT%H%M%SZ}-e0e0e0",
        "decided_at": NOW,
        "reason": "of the test",
        "captured_at": of.captured_at,
        "size_bytes": of.size_bytes,
        "points": None,
        "manifest_sha256": of.sha256,
        "seal_sha256": None,
    }
    return Expired(**{**body, **fields})


def proof(
    of: Manifest,
    at_repository: str = "aws",
    *,
    depth: str = "content",
    ended_at: datetime | None = None,
    passed: bool = True,
    **fields: Any,
) -> Proof:
    """A full proof of the copy in `at_repository`; a failed one reached nothing and says why."""
    ended = ended_at or of.transferred_at + timedelta(minutes=1)
    deep = passed and depth in ("content", "search", "restore")
    body = {
        "proof_id": f"{ended:%Y%m%dT%H%M%SZ}-"
        + digest(f"{of.key}{at_repository}{depth}{ended}{passed}")[:6],
        "run_id": of.run_id,
        "made_by": "verify",
        "backup_id": of.backup_id,
        "cluster": of.cluster,
        "collection": of.collection,
        "captured_at": of.captured_at,
        "size_bytes": of.size_bytes,
        "manifest_sha256": of.sha256,
        "repository_id": digest(at_repository)[:8],
        "location": location(at_repository),
        "started_at": ended - timedelta(seconds=20),
        "ended_at": ended,
        "depth": depth,
        "reached": depth if passed else None,
        "passed": passed,
        "bytes_expected": of.size_bytes,
        "bytes_checked": of.size_bytes,
        "points_expected": 2000 if deep else None,
        "points_checked": 2000 if deep else None,
        "seal_sha256": seal(of).sha256 if deep else None,
        "engine": "edge 0.9.0",
        "findings": () if passed else (Finding(code="bytes-differ", message="sha256 differs"),),
    }
    return Proof(**{**body, **fields})


def run_start(job: str = "backup", at: datetime = NOW - hours(2), **fields: Any) -> RunStart:
    return RunStart(
        **{
            "run_id": f"{at:%Y%m%dT%H%M%SZ}-{digest(job)[:6]}",
            "job": job,
            "trigger": "schedule",
            "actor": "prefect",
            "scheduled_for": at - timedelta(seconds=5),
            "started_at": at,
            "cluster": CLUSTER,
            "source_kind": "server",
            "tool_version": "0.1.0",
            "versions": {"qdrant-dr": "0.1.0", "qdrant-edge-py": "0.9.0"},
            "config_sha256": digest("config"),
            **fields,
        }
    )


def seen(collection: str, status: str = "included", **fields: Any) -> SeenCollection:
    return SeenCollection(**{"collection": collection, "status": status, "rule": "*", **fields})


def run_end(start: RunStart | None = None, **fields: Any) -> RunEnd:
    """The end of `start`, five minutes later and ok, unless told otherwise."""
    start = start or run_start()
    return RunEnd(
        **{
            "start": start,
            "ended_at": start.started_at + timedelta(minutes=5),
            "source_kind": start.source_kind,
            "verdict": "ok",
            "reasons": (),
            **fields,
        }
    )


def captured(of: Manifest, *repositories: str, **fields: Any) -> Outcome:
    """The unit that made this backup."""
    detail = Captured(
        size_bytes=of.size_bytes,
        points_count=2000,
        committed=repositories or ("aws", "gcp"),
        captured_at=of.captured_at,
        capture_us=4_000_000,
        transfer_us=20_000_000,
        server_snapshot=fields.pop("server_snapshot", "deleted"),
        kept=fields.pop("kept", ()),
    )
    return _outcome("capture", of, of.captured_at, detail=detail, **fields)


def proved(by: Proof, **fields: Any) -> Outcome:
    """The unit that made this proof."""
    detail = Proved(
        proof_id=by.proof_id,
        depth=by.depth,
        reached=by.reached,
        passed=by.passed,
        bytes_checked=by.bytes_checked,
        points_checked=by.points_checked,
    )
    return Outcome(
        **{
            "unit": "verify",
            "collection": by.collection,
            "backup_id": by.backup_id,
            "verdict": "ok" if by.passed else "failed",
            "started_at": by.started_at,
            "ended_at": by.ended_at,
            "detail": detail,
            **fields,
        }
    )


PHASE_SECONDS = {
    "pick": 0.2, "fetch": 12.0, "start": 1.5, "recover": 30.0, "ready": 2.0, "prove": 9.0,
    "tear down": 60.0,
}  # fmt: skip
"""Decision to verified: 54.7 s; recover and ready: 32 s."""


def drilled(
    of: Manifest,
    at: datetime = NOW - hours(1),
    *,
    engine: str = "server",
    target_kind: str | None = "server",
    slower: float = 1.0,
    verdict: str = "ok",
    detail: dict[str, Any] | None = None,
    **fields: Any,
) -> Outcome:
    """A drill of this backup; `slower` stretches every phase."""
    phases, begin = [], at
    for name, length in PHASE_SECONDS.items():
        us = int(length * slower * 1e6)
        moved = of.size_bytes if name in ("fetch", "recover") else None
        phases.append(Phase(name=name, started_at=begin, duration_us=us, size_bytes=moved))
        begin += timedelta(microseconds=us)
    body = {
        "drill_id": f"qdr-drill-{digest(f'{of.key}{at}')[:8]}",
        "engine": engine,
        "target_kind": target_kind if engine == "server" else None,
        "server_version": "1.18.3" if engine == "server" else None,
        "pick": "coverage",
        "seed": 7,
        "captured_at": of.captured_at,
        "size_bytes": of.size_bytes,
        "points_expected": 2000,
        "points_restored": 2000,
        "fingerprint_equal": True,
        "phases": tuple(phases),
        "total_us": sum(p.duration_us for p in phases),
        "isolation": "VPC dr-drill",
        "teardown": "deleted",
        **(detail or {}),
    }
    return _outcome("drill", of, at, verdict=verdict, detail=Drilled(**body), **fields)


def restored(
    of: Manifest,
    at: datetime = NOW - hours(1),
    *,
    verdict: str = "ok",
    detail: dict[str, Any] | None = None,
    **fields: Any,
) -> Outcome:
    """A restore of this backup into another server: 90 s, all of it, approved by somebody else."""
    body = {
        "restore_id": f"qdr-restore-{digest(f'{of.key}{at}')[:8]}",
        "target": "https://new.internal:6333",
        "target_kind": "server",
        "server_version": "1.18.3",
        "name": of.collection,
        "route": "whole",
        "way": "upload",
        "sources": ("aws",),
        "captured_at": of.captured_at,
        "size_bytes": of.size_bytes,
        "sent_bytes": of.size_bytes,
        "points_expected": 2000,
        "points_restored": 2000,
        "fingerprint_equal": True,
        "aliases_set": of.aliases,
        "created": True,
        "phases": (
            Phase(name="recover", started_at=at, duration_us=70_000_000),
            Phase(name="prove", started_at=at + timedelta(seconds=70), duration_us=20_000_000),
        ),
        "total_us": 90_000_000,
        "ticket": "INC-1",
        "approved_by": "ana",
        **(detail or {}),
    }
    return _outcome("restore", of, at, verdict=verdict, detail=Restored(**body), **fields)


def _outcome(unit: str, of: Manifest, at: datetime, **fields: Any) -> Outcome:
    return Outcome(
        **{
            "unit": unit,
            "collection": of.collection,
            "repository": None if unit == "capture" else "aws",
            "backup_id": of.backup_id,
            "verdict": "ok",
            "started_at": at,
            "ended_at": at + timedelta(minutes=2),
            **fields,
        }
    )


def state(name: str, failure: DRError | None = None, **fields: Any) -> RepositoryState:
    """A repository as `config` declares it; with a failure it could not be read."""
    body = {"id": digest(name)[:8], "domain": f"domain-{name}", "location": location(name)}
    return RepositoryState(**{"name": name, **body, "error": failure, **fields})


def catalog(
    manifests: Mapping[str, Sequence[Manifest]],
    *,
    seals: Iterable[Seal] = (),
    proofs: Iterable[Proof] = (),
    unreachable: Iterable[str] = (),
    unreadable: Iterable[Unreadable] = (),
    states: Iterable[RepositoryState] | None = None,
) -> Catalog:
    """A catalog of what each repository holds, by name; those in `unreachable` hold nothing."""
    lost, proofs = set(unreachable), tuple(proofs)
    failure = RepositoryUnreachable("no answer")
    found = tuple(states or (state(n, failure if n in lost else None) for n in manifests))
    known = {m.key: m for held in manifests.values() for m in held}
    sealed = {s.backup_id: s for s in seals}
    of_id = {m.backup_id: m for m in known.values()}
    for p in proofs:  # a proof of content compared with a seal: the backup has it
        if p.seal_sha256 and p.backup_id in of_id and p.backup_id not in sealed:
            sealed[p.backup_id] = seal(of_id[p.backup_id])
    proofs = tuple(
        p.model_copy(update={"seal_sha256": sealed[p.backup_id].sha256})
        if p.seal_sha256 and p.backup_id in sealed
        else p
        for p in proofs
    )
    return Catalog(
        cluster=CLUSTER,
        repositories=found,
        backups=tuple(
            Backup(
                manifest=m,
                seal=sealed.get(m.backup_id),
                copies=tuple(_copy(r, m, manifests.get(r.name, ()), proofs) for r in found),
            )
            for m in sorted(known.values(), key=lambda m: (m.captured_at, m.backup_id))
            if any(m in held for name, held in manifests.items() if name not in lost)
        ),
        unreadable=tuple(unreadable),
    )


def in_archive(
    of: Catalog, places: Iterable[tuple[str, str]], restore_time: timedelta | None = None
) -> Catalog:
    """The same catalog after a lifecycle rule moved these copies: (repository, backup id)."""
    gone = set(places)

    def moved(backup: Backup, copy: Copy) -> Copy:
        if (copy.repository, backup.key.backup_id) not in gone or not copy.committed:
            return copy
        files = (
            InArchive(f"backups/{backup.key.folder}/{p.file}", Storage("GLACIER", archived=True))
            for p in backup.manifest.parts
        )
        return replace(
            copy,
            state="archived" if copy.state == "present" else copy.state,
            archived=tuple(files),
            storage=("GLACIER",),
            restore_time=restore_time,
        )

    return replace(
        of,
        backups=tuple(replace(b, copies=tuple(moved(b, c) for c in b.copies)) for b in of.backups),
    )


def _copy(
    where: RepositoryState, of: Manifest, held: Sequence[Manifest], proofs: Sequence[Proof]
) -> Copy:
    if where.error is not None:
        return Copy(where.name, where.domain, "unreachable")
    if of not in held:
        return Copy(where.name, where.domain, "missing", ("manifest",), 0)
    of_this = [p for p in proofs if p.backup_id == of.backup_id and p.repository_id == where.id]
    mine = tuple(p for p in of_this if p.location == where.location)
    return Copy(
        where.name,
        where.domain,
        "damaged" if open_failures(mine) else "present",
        stored_bytes=of.size_bytes,
        proofs=mine,
        inherited=tuple(p for p in of_this if p.location != where.location),
    )
