"""Write changes batch by batch, each checked against the undo record before and read back after.

What somebody changed since the undo record is not touched. The server itself refuses to overwrite
a point that appeared meanwhile, or to bring back one that vanished (`update_mode`, from Qdrant 1.17
on); else a change in the moment between our look at a batch and our write is overwritten.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from qdrant_dr.cancel import stopping
from qdrant_dr.cluster import Node, RawPoint, points_by_id
from qdrant_dr.cluster.point_writes import PointWrites
from qdrant_dr.cluster.ready import wait_shown
from qdrant_dr.cluster.upsert import Mode, Upserts, json_text
from qdrant_dr.errors import Interrupted, ServerFailed
from qdrant_dr.jobs.restore_points.decide_change import Change, Kind, Place, PointId
from qdrant_dr.jobs.restore_points.point_states import (
    PAYLOAD,
    digest_of,
    named,
    only_rounded,
    same,
    vector_name,
)

NAMED = 100
"""So many ids are named in a record."""
Seen = tuple[Change, RawPoint | None]
Confirmed = Callable[[Place, str], None]
"""Take a point that was written and read back, with the digest of what the server keeps."""


@dataclass
class Ids:
    """Ids counted, and the first of them named."""

    count: int = 0
    first: list[PointId] = field(default_factory=list)

    def add(self, point_id: PointId) -> None:
        """Count one more."""
        self.count += 1
        if len(self.first) < NAMED:
            self.first.append(point_id)


@dataclass
class Written:
    """What became of the changes so far. `equal` were as wanted before they were written (by an
    earlier run, or by somebody); `differing` are not what was written to them."""

    done: dict[Kind, int] = field(
        default_factory=lambda: {"create": 0, "overwrite": 0, "delete": 0}
    )
    equal: int = 0
    within: int = 0
    moved: Ids = field(default_factory=Ids)
    refused: Ids = field(default_factory=Ids)
    differing: Ids = field(default_factory=Ids)
    whys: dict[str, None] = field(default_factory=dict)
    settled: list[tuple[PointId, str]] = field(default_factory=list)


@dataclass
class Writer:
    """Writes into one collection. `limit` is its `max_query_limit`, `most` its largest upsert,
    `cosine` are the vectors that it normalises."""

    node: Node
    name: str
    only: str | None
    writes: PointWrites
    limit: int | None = None
    most: int | None = None
    cosine: frozenset[str] = frozenset()
    confirmed: Confirmed = lambda _place, _digest: None
    written: Written = field(default_factory=Written)

    def write(self, batches: Iterator[list[Change]], told: Callable[[int], None]) -> None:
        """Write all of them. Raise Interrupted between two batches when asked to stop, and what
        makes a call fail: what is written then stays, and the undo record has what was before."""
        for batch in batches:
            if stopping.is_set():
                raise Interrupted("asked to stop between two batches of points")
            self._batch(batch)
            told(len(batch))

    def _batch(self, batch: Sequence[Change]) -> None:
        live = self._live(batch)
        todo: list[Change] = []
        rounded: list[Change] = []
        for change in batch:
            there = live.get(change.id)
            found = digest_of(there, self.only)
            if found == change.before:
                todo.append(change)
            elif self._is_done(change, there, found):
                self.written.equal += 1
            elif self._is_rounded(change, there):
                # by a run that was killed before it sent the other spelling
                rounded.append(replace(change, before=found))
            else:
                self.written.moved.add(change.id)
        refused = self._send(todo, live, respell=False) if todo else {}
        wrong = self._read_back(todo, refused) if todo else []
        # a server whose parser rounds floats of payloads is sent another spelling; what differs
        # otherwise somebody else has written
        left = {change.id for change, there in wrong if self._is_rounded(change, there)}
        rounded += [change for change, _ in wrong if change.id in left]
        again: list[Seen] = []
        if rounded:
            refused |= self._send(rounded, {}, respell=True)
            again = self._read_back(rounded, refused)
        for change, _ in (*(w for w in wrong if w[0].id not in left), *again):
            self.written.differing.add(change.id)

    def _read_back(self, sent: Sequence[Change], refused: dict[PointId, str]) -> list[Seen]:
        """Count those that are as they are to be; return those that are not, as they are, but not
        the `refused`."""
        live = self._live(sent)
        unlike = any(digest_of(live.get(c.id), self.only) != c.wanted for c in sent)
        if unlike and wait_shown(self.node, self.name):
            live = self._live(sent)
        wrong: list[Seen] = []
        for change in sent:
            there = live.get(change.id)
            if self._is_done(change, there, digest_of(there, self.only)):
                self.written.done[change.kind] += 1
            elif change.id in refused:
                self._was_refused(change, there, refused[change.id])
            else:
                wrong.append((change, there))
        return wrong

    def _was_refused(self, change: Change, there: RawPoint | None, why: str) -> None:
        if digest_of(there, self.only) == change.before:
            self.written.refused.add(change.id)
            self.written.whys.setdefault(why)
        else:
            self.written.moved.add(change.id)

    def _is_done(self, change: Change, there: RawPoint | None, found: str) -> bool:
        """Say whether a point, of which `found` is the digest, is as it is to be; and confirm
        it."""
        if found != change.wanted:
            if not same(change.after, there, self.only, self.cosine):
                return False
            self.written.within += 1
            self.written.settled.append((change.id, found))
        self.confirmed((change.shard_key, change.id), found)
        return True

    def _is_rounded(self, change: Change, there: RawPoint | None) -> bool:
        return only_rounded(change.after, there, self.only, self.cosine)

    def _live(self, changes: Sequence[Change]) -> dict[PointId, RawPoint]:
        ids, key = [c.id for c in changes], changes[0].shard_key  # a batch is of one
        points = points_by_id(self.node, self.name, ids, limit=self.limit, shard_key=key)
        return {p["id"]: p for p in points}

    def _send(
        self, changes: Sequence[Change], live: Mapping[PointId, RawPoint], *, respell: bool
    ) -> dict[PointId, str]:
        """Send them, and return those that the server did not take, and why. `live` is what was
        there."""
        refused: dict[PointId, str] = {}
        gone = [c.id for c in changes if c.after is None]
        if gone:
            self.writes.delete(gone, changes[0].shard_key)
        kept = [c for c in changes if c.after is not None]
        if self.only is None:
            for kind in ("create", "overwrite"):
                some = [c for c in kept if c.kind == kind]
                refused |= self._upsert(some, live, kind, respell=respell) if some else {}
        elif self.only == PAYLOAD:
            self._halving(kept, lambda some: self._payloads(some, respell=respell), refused)
        else:
            self._vectors(kept, refused)
        return refused

    def _upsert(
        self,
        changes: Sequence[Change],
        live: Mapping[PointId, RawPoint],
        kind: str,
        *,
        respell: bool,
    ) -> dict[PointId, str]:
        mode: Mode = "insert_only" if kind == "create" else "update_only"
        if respell and kind == "create":
            mode = "update_only"  # it is there by now: the spelling alone is to be mended
        upserts = Upserts(self.node, self.name, mode=mode, writes=self.writes, most=self.most)
        points = [c.after for c in changes if c.after is not None]
        without = {c.id: named(live.get(c.id)).keys() - named(c.after).keys() for c in changes}
        upserts.send(points, shard_key=changes[0].shard_key, respell=respell, without=without)
        return upserts.refused

    def _payloads(self, changes: Sequence[Change], *, respell: bool) -> None:
        texts = {
            c.id: json_text((c.after or {}).get("payload") or {}, respell=respell) for c in changes
        }
        self.writes.overwrite_payloads(texts, changes[0].shard_key)

    def _vectors(self, changes: Sequence[Change], refused: dict[PointId, str]) -> None:
        name = vector_name(self.only)
        assert name is not None
        vectors = {c.id: named(c.after).get(name) for c in changes}
        gone = [c for c in changes if vectors[c.id] is None]
        kept = [c for c in changes if vectors[c.id] is not None]
        if gone:
            self.writes.delete_vectors(name, [c.id for c in gone], gone[0].shard_key)

        def send(some: Sequence[Change]) -> None:
            self.writes.update_vectors(name, {c.id: vectors[c.id] for c in some}, some[0].shard_key)

        self._halving(kept, send, refused)

    def _halving(
        self,
        changes: Sequence[Change],
        send: Callable[[Sequence[Change]], None],
        refused: dict[PointId, str],
    ) -> None:
        """Send them; a batch that is refused in halves, so that one point does not cost the
        others."""
        if not changes:
            return
        try:
            send(changes)
        except ServerFailed as e:
            if len(changes) == 1:
                refused[changes[0].id] = e.message
                return
            half = len(changes) // 2
            self._halving(changes[:half], send, refused)
            self._halving(changes[half:], send, refused)
