"""`show`: one backup, its copies, its proofs, and how to restore it by hand."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Annotated, Any

from cyclopts import Parameter

from qdrant_dr.cli.byhand import bring_back, by_hand, lost_by_hand
from qdrant_dr.cli.catalog import Repositories, backup_row, deepest, read, with_troubles
from qdrant_dr.cli.packs import STORED, packs_of_backup
from qdrant_dr.cli.session import Column, Given, Reply, Session
from qdrant_dr.cli.tables import listed, table, terminal_width
from qdrant_dr.cli.words import moment, yes
from qdrant_dr.jobs.run.acknowledgements import acknowledgements_of
from qdrant_dr.jobs.run.backup_selector import LATEST_PROVEN, doubted_before, select, skipped
from qdrant_dr.jobs.run.backup_selector import split as split_selector
from qdrant_dr.jobs.run.catalogs import open_all
from qdrant_dr.quantities import format_size, how_long
from qdrant_dr.records import Proof
from qdrant_dr.repository import (
    Backup,
    Catalog,
    Copy,
    LostBackup,
    accepts,
    describe_mentions,
    is_proven,
    open_failures,
    proof_of,
)
from qdrant_dr.text import printable

COPIES = (
    Column("repository", "REPOSITORY"),
    Column("domain", "DOMAIN", spare=1),
    Column("state", "STATE"),
    Column("depth", "DEPTH"),
    Column("proven", "PROVEN", yes),
    Column("proven_at", "PROVEN AT", moment),
    Column("remark", "REMARK"),
)
PROOFS = (
    Column("ended_at", "ENDED", moment),
    Column("repository", "REPOSITORY"),
    Column("made_by", "MADE BY", spare=1),
    Column("depth", "DEPTH"),
    Column("passed", "PASSED", yes),
    Column("looked_at", "LOOKED AT"),
    Column("found", "FOUND"),
)


def show(
    backup: str,
    /,
    *,
    repository: Repositories = (),
    proofs: Annotated[bool, Parameter(negative=())] = False,
    session: Given,
) -> Reply:
    """Show one backup, its copies, and the commands that restore it with curl.

    Parameters
    ----------
    backup
        NAME@latest-proven, NAME@latest, or NAME@ and the beginning of a backup id.
    repository
        Read this repository only; may be repeated.
    proofs
        Also show every proof of every copy.
    """
    now = datetime.now(UTC)
    collection, _ = split_selector(backup)
    catalog = read(session, repository, collection)
    if not catalog.backups:
        catalog = read(session, repository, None)  # for the nearest name
    if lost := next((g for g in catalog.lost if str(g.key) == backup), None):
        return with_troubles(_show_lost(session, lost), catalog)
    found = select(backup, catalog, proven=session.config.objectives.proven, now=now)
    facts = _facts(session, found, now) | _choice(session, backup, found, catalog, now)
    layouts = {r.name: r.layout for r in catalog.repositories}
    stored = packs_of_backup(session, found, layouts)
    copies = [_copy_row(session, found, c, now) | stored[c.repository] for c in found.copies]
    every = [
        _proof_row(
            copy.repository, proof, inherited=proof in copy.inherited, people=not session.json
        )
        for copy in found.copies
        for proof in sorted((*copy.proofs, *copy.inherited), key=lambda p: p.ended_at)
    ]
    steps = by_hand(session.config, found)
    width = terminal_width()
    text = _listed(facts) + "\n" + table(copies, COPIES, width)
    if "chunked" in layouts.values():
        text += "\n" + table(copies, STORED, width)
    if proofs:
        text += "\n" + (table(every, PROOFS, width) if every else "no proof of any copy\n")
    text += "\nRestore by hand:\n" + "\n".join(f"  {line}" if line else "" for line in steps)
    row = facts | {"copies": copies, "restore_by_hand": steps}
    if thaw := bring_back(session.config, found):
        text += "\n\nBring back from the archive:\n" + "\n".join(f"  {line}" for line in thaw)
        row |= {"bring_back": thaw}
    reply = Reply(rows=[row | {"proofs": every} if proofs else row], text=text)
    return with_troubles(reply, catalog, [found.conflict] if found.conflict else [])


def _show_lost(session: Session, lost: LostBackup) -> Reply:
    """Show a lost backup: the records that name it, what is left, and what can be done."""
    facts = {
        "collection": lost.key.collection,
        "backup_id": lost.key.backup_id,
        "manifest": f"in no repository; it was in {', '.join(lost.repositories)}",
        "manifest_sha256": lost.manifest_sha256 or "no record says, or they disagree",
        "named_by": describe_mentions(lost.words),
        "left": "; ".join(f"{name}: {', '.join(of)}" for name, of in lost.files.items())
        or "nothing",
        "size_bytes": lost.size_bytes,
    }
    steps = lost_by_hand(session.config, lost)
    text = _listed(facts) + "\n" + "\n".join(steps)
    return Reply(rows=[facts | {"steps": steps}], text=text)


def _facts(session: Session, backup: Backup, now: datetime) -> dict[str, Any]:
    manifest, seal = backup.manifest, backup.seal
    row = backup_row(session, backup, now)
    return {
        "collection": manifest.collection,
        "backup_id": manifest.backup_id,
        "captured_at": moment(manifest.captured_at),
        "age": how_long(row["age_seconds"]),
        "proven": row["proven"],
        "size_bytes": manifest.size_bytes,
        "parts": len(manifest.parts),
        "nodes": ", ".join(n.url for n in manifest.sources) or None,
        "parts_apart": how_long(math.ceil(manifest.skew.total_seconds()))
        if manifest.skew
        else None,
        "points": row["points"],
        "aliases": ", ".join(manifest.aliases) or None,
        "method": f"{manifest.method} ({manifest.method_reason})",
        "source_kind": manifest.source_kind,
        "server_version": manifest.server_version,
        "doubts": "; ".join(manifest.doubts) or None,
        "manifest_sha256": manifest.sha256,
        "consistency": seal.consistency if seal else "not sealed",
        "reference": f"{seal.reference} ({seal.reference_reason})" if seal else None,
        "suspect": ("; ".join(seal.suspect) or None) if seal else None,
        "remarks": ("; ".join(seal.remarks) or None) if seal else None,
        "run_id": manifest.run_id,
        "note": manifest.note or None,
    }


def _choice(
    session: Session, selector: str, backup: Backup, catalog: Catalog, now: datetime
) -> dict[str, Any]:
    """Show what matters for the choice of this backup: who accepted it if it is suspect, what it
    follows, and which newer backup was left out."""
    opened, lost = open_all(session.config)
    known = acknowledgements_of(session.config, opened, now=now, lost=lost)
    accepted = next((a for a in reversed(known) if accepts(a, backup)), None)
    proven = session.config.objectives.proven
    by_age = split_selector(selector)[1] == LATEST_PROVEN
    newer = skipped(backup, catalog, proven=proven, now=now) if by_age else ()
    return {
        "accepted": f"by {accepted.made_by}: {accepted.reason}" if accepted else None,
        "follows": "; ".join(doubted_before(backup, catalog, known)) or None,
        "skipped": "; ".join(newer) or None,
    }


def _listed(facts: dict[str, Any]) -> str:
    """List the facts that are known, as people say them."""
    told: list[tuple[str, str]] = []
    for key, value in facts.items():
        if key == "size_bytes" and value is not None:
            told.append(("size", format_size(value)))
        elif value is not None:
            words = yes(value) if isinstance(value, bool) else printable(str(value))
            told.append(("sha256" if key == "manifest_sha256" else key.replace("_", " "), words))
    return listed(told, terminal_width())


def _copy_row(session: Session, backup: Backup, copy: Copy, now: datetime) -> dict[str, Any]:
    proven = session.config.objectives.proven
    depth = deepest(copy, now)
    best = proof_of(copy, depth=depth, now=now) if depth else None
    failures = open_failures(copy.proofs)
    away = {a.file.removesuffix(".json") for a in copy.archived}
    lacks = [name for name in copy.lacks if name not in away]
    said = [f"lacks {', '.join(lacks)}"] if lacks else []
    said += [copy.archive] if copy.archived else []
    said += [f"open failure {f.proof_id}: {_found(f)}" for f in failures]
    said += [f"{len(copy.inherited)} proofs of another place do not count"] * bool(copy.inherited)
    return {
        "repository": copy.repository,
        "domain": copy.domain,
        "state": copy.state,
        "storage": ", ".join(copy.storage) or None,
        "depth": depth,
        "proven": is_proven(
            backup, copy, depth=proven.depth, max_age=proven.max_age, now=now
        ),
        "proven_at": best.ended_at if best else None,
        "remark": "; ".join(said) or None,
    }  # fmt: skip


def _proof_row(repository: str, proof: Proof, *, inherited: bool, people: bool) -> dict[str, Any]:
    read = _share if people else _raw_share
    share = read(proof.bytes_checked, proof.bytes_expected)
    if proof.points_checked is not None:
        share += f", {proof.points_checked} of {proof.points_expected} points"
    if (tried := proof.searched) and tried.recall_ppm is not None:
        share += f", {tried.queries} searches (recall {tried.recall_ppm / 1e6:.3f})"
    if tried and tried.filters:
        share += f", {tried.filters} filters"
    return {
        "proof_id": proof.proof_id,
        "ended_at": proof.ended_at,
        "repository": f"{repository} (inherited)" if inherited else repository,
        "made_by": proof.made_by,
        "depth": proof.depth,
        "passed": proof.passed,
        "looked_at": share,
        "found": _found(proof) or None,
    }


def _share(checked: int, expected: int) -> str:
    """Say how much was read; what is missing is never rounded away."""
    if checked == expected:
        return f"all {format_size(expected)}"
    read, whole = format_size(checked), format_size(expected)
    if read == whole:
        read, whole = f"{checked} B", f"{expected} B"
    return f"{read} of {whole}"


def _raw_share(checked: int, expected: int) -> str:
    return f"{checked} of {expected} bytes"


def _found(proof: Proof) -> str:
    return "; ".join(f"{f.code}: {f.message}" for f in proof.findings)
