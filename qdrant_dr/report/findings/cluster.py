"""Findings of the live cluster: which nodes answer, what is unprotected, what was left there.

It only reads: three calls per node, and one for each place where a backup of ours may have left a
snapshot.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from qdrant_dr.cluster import (
    INSTANCE,
    Node,
    NodeFacts,
    SnapshotScope,
    Unreached,
    collection_names,
    delete_command,
    list_nodes,
    listed_as,
    open_nodes,
    server_snapshots,
)
from qdrant_dr.config import Config
from qdrant_dr.errors import DRError
from qdrant_dr.hints import command
from qdrant_dr.jobs.check.nodes import clocks_apart
from qdrant_dr.jobs.run.begun_calls import Begun, begun_calls, is_dead, made_by_us
from qdrant_dr.jobs.run.call_journal import CallJournal
from qdrant_dr.jobs.run.clocks import clock_text
from qdrant_dr.jobs.sweep.left_snapshots import list_snapshots_of, unclaimed
from qdrant_dr.quantities import format_size, how_long
from qdrant_dr.records.manifest import SourceKind
from qdrant_dr.report.evidence.collection_status import Standing
from qdrant_dr.report.evidence.evidence import Evidence
from qdrant_dr.report.finding import Problem
from qdrant_dr.report.findings.all_findings import LEFTOVER
from qdrant_dr.report.findings.collections import missing_step, newest_id
from qdrant_dr.repository import Repository
from qdrant_dr.text import count, digest

PATIENCE = timedelta(seconds=20)
"""The longest wait for one answer of a node."""
LOOK_FOR = timedelta(seconds=120)
"""Time limit for the snapshots of all nodes together; later ones count as not checked."""
NAMED = 3
"""How many delete commands one finding lists."""


@dataclass(slots=True)
class Live:
    """What was found on the cluster. `whole`: all of it could be checked."""

    whole: bool = True
    source_kind: SourceKind | None = None
    names: frozenset[str] | None = None
    problems: list[Problem] = field(default_factory=list)
    waiting: dict[str, datetime] = field(default_factory=dict)

    def unseen(self, problem: Problem) -> None:
        """Add a finding for a part that could not be checked."""
        self.problems.append(problem)
        self.whole = False


def ask_cluster(
    evidence: Evidence,
    standings: Sequence[Standing],
    repositories: Mapping[str, Repository],
    waited: Mapping[str, datetime],
) -> Live:
    """Check the cluster. `waited` says since when each collection without a backup has been seen.

    Never raises an error of the tree: what cannot be checked is a problem.
    """
    live = Live()
    cluster = evidence.config.cluster
    patient = _hurried(evidence.config)
    with ExitStack() as stack:
        try:
            nodes = [stack.enter_context(closing(n)) for n in open_nodes(patient.cluster)]
            seen, unreached = list_nodes(nodes, cluster.peers)
            live.source_kind = (
                "sandbox" if any(f.source_kind == "sandbox" for f in seen) else "server"
            )
            answering = [
                next((n for n in nodes if n.url == f.url), None)
                or stack.enter_context(nodes[0].at(f.url))
                for f in seen
            ]
            live.names = frozenset(name for n in answering for name in collection_names(n))
        except DRError as e:
            live.unseen(_unseen("cluster", f"the cluster could not be checked: {e.message}"))
            live.waiting = dict(waited)  # keep what still waits for a first backup
            return live
        for lost in unreached:
            live.unseen(_silent(lost))
        live.problems += _clocks(seen, cluster.clock_skew_limit)
        live.problems += _collections(evidence, standings, live, waited)
        _leftovers(live, evidence, repositories, answering)
    return live


def _hurried(config: Config) -> Config:
    """Return the configuration with short timeouts: a watch must not hang."""
    times = config.cluster.timeouts
    short = times.model_copy(update={"read": min(times.read, PATIENCE)})
    return config.model_copy(
        update={"cluster": config.cluster.model_copy(update={"timeouts": short})}
    )


def _unseen(scope: str, what: str) -> Problem:
    return Problem(
        "critical", "cluster-unseen", scope, what, None, "all that only the cluster can tell",
        command("check", "--read-only"),
    )  # fmt: skip


def _silent(lost: Unreached) -> Problem:
    return Problem(
        "critical", "node-unreachable", lost.what, f"does not answer: {lost.error.message}", None,
        "the shards that only it holds, and their next backup", command("check", "--read-only"),
    )  # fmt: skip


def _clocks(seen: Sequence[NodeFacts], limit: timedelta) -> Iterator[Problem]:
    for facts in seen:
        scope = f"node {facts.url}"
        if facts.clock is None:
            yield Problem(
                "notice", "clock-unseen", scope, "sends no time: its clock cannot be compared",
                None, "times of its backups", command("check", "--read-only"),
            )  # fmt: skip
        elif facts.clock.exceeds(limit):
            yield Problem(
                "warning", "clock-skew", scope,
                f"its clock is {clock_text(facts.clock)} from ours; at most {how_long(limit)} is "
                "allowed",
                None, "ages, retention and recovery points", command("check", "--read-only"),
            )  # fmt: skip
    for row in clocks_apart(seen, limit):
        yield Problem(
            "warning", "clocks-apart", row.scope, row.found, None,
            "times of one backup's parts", command("check", "--read-only"),
        )  # fmt: skip


def _collections(
    evidence: Evidence,
    standings: Sequence[Standing],
    live: Live,
    waited: Mapping[str, datetime],
) -> Iterator[Problem]:
    """Report included collections that no backup run has seen, and known ones that are gone."""
    assert live.names is not None
    known = {s.collection: s for s in standings}
    config, at = evidence.config, evidence.as_of
    for name in sorted(live.names - known.keys()):
        if config.collections.decide(name).status == "excluded":
            continue
        since = live.waiting[name] = waited.get(name, at)
        first = config.collections.override(name).objectives.rpo or config.objectives.rpo
        if at - since > first:
            yield Problem(
                "critical", "no-backup", name,
                f"on the cluster for {how_long(at - since)} or longer, but no backup run has "
                "seen it",
                since, "the whole collection", command("backup", name),
            )  # fmt: skip
    for name in sorted(known.keys() - live.names):
        s = known[name]
        if s.exclusion is not None or s.gone_since is not None:
            continue  # excluded, or already reported
        expected = name in config.collections.expect
        yield Problem(
            "critical", "collection-missing", name,
            "expected, and missing on the cluster" if expected else "vanished from the cluster",
            None, f"the whole collection; {count(len(s.backups), 'backup')} held",
            missing_step(name, restorable=bool(s.backups)), facts=newest_id(s),
        )  # fmt: skip


Made = dict[str, dict[SnapshotScope, set[str]]]
"""Names of snapshots that we made and may have left, by node and place on the node."""


def _leftovers(
    live: Live,
    evidence: Evidence,
    repositories: Mapping[str, Repository],
    nodes: Iterable[Node],
) -> None:
    assert live.names is not None
    made = _made(evidence)
    journal = CallJournal(evidence.config.capture.spool.path)
    dead = _dead_calls(live, evidence, repositories, journal)
    until = time.monotonic() + LOOK_FOR.total_seconds()
    for node in nodes:
        here = made[node.url]
        unsure: dict[SnapshotScope, set[str]] = defaultdict(set)
        try:
            for begun in (b for b in dead if b.intent.node == node.url):
                if begun.scope == INSTANCE or begun.intent.collection in live.names:
                    if begun.answer:
                        sure = made_by_us(begun, repositories, journal)
                        names = here if sure else unsure
                        names[begun.scope].add(begun.answer.snapshot.name)
                    else:
                        listed = list_snapshots_of(node, begun.scope)
                        new = unclaimed(listed, begun, begun.scope, evidence.as_of)
                        unsure[begun.scope].update(s.name for s in new)
            for scope in {**here, **unsure}:
                if scope != INSTANCE and scope.collection not in live.names:
                    continue
                if time.monotonic() > until:
                    words = f"not all of them could be checked within {how_long(LOOK_FOR)}"
                    live.unseen(_unseen(f"snapshots on {node.url}", words))
                    return
                ours = here[scope]
                live.problems += _left(node, scope, ours, unsure[scope] - ours)
        except DRError as e:
            live.unseen(_unseen(f"snapshots on {node.url}", f"cannot be listed: {e.message}"))


def _dead_calls(
    live: Live,
    evidence: Evidence,
    repositories: Mapping[str, Repository],
    journal: CallJournal,
) -> list[Begun]:
    """Find create calls of runs that died before they committed a backup. Those of committed ones
    are known from their manifests."""
    ended = {e.start.run_id for e in evidence.run_ends}
    spool = evidence.config.capture.spool.path
    unfinished = replace(evidence.catalog, backups=())
    try:
        begun, lost = begun_calls(repositories, unfinished, evidence.as_of, journal=journal)
    except DRError as e:
        begun, lost = [], [e.message]
    for words in lost:
        live.unseen(_unseen("snapshots", f"what a killed run left is unknown: {words}"))
    return [
        b
        for b in begun
        if not b.intent.streamed and is_dead(b, ended, spool, journal, evidence.as_of)
    ]


def _made(evidence: Evidence) -> Made:
    """List every snapshot that a kept backup came from, except those of runs under way."""
    over = {e.start.run_id for e in evidence.run_ends} | {s.run_id for s in evidence.crashed}
    running = {s.run_id for s in evidence.run_starts} - over
    made: Made = defaultdict(lambda: defaultdict(set))
    for backup in evidence.catalog.backups:
        if backup.manifest.run_id not in running:
            for node, scope, name in server_snapshots(backup.manifest):
                made[node][scope].add(name)
    return made


def _left(node: Node, scope: SnapshotScope, ours: set[str], unsure: set[str]) -> Iterator[Problem]:
    """Report snapshots left on a node. `unsure`: made after a call of ours that got no answer, or
    known as ours from one bucket only; a person must find out who made them."""
    listed = list_snapshots_of(node, scope)
    there = [f for name in sorted(ours | unsure) if (f := listed_as(listed, name)) is not None]
    if not there:
        return
    doubtful = [f.name for f in there if f.name in unsure]
    whose = "that may be ours" if doubtful else "of ours"
    what = f"{count(len(there), 'snapshot')} {whose} left there: {', '.join(f.name for f in there)}"
    if doubtful:
        what += f"; delete {', '.join(doubtful)} only if nobody else made it"
    size = format_size(sum(f.size_bytes for f in there))
    commands = [delete_command(node.url, scope, f.name) for f in there[:NAMED]]
    yield Problem(
        "warning", LEFTOVER, f"{scope} on {node.url}",
        what, None, f"{size} of the node's disk", "; ".join(commands),
        facts=digest(f.name for f in there),
    )  # fmt: skip
