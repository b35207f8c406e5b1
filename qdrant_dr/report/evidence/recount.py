"""Recount coverage from the raw bytes of records, with nothing but `json` and `hashlib`.

It deliberately shares no code with the frames: a result on which both agree can be believed.
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, TypeAlias

from qdrant_dr.config import Config
from qdrant_dr.location_key import Place, one_path, one_place

Body: TypeAlias = dict[str, Any]
Gap: TypeAlias = tuple[str, str]
"""Scope, and what is wrong there."""

DEPTHS = ("presence", "bytes", "structure", "load", "content", "search", "restore")


@dataclass(frozen=True)
class Row:
    """One collection: its newest proven backup and the copies that count."""

    collection: str
    backups: int
    proven_backup: str | None = None
    age: timedelta | None = None
    copies: int = 0
    domains: int = 0


@dataclass(frozen=True)
class Recount:
    """The result of a recount: covered collections, and every gap."""

    rows: tuple[Row, ...]
    gaps: tuple[Gap, ...]


def believed(data: bytes) -> tuple[Body | None, str]:
    """Return the record if its digest holds and its bytes are canonical, else the reason."""
    try:
        body = json.loads(data)
        claimed = body.pop("sha256")
    except (ValueError, KeyError, TypeError, AttributeError):
        return None, "not a complete record"
    if hashlib.sha256(_canonical(body)).hexdigest() != claimed:
        return None, "changed after it was written"
    if _canonical({**body, "sha256": claimed}) != data:
        return None, "not canonical"
    return body, ""


def recount(
    records: Iterable[tuple[str, str, bytes]],
    locations: Mapping[str, Body],
    config: Config,
    as_of: datetime,
    archived: Collection[tuple[str, str, str]] = (),
) -> Recount:
    """Count what is covered. `records` are repository, path and bytes; `locations` are the places
    of the repositories that were read; `archived` are copies (collection, backup, repository) that
    a restore cannot read in time, which only stores know.

    The configuration, the last inventory and the manifests say which collections must be
    restorable. A copy is proven by a passed, full proof, deep and young enough, of exactly this
    manifest at exactly this location, while no failed proof is open.
    """
    return _Count(records, locations, config, as_of, archived).result()


class _Count:
    def __init__(
        self,
        records: Iterable[tuple[str, str, bytes]],
        locations: Mapping[str, Body],
        config: Config,
        as_of: datetime,
        archived: Collection[tuple[str, str, str]],
    ) -> None:
        self.locations, self.config, self.as_of = locations, config, as_of
        self.archived = archived
        self.gaps: list[Gap] = []
        self.manifests: dict[tuple[str, str], dict[str, tuple[Body, str]]] = defaultdict(dict)
        self.proofs: dict[tuple[str, str, str], list[Body]] = defaultdict(list)
        self.seals: dict[tuple[str, str], set[str]] = defaultdict(set)
        self.inventories: list[tuple[datetime, list[Body]]] = []
        for repository, path, data in records:
            body, why = believed(data)
            if body is None:
                self.gaps.append((f"{repository}/{path}", why))
            else:
                self._sort(repository, body, hashlib.sha256(data).hexdigest())

    def _sort(self, repository: str, body: Body, digest: str) -> None:
        cluster = self.config.cluster.name
        kind = body["kind"]
        if kind == "run-end":
            at = _moment(body["ended_at"])
            if body["seen"] and body["start"]["cluster"] == cluster and at <= self.as_of:
                self.inventories.append((at, body["seen"]))
            return
        if kind not in ("manifest", "proof", "seal") or body["cluster"] != cluster:
            return
        key = body["collection"], body["backup_id"]
        if kind == "seal":
            self.seals[key].add(digest)
        elif kind == "proof" and _moment(body["ended_at"]) <= self.as_of:
            self.proofs[(*key, repository)].append(body)
        elif kind == "manifest" and _moment(body["transferred_at"]) <= self.as_of:
            self.manifests[key][repository] = body, digest

    def result(self) -> Recount:
        rows = tuple(self._row(name) for name in self._wanted())
        if not rows:
            self.gaps.append(("cluster", "no collection is protected"))
        return Recount(rows, tuple(self.gaps))

    def _wanted(self) -> list[str]:
        rules = self.config.collections
        wanted = {name for name, _ in self.manifests} | set(rules.expect)
        if self.inventories:
            newest = max(self.inventories, key=lambda i: i[0])[1]
            wanted |= {seen["collection"] for seen in newest}
        else:
            self.gaps.append(("cluster", "no run recorded which collections exist"))
        return sorted(
            c
            for c in wanted
            if c in rules.expect or (rules.inclusion(c) and not rules.exclusion(c))
        )

    def _row(self, collection: str) -> Row:
        promise, copies = self.config.objectives.proven, self.config.copies
        found = []
        for key, held in self.manifests.items():
            if key[0] == collection and len({digest for _, digest in held.values()}) == 1:
                body = next(iter(held.values()))[0]
                standing = {r: self._standing(key, r, digest) for r, (_, digest) in held.items()}
                found.append((_moment(body["captured_at"]), key[1], body["incarnation"], standing))
        found = sorted((f for f in found if f[0] <= self.as_of), key=lambda f: f[:2])
        lives = [f for f in found if f[2] == found[-1][2]]
        proven = [f for f in lives if any(deep for _, deep in f[3].values())]
        if not proven:
            words = f"no backup proven to {promise.depth} within {promise.max_age}"
            self.gaps.append((collection, words))
            return Row(collection, len(found))
        at, backup_id, _, states = proven[-1]
        safe = [r for r, (bytes_read, _) in states.items() if bytes_read]
        domain = {r.name: r.domain for r in self.config.repositories}
        age, domains = self.as_of - at, len({domain[r] for r in safe})
        own = self.config.collections.override(collection).objectives.rpo
        objective = own or self.config.objectives.rpo
        if age > objective:
            words = f"newest proven backup is {age} old, promised {objective}"
            self.gaps.append((collection, words))
        if len(safe) < copies.quorum:
            self.gaps.append((collection, f"{len(safe)} of {copies.quorum} copies"))
        if domains < copies.domains:
            self.gaps.append((collection, f"{domains} of {copies.domains} failure domains"))
        return Row(collection, len(found), backup_id, age, len(safe), domains)

    def _standing(self, key: tuple[str, str], repository: str, digest: str) -> tuple[bool, bool]:
        """Say of one copy whether it counts for the quorum, and whether it is proven."""
        promise = self.config.objectives.proven
        mine = [
            p
            for p in self.proofs[(*key, repository)]
            if p["manifest_sha256"] == digest
            # a failure counts under whatever endpoint it was found; a success only here
            and (one_place if p["passed"] else one_path)(
                _place(p["location"]), _place(self.locations[repository])
            )
        ]
        passed = [p for p in mine if p["passed"]]
        for failure in (p for p in mine if not p["passed"]):
            if not any(
                failure["proof_id"] in p["clears"]
                and _rank(p) >= _rank(failure)
                and p["sample"] in (None, failure["sample"])
                for p in passed
            ):
                return False, False
        full = [
            p for p in passed if p["sample"] is None and p["bytes_checked"] == p["bytes_expected"]
        ]
        needs_seal = DEPTHS.index(promise.depth) >= DEPTHS.index("content")
        deep = any(
            _rank(p) >= DEPTHS.index(promise.depth)
            and (not needs_seal or self.seals[key] == {p["seal_sha256"]})
            and self.as_of - _moment(p["ended_at"]) <= promise.max_age
            for p in full
        )
        bytes_read = any(_rank(p) >= DEPTHS.index("bytes") for p in full)
        here = (*key, repository) not in self.archived
        return here and bytes_read, here and deep


def _canonical(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def _moment(text: str) -> datetime:
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC)


def _rank(proof: Body) -> int:
    return DEPTHS.index(proof["depth"])


def _place(location: Body) -> Place:
    kind, endpoint, bucket, prefix = (
        str(location[name]) for name in ("protocol", "endpoint", "bucket", "prefix")
    )
    return Place(kind, endpoint, bucket, prefix)
