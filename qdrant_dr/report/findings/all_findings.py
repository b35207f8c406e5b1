"""All findings: about collections, repositories, runs and what they left, worst first."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from itertools import combinations

from qdrant_dr import layout
from qdrant_dr.errors import RecordDamaged
from qdrant_dr.hints import DECIDE, command
from qdrant_dr.location_key import one_bucket
from qdrant_dr.quantities import format_size, how_long
from qdrant_dr.records import Captured, LeftSnapshot, Manifest, Outcome, Swept
from qdrant_dr.report.evidence.collection_status import Standing
from qdrant_dr.report.evidence.drills import Drill
from qdrant_dr.report.evidence.evidence import Evidence
from qdrant_dr.report.evidence.restores import Restore
from qdrant_dr.report.evidence.sizes import Series
from qdrant_dr.report.finding import Problem
from qdrant_dr.report.findings.ledgers import ledger_problems
from qdrant_dr.report.findings.restores import approval_problems
from qdrant_dr.report.findings.runs import run_problems
from qdrant_dr.report.findings.scenarios import drill_problems
from qdrant_dr.report.findings.sizes import size_problems
from qdrant_dr.repository import RECENT, Unreadable, strangers_in_words
from qdrant_dr.text import count, digest

FOREIGN = "foreign-objects"
ELSEWHERE = "expiry-elsewhere"


def findings(
    evidence: Evidence,
    standings: Sequence[Standing],
    drills: Sequence[Drill],
    restores: Sequence[Restore],
    series: Sequence[Series],
) -> tuple[Problem, ...]:
    """List every problem once, worst first, then oldest first."""
    found = [
        *(p for s in standings for p in s.problems),
        *_repositories(evidence),
        *run_problems(evidence),
        *_left_to_others(evidence),
        *_leftovers(evidence),
        *drill_problems(evidence, standings, drills),
        *approval_problems(restores),
        *size_problems(series),
        *_unmeasured(standings),
        *ledger_problems(evidence),
    ]
    return worst_first(found)


def worst_first(found: Iterable[Problem]) -> tuple[Problem, ...]:
    """List each finding once, in its worst form."""
    unique = {p.identity: p for p in sorted(found, key=lambda p: p.order, reverse=True)}
    return tuple(sorted(unique.values(), key=lambda p: p.order))


def _repositories(evidence: Evidence) -> Iterator[Problem]:
    known = len(evidence.catalog.backups)
    for repository in evidence.unreachable:
        error = repository.error
        yield Problem(
            "critical",
            "repository-unreadable",
            repository.name,
            "repository could not be read: "
            + (f"{error.code}: {error.message}" if error else "reason unknown"),
            _last_reached(evidence, repository.name),
            f"every copy in {repository.domain}; {count(known, 'backup')} known from elsewhere",
            command("check", "-r", repository.name),
        )
    for name, why in evidence.only_read.items():
        yield Problem(
            "warning",
            "repository-only-read",
            name,
            why.message,
            None,
            "what is there can be restored; backups do not get there, and nothing expires",
            f"{DECIDE}{why.hint.removesuffix('.')}; then run `{command('check', '-r', name)}`.",
        )
    unreadable = defaultdict(list)
    for record in evidence.unreadable:
        unreadable[record.repository].append(record)
    for name, records in unreadable.items():
        first = records[0]
        yield Problem(
            "critical",
            "records-unreadable",
            name,
            f"{count(len(records), 'record')} could not be read: {first.path}: {first.error.code}",
            None,
            "the content of those records is missing from this report",
            _read_again(evidence, first),
            facts=digest(r.path for r in records),
        )
    for name in sorted({s.repository for s in evidence.strangers}):
        paths = [s.path for s in evidence.strangers if s.repository == name]
        yield Problem(
            "notice",
            FOREIGN,
            name,
            strangers_in_words(paths),
            None,
            "no backup: they are never read, but a copy in whose folder one lies is not expired",
            command("repository", "show", name),
            facts=digest(paths),
        )
    for name, (lacks, of) in evidence.runs_missed.items():
        yield Problem(
            "warning",
            "runs-missing",
            name,
            f"{lacks} of {count(of, 'run')} of the last {how_long(RECENT)} have no record there, "
            "although other records name them",
            None,
            "only other repositories show what those runs did, or none does",
            f"{DECIDE}who deletes records there? Check the rules of the bucket, put the records "
            "back "
            "from its versions if it keeps any, or acknowledge that they are lost with "
            f"`{_known('runs-missing', name, '--until', '7d')}`.",
        )
    for a, b in combinations([r for r in evidence.repositories if r.location], 2):
        if a.location is None or b.location is None or a.domain == b.domain:
            continue
        if one_bucket(a.location, b.location):
            local = a.location.protocol == "file"  # it may be a mount from elsewhere: unknown here
            yield Problem(
                "notice" if local else "warning",
                "domains-shared",
                f"{a.name}, {b.name}",
                "declared as two failure domains, but both are "
                + ("local folders" if local else f"in {a.location.protocol}://{a.location.bucket}"),
                None,
                "one may not be off-site" + (", unless mounted from elsewhere" * local),
                f"{DECIDE}is one of them really elsewhere? If not, give both the same `domain:` "
                "and "
                "add a repository in another; "
                f"`{command('repository', 'show', b.name)}` shows where this one is.",
                facts=digest([f"{a.name} {a.location}", f"{b.name} {b.location}"]),
            )


def _left_to_others(evidence: Evidence) -> Iterator[Problem]:
    """Report what the last `expire` left in append-only repositories for those who may delete."""
    ends = [e for e in evidence.run_ends if e.start.job == "expire" and e.error is None]
    last = max(ends, key=lambda e: e.ended_at, default=None)
    for outcome in last.outcomes if last else ():
        if outcome.verdict == "skipped" and outcome.repository and outcome.backup_id is None:
            yield Problem(
                "notice",
                ELSEWHERE,
                outcome.repository,
                "; ".join(outcome.notes),
                outcome.ended_at,
                "disk space only: every copy is kept",
                command("expire", "-r", outcome.repository),
            )


def _read_again(evidence: Evidence, record: Unreadable) -> str:
    """Say how to heal an unreadable record: copy it from another repository if it is there; make a
    proof again; the content of a run or hold record is lost."""
    error = record.error
    if error.hint != RecordDamaged.mark(RecordDamaged.default_hint):
        return error.hint
    known = (b.key for b in evidence.catalog.backups if f"/{b.key.folder}/" in record.path)
    key = next(known, None)
    if key is not None and record.path.startswith(f"{layout.BACKUPS}/"):
        return command("replicate", str(key), "-r", record.repository)
    if key is not None and record.path.startswith(f"{layout.PROOFS}/"):
        return command("verify", str(key), "-r", record.repository, "--depth", "content")
    return (
        f"{DECIDE}put {record.path} back from the versions that the bucket keeps, or acknowledge "
        f"with `{_known('records-unreadable', record.repository)}` that it is lost."
    )


def _known(code: str, scope: str, *words: str) -> str:
    return command("acknowledge", f"{code}:{scope}", "--reason", "WHY", *words)


def _last_reached(evidence: Evidence, name: str) -> datetime | None:
    return max(
        (
            e.ended_at
            for e in evidence.run_ends
            if any(r.name == name and r.reachable for r in e.repositories)
        ),
        default=None,
    )


LEFTOVER = "leftover-snapshot"


def _leftovers(evidence: Evidence) -> Iterator[Problem]:
    """Report what the last sweep of each node found, and what later captures left there."""
    swept = _last_sweeps(evidence)
    for node, (_, found) in sorted(swept.items()):
        yield from _swept(node, found)
    known = {(b.key.collection, b.key.backup_id): b.manifest for b in evidence.catalog.backups}
    for end in evidence.run_ends:
        for outcome in end.outcomes:
            d = outcome.detail
            if not isinstance(d, Captured) or d.server_snapshot == "deleted":
                continue
            manifest = known.get((outcome.collection, outcome.backup_id or ""))
            if _looked_for(manifest, outcome, swept):
                continue
            yield Problem(
                "warning",
                LEFTOVER,
                f"{outcome.collection}@{outcome.backup_id}",
                f"its snapshot was left on the server: {d.server_snapshot}",
                outcome.ended_at,
                f"{format_size(d.size_bytes)} of the node's disk",
                _delete(outcome.collection, d, manifest),
            )


Sweeps = dict[str, tuple[datetime, tuple[LeftSnapshot, ...]]]
"""By node: when its last sweep began, and what it found there."""


def _last_sweeps(evidence: Evidence) -> Sweeps:
    last: Sweeps = {}
    for outcome in (o for end in evidence.run_ends for o in end.outcomes):
        d = outcome.detail
        if not isinstance(d, Swept) or d.node is None or d.left is None:
            continue  # older versions did not record what they found
        if d.node not in last or last[d.node][0] < outcome.started_at:
            last[d.node] = outcome.started_at, d.left
    return last


def _looked_for(manifest: Manifest | None, capture: Outcome, swept: Sweeps) -> bool:
    """Say whether every node of a capture was swept since: then the sweep reports what is still
    there, and anything it did not find is gone."""
    d = capture.detail
    nodes = {k.node for k in d.kept} if isinstance(d, Captured) else set()
    nodes = nodes or ({part.node for part in manifest.parts} if manifest else set(swept))
    return bool(nodes) and all(n in swept and swept[n][0] >= capture.ended_at for n in nodes)


def _swept(node: str, found: Sequence[LeftSnapshot]) -> Iterator[Problem]:
    from qdrant_dr.cluster import SnapshotScope, delete_command

    captures: dict[str, list[LeftSnapshot]] = defaultdict(list)
    for left in found:
        captures[left.of].append(left)
    for of, files in captures.items():
        what = "; ".join(f"{f.name} ({f.why.partition(': curl')[0]})" for f in files)
        commands = [
            delete_command(node, SnapshotScope(f.collection, f.shard), f.name) for f in files
        ]
        yield Problem(
            "warning",
            LEFTOVER,
            of,
            f"left on the server: {what}",
            min(f.since for f in files),
            f"{format_size(sum(f.size_bytes for f in files))} of the node's disk",
            "; ".join(commands),
        )


def _delete(collection: str, captured: Captured, manifest: Manifest | None) -> str:
    """Return one delete command per snapshot, at the node that keeps it. Older versions recorded
    what a backup came from, not what stayed: then every such snapshot."""
    # imported here: it loads the whole Qdrant client code, and `status` must start without it
    from qdrant_dr.cluster import SnapshotScope, delete_command, server_snapshots

    kept = [(k.node, SnapshotScope(k.collection, k.shard), k.name) for k in captured.kept]
    if not kept and manifest is not None:
        kept = list(server_snapshots(manifest))
    commands = dict.fromkeys(delete_command(node, scope, name) for node, scope, name in kept)
    return "; ".join(commands) or command(
        "backup", collection
    )  # a backup begins with a sweep of what is left


def _unmeasured(standings: Sequence[Standing]) -> Iterator[Problem]:
    included = [s for s in standings if s.exclusion is None]
    unknown = [s for s in included if s.rto is None]
    if unknown:
        yield Problem(
            "notice",
            "rto-unmeasured",
            "cluster",
            "no recovery time was ever measured on a real server",
            None,
            f"{len(unknown)} of {count(len(included), 'collection')}",
            command("drill", "--engine", "server"),
        )
    if not included:
        yield Problem(
            "critical",
            "nothing-protected",
            "cluster",
            "nothing is protected: no collection was seen, expected or backed up",
            None,
            "everything",
            command("backup"),
        )
