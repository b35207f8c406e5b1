"""What killed runs left on one node: whose each snapshot is, and what may be deleted."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from qdrant_dr import layout
from qdrant_dr.cluster import (
    INSTANCE,
    Node,
    SnapshotScope,
    collection_names,
    delete_command,
    delete_own_snapshot,
    list_snapshots,
    listed_as,
    same_file,
    server_snapshots,
)
from qdrant_dr.cluster.addresses import node_of
from qdrant_dr.config import Config
from qdrant_dr.errors import ClusterError, CollectionVanished, DRError
from qdrant_dr.jobs.run.begun_calls import (
    Begun,
    begun_calls,
    ended_runs,
    is_dead,
    made_by_us,
    scratch_of,
)
from qdrant_dr.jobs.run.call_journal import CallJournal
from qdrant_dr.jobs.run.scratch_dir import dead_folders, empty_scratch, remove_scratch
from qdrant_dr.records import Captured, LeftSnapshot, ListedSnapshot, RunEnd, Swept
from qdrant_dr.repository import ORPHAN_GRACE, Catalog, Repository, time_of

log = logging.getLogger(__name__)


class NodeSnapshots:
    """What lies on a node, each place asked for once."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self._known: dict[SnapshotScope, tuple[ListedSnapshot, ...]] = {}
        self._collections: frozenset[str] | None = None

    def list(self, scope: SnapshotScope) -> tuple[ListedSnapshot, ...]:
        """List the snapshots of one place; none of a collection that is gone, which the server
        hides."""
        if self._collections is None:
            self._collections = frozenset(collection_names(self.node))
        if scope not in self._known:
            there = scope == INSTANCE or scope.collection in self._collections
            self._known[scope] = list_snapshots_of(self.node, scope) if there else ()
        return self._known[scope]


@dataclass(slots=True)
class NodeSweep:
    """One node while it is swept: what was deleted, and what was left and why.

    `made` are files that other calls are known to have made, `claimed` backups that a run says it
    committed.
    """

    config: Config
    opened: Mapping[str, Repository]
    catalog: Catalog
    journal: CallJournal
    snapshots: NodeSnapshots
    now: datetime
    made: frozenset[tuple[SnapshotScope, str]] = frozenset()
    claimed: frozenset[str] = frozenset()
    gone: set[tuple[SnapshotScope, str]] = field(default_factory=set)
    removed: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    left: list[LeftSnapshot] = field(default_factory=list)

    @property
    def node(self) -> Node:
        return self.snapshots.node

    def clean(self, begun: Begun) -> None:
        """Delete the snapshot of a dead capture's call. An unanswered call deletes nothing: what it
        may have made is named. What left nothing is forgotten, once nothing can come any more."""
        known = len(self.left)
        try:
            if begun.answer is None:
                self._unclaimed(begun, begun.scope)
            else:
                self._answered(begun, begun.answer.snapshot)
            if begun.scope == INSTANCE and not (begun.answer and begun.answer.snapshot.checksum):
                # a full snapshot leaves those of its collections where it fails, and always in S3
                # mode
                self._unclaimed(begun, SnapshotScope(begun.intent.collection))
        except ClusterError as e:
            self.kept.append(f"what {begun.key} left is not known: {e.message}")
            return
        if len(self.left) == known:
            self.forget(begun)

    def forget(self, begun: Begun) -> None:
        """Forget a call of which nothing is left on the node. The records of a backup stay with it;
        those of no backup go when everything else below their folder is gone."""
        number, intent, answer = begun.number, begun.intent, begun.answer
        old = self.now - begun.since > ORPHAN_GRACE
        if (old or answer is not None) and self.journal.knows(number, intent, answer):
            self.journal.forget(intent.backup_id, number)
        if not old or begun.committed or not self.catalog.complete:
            return
        for unfinished in self.catalog.unfinished:
            if unfinished.folder != begun.key.folder or not unfinished.only_calls:
                continue
            if unfinished.named and not unfinished.expired:
                continue  # it was a backup: its last traces are not for us to remove
            calls = [(layout.call_of(f.path.rpartition("/")[2]), f) for f in unfinished.files]
            repository = self.opened[unfinished.repository]
            try:
                if repository.has_call(begun.key, number, intent, answer):
                    files = [f for call, f in calls if call and call[1] == number]
                    repository.delete_unfinished(unfinished.folder, files)
            except DRError as e:  # where nothing may be deleted, they lie there and harm nobody
                log.info("%s: %s", unfinished.repository, e.message)

    def _answered(self, begun: Begun, answer: ListedSnapshot) -> None:
        scope = begun.scope
        there = listed_as(self.snapshots.list(scope), answer.name)
        if there is None or (scope, answer.name) in self.gone:
            return
        if not same_file(there, answer) and self.now - begun.since > ORPHAN_GRACE:
            return  # another file of the same second: ours is gone
        why = self._keeps(begun, answer.name)
        if why is None:
            why = delete_own_snapshot(self.node, scope, answer, ())
            if why == "deleted":
                self.gone.add((scope, answer.name))
                self.removed.append(f"{answer.name} of {scope} on {self.node.url}")
                return
        self._leave(begun, scope, there, why, ours=True)

    def _keeps(self, begun: Begun, name: str) -> str | None:
        """Why the file of an answered call is not deleted; None if it is."""
        quorum, committed = self.config.copies.quorum, begun.committed
        if 0 < committed < quorum:
            return f"only {committed} of {quorum} copies hold it"
        if not committed and begun.intent.backup_id in self.claimed:
            return "a run wrote its manifest, and none can be found"
        if committed < quorum and not self.catalog.complete:
            return "not everything could be read: who holds a copy is not known"
        command = delete_command(self.node.url, begun.scope, name)
        if begun.knew(name, begun.scope):
            return f"it was there before our call; delete it if nobody else made it: {command}"
        if not begun.scope.may_hold(name):
            return f"no create call of ours is answered with such a name: {command}"
        if not made_by_us(begun, self.opened, self.journal):
            return (
                f"only repository {begun.repository} says that it is ours, neither this machine "
                f"nor another repository; delete it if nobody else made it: {command}"
            )
        return None

    def _unclaimed(self, begun: Begun, scope: SnapshotScope) -> None:
        """Files that an unanswered call may have left here: whose, only a person can tell."""
        for file in unclaimed(self.snapshots.list(scope), begun, scope, self.now):
            if (scope, file.name) not in self.made:
                why = (
                    f"may be of run {begun.intent.run_id}, which did not end well; delete it if "
                    f"nobody else made it: {delete_command(self.node.url, scope, file.name)}"
                )
                self._leave(begun, scope, file, why, ours=False)

    def _leave(
        self, begun: Begun, scope: SnapshotScope, file: ListedSnapshot, why: str, *, ours: bool
    ) -> None:
        self.kept.append(f"{file.name} of {scope} on {self.node.url}{': ' if ours else ' '}{why}")
        self.left.append(
            LeftSnapshot(
                collection=scope.collection,
                shard=scope.shard,
                name=file.name,
                size_bytes=file.size_bytes,
                of=str(begun.key),
                since=begun.since,
                ours=ours,
                why=why,
            )
        )


def sweep_node(
    config: Config,
    url: str,
    opened: dict[str, Repository],
    catalog: Catalog,
    run_id: str,
    now: datetime,
) -> NodeSweep:
    """Delete answered snapshots of dead captures; report what an unanswered call may have made."""
    spool = config.capture.spool.path
    journal = CallJournal(spool)
    ends = {
        name: repository.read_runs(now - 2 * ORPHAN_GRACE, now)[1].records
        for name, repository in opened.items()
    }
    ended = ended_runs(ends, opened)
    with node_of(config, url) as node:
        snapshots = NodeSnapshots(node)
        there, unseen = _still_there(catalog, snapshots)
        also = _last_told(ends, url) | there
        every, unread = begun_calls(opened, catalog, now, journal=journal, also=also)
        done = NodeSweep(
            config, opened, catalog, journal, snapshots, now,
            made=_made(catalog, every, url),
            claimed=_claimed(ends) - _expired(catalog),
            kept=[*unseen, *unread],
        )  # fmt: skip
        for begun in every:
            if begun.intent.node != url or begun.intent.run_id == run_id:
                continue
            if not is_dead(begun, ended, spool, journal, now):
                continue
            if begun.intent.streamed:
                done.forget(begun)
            else:
                done.clean(begun)
    _forget_dead(spool, url, every, now)
    return done


def _last_told(ends: Mapping[str, Sequence[RunEnd]], url: str) -> frozenset[str]:
    """Backups of which the last sweep of this node found a snapshot there: it is told until it is
    gone, whatever else is forgotten."""
    told = [
        (outcome.ended_at, outcome.detail)
        for records in ends.values()
        for end in records
        for outcome in end.outcomes
        if isinstance(outcome.detail, Swept)
        and outcome.detail.node == url
        and outcome.detail.left is not None
    ]
    if not told:
        return frozenset()
    _, last = max(told, key=lambda item: item[0])
    return frozenset(left.of.rpartition("@")[2] for left in last.left or ())


def _still_there(catalog: Catalog, snapshots: NodeSnapshots) -> tuple[frozenset[str], list[str]]:
    """Backups, however old, whose snapshot still lies on this node, and what could not be listed:
    one list of each place that a backup came from."""
    places: dict[SnapshotScope, dict[str, set[str]]] = {}
    for backup in catalog.backups:
        for url, scope, name in server_snapshots(backup.manifest):
            if url == snapshots.node.url:
                ids = places.setdefault(scope, {}).setdefault(name, set())
                ids.add(backup.manifest.backup_id)
    found: set[str] = set()
    unseen: list[str] = []
    for scope, made in places.items():
        try:
            listed = snapshots.list(scope)
        except ClusterError as e:
            unseen.append(f"what was left of {scope} is not known: {e.message}")
            continue
        found.update(*(ids for name, ids in made.items() if listed_as(listed, name)))
    return frozenset(found), unseen


def _made(
    catalog: Catalog, every: Sequence[Begun], url: str
) -> frozenset[tuple[SnapshotScope, str]]:
    """Files on this node whose call is known: no unanswered one can have made them."""
    answered = {
        (b.scope, b.answer.snapshot.name) for b in every if b.answer and b.intent.node == url
    }
    return frozenset(answered) | {
        (scope, name)
        for backup in catalog.backups
        for node, scope, name in server_snapshots(backup.manifest)
        if node == url
    }


def _claimed(ends: Mapping[str, Sequence[RunEnd]]) -> frozenset[str]:
    """Backups that a run says it committed somewhere."""
    return frozenset(
        outcome.backup_id
        for records in ends.values()
        for end in records
        for outcome in end.outcomes
        if outcome.backup_id and isinstance(outcome.detail, Captured) and outcome.detail.committed
    )


def _expired(catalog: Catalog) -> frozenset[str]:
    """Backups of which retention let a copy go."""
    return frozenset(u.folder.rpartition("/")[2] for u in catalog.unfinished if u.expired)


def _forget_dead(spool: str, url: str, every: Sequence[Begun], now: datetime) -> None:
    """Remove scratch folders of dead captures. One of several nodes is emptied only, for a day: the
    sweeps of the other nodes must still see that its owner is dead; then its age tells them."""
    nodes: dict[str, set[str]] = {}
    for begun in every:
        nodes.setdefault(scratch_of(begun.intent.backup_id), set()).add(begun.intent.node)
    for name in dead_folders(spool, "capture"):
        try:
            begun_at = time_of(name.removeprefix("capture-"))
        except ValueError:
            continue  # nothing that a capture of ours has made
        if nodes.get(name, set()) <= {url} or now - begun_at > ORPHAN_GRACE / 2:
            remove_scratch(spool, name)
        else:
            empty_scratch(spool, name)


def unclaimed(
    listed: Sequence[ListedSnapshot], begun: Begun, scope: SnapshotScope, now: datetime
) -> list[ListedSnapshot]:
    """Return the files of this place that an unanswered create call may have left there."""
    return [s for s in listed if begun.may_have_made(s.name, scope, now)]


def list_snapshots_of(node: Node, scope: SnapshotScope) -> tuple[ListedSnapshot, ...]:
    """List the snapshots of a collection; none if it is gone, because the server hides them."""
    try:
        return list_snapshots(node, scope)
    except CollectionVanished:
        return ()
