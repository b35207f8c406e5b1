"""Compute order-independent fingerprints of sets of points: digests summed by component and bucket.

The sum of a component is modulo 2^256 over its points' digests (little endian). A point falls into
the bucket that the first byte of its id's digest names; each bucket sums the first eight bytes of
the digests modulo 2^64. Sums of disjoint sets add, and a part can be taken out of a whole.

Both versions of the encoding are summed at once: what a vector that is not finite adds in version 1
is kept separately, so that a reading can be compared with a seal of either version.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import chain, groupby, islice
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from qdrant_dr.proof.columns import Columns, columns_of, encode_ids, encode_payloads, has_bytes
from qdrant_dr.proof.point_encoding import (
    BITS,
    ENCODING,
    ID_DOMAIN,
    PAYLOAD_DOMAIN,
    encode_bits,
    encode_id,
    encode_value,
    encode_vector,
    is_finite,
    named_vectors,
    vector_domain,
)

if TYPE_CHECKING:  # the engine's child starts without pydantic
    from qdrant_dr.records import Component, Fingerprint

BUCKETS = 256
SKETCH = 256
_PAGE = 2000
_AT_ONCE = 500
"""So many points whose vectors are bytes are held at once."""
_WHOLE = 1 << 256
Words = npt.NDArray[np.uint64]
_Part = tuple[str, list[bytes], list[int] | slice]
"""A component, its digests, and the places of their points."""
Keep = Callable[[int, Sequence[_Part]], None]
"""Takes how many points there are, and their digests by component, in version 2."""
_Odd = tuple[list[bytes], list[bytes], list[int]]
"""Digests in version 1 and in version 2, and their places."""


@dataclass
class Sums:
    """One component of a set of points while it is being summed."""

    count: int = 0
    total: int = 0
    buckets: Words = field(default_factory=lambda: np.zeros(BUCKETS, np.uint64))

    def add(self, digests: Words, buckets: npt.NDArray[np.uint8]) -> None:
        """Add one digest of four words per point, and the bucket of each."""
        limbs = digests.view("<u4").sum(axis=0, dtype=np.uint64)
        self.total += sum(int(limb) << 32 * n for n, limb in enumerate(limbs))
        self.count += len(digests)
        np.add.at(self.buckets, buckets, digests[:, 0])

    def combine(self, other: Sums, sign: int) -> None:
        """Add the other set (sign 1) or take it out (sign -1)."""
        self.count += sign * other.count
        self.total += sign * other.total
        self.buckets = self.buckets + other.buckets if sign > 0 else self.buckets - other.buckets

    def facts(self) -> dict[str, Any]:
        """Return the fields of a `Component`."""
        return {
            "count": self.count,
            "sum": f"{self.total % _WHOLE:064x}",
            "buckets": self.buckets.astype(">u8").tobytes().hex(),
        }

    @classmethod
    def of(cls, component: Component) -> Sums:
        buckets = np.frombuffer(bytes.fromhex(component.buckets), ">u8").astype(np.uint64)
        return cls(component.count, int(component.sum, 16), buckets)


def _words(digests: list[bytes]) -> Words:
    return np.frombuffer(b"".join(digests), "<u8").reshape(-1, 4)


def _lowest(rows: Words) -> Words:
    """The `SKETCH` rows with the lowest first word, ascending."""
    if len(rows) > SKETCH:
        rows = rows[np.argpartition(rows[:, 0], SKETCH)[:SKETCH]]
    return rows[np.argsort(rows[:, 0])]


class Fingerprinter:
    """Sums the digests of points, page by page. `keep` is given the digests of each page."""

    def __init__(self, keep: Keep | None = None) -> None:
        self._keep = keep
        self.sums: dict[str, Sums] = {"id": Sums()}
        self.not_finite: dict[str, Sums] = {}
        self._lowest = np.zeros((0, 3), np.uint64)

    def add(self, points: Iterable[tuple[Any, Any, Any]]) -> Words:
        """Add points given as (id, payload, vector), each once.

        Return a row of 32 bytes for each: the XOR of its components' digests in version 1, which
        distinguishes any two readings of the engine. This loop runs for every point of every drill,
        so it is deliberately flat.
        """
        ids: list[bytes] = []
        payloads: list[bytes] = []
        payload_at: list[int] = []
        vectors: dict[str, tuple[bytes, list[bytes], list[int]]] = {}
        odd: dict[str, _Odd] = {}
        for at, (point_id, payload, vector) in enumerate(points):
            ident = encode_id(point_id)
            ids.append(sha256(ID_DOMAIN + ident).digest())
            if payload is not None:
                payload_at.append(at)
                payloads.append(sha256(PAYLOAD_DOMAIN + ident + encode_value(payload)).digest())
            named = vector if type(vector) is dict else named_vectors(vector)
            for name, value in named.items():
                if name not in vectors:
                    vectors[name] = (vector_domain(name), [], [])
                domain, digests, where = vectors[name]
                if type(value) is memoryview:  # encoded, and finite
                    digests.append(sha256(domain + ident + value).digest())
                    where.append(at)
                    continue
                digest = sha256(domain + ident + encode_bits(value)).digest()
                if not is_finite(value):
                    bits, tokens, places = odd.setdefault(f"vector:{name}", ([], [], []))
                    bits.append(digest)
                    digest = sha256(domain + ident + encode_vector(value)).digest()
                    tokens.append(digest)
                    places.append(at)
                digests.append(digest)
                where.append(at)
        parts: list[_Part] = [
            (f"vector:{name}", digests, where) for name, (_, digests, where) in vectors.items()
        ]
        return self._sum(ids, [("payload", payloads, payload_at), *parts], odd)

    def add_columns(self, page: Columns) -> Words:
        """Add the points of a page that has them as columns; the same as `add`, faster."""
        idents = encode_ids(page.ids)
        ids = [sha256(ID_DOMAIN + i).digest() for i in idents]
        at: list[int] | slice = slice(None)
        having, payloads = idents, [p for p in page.payloads if p is not None]
        if len(payloads) < len(idents):
            at = [n for n, p in enumerate(page.payloads) if p is not None]
            having = [idents[n] for n in at]
        encoded = zip(having, encode_payloads(payloads), strict=True)
        parts: list[_Part] = [
            ("payload", [sha256(PAYLOAD_DOMAIN + i + e).digest() for i, e in encoded], at)
        ]
        for name, column in page.vectors.items():
            domain = vector_domain(name)
            digests = [sha256(domain + i + v).digest() for i, v in zip(idents, column, strict=True)]
            parts.append((f"vector:{name}", digests, slice(None)))
        return self._sum(ids, parts, {})

    def add_served(self, points: Iterable[Mapping[str, Any]]) -> None:
        """Add points of a server's scroll: column by column where their vectors are bytes."""
        for as_bytes, some in groupby(points, has_bytes):
            if not as_bytes:
                self.add(parts_of(some))
                continue
            while few := list(islice(some, _AT_ONCE)):
                if columns := columns_of(few):
                    self.add_columns(columns)
                else:
                    self.add(parts_of(few))

    def _sum(self, ids: list[bytes], parts: Sequence[_Part], odd: Mapping[str, _Odd]) -> Words:
        """Add digests of points: of their ids, and of each component those at some places."""
        rows = _words(ids)
        buckets = rows[:, 0].astype(np.uint8)  # the first byte: digests are little endian
        if self._keep:
            self._keep(len(ids), parts)
        self.sums["id"].add(rows, buckets)
        rows = rows.copy()
        for name, digests, where in parts:
            if digests:
                words = _words(digests)
                self.sums.setdefault(name, Sums()).add(words, buckets[where])
                rows[where] ^= words
        by_bits = rows.copy() if odd else rows
        for name, (bits, tokens, where) in odd.items():
            one, two = _words(bits), _words(tokens)
            by_bits[where] ^= one ^ two
            apart, taken = Sums(), Sums()
            apart.add(one, buckets[where])
            taken.add(two, buckets[where])
            apart.combine(taken, -1)
            apart.count = len(where)
            self.not_finite.setdefault(name, Sums()).combine(apart, 1)
        seen = np.column_stack((_words(ids)[:, 0], rows[:, 1], by_bits[:, 1]))
        self._lowest = _lowest(np.concatenate((self._lowest, seen)))
        return by_bits

    @property
    def sketch(self) -> tuple[str, ...]:
        """Return a row for each of the points whose ids hash lowest: the same ones in every backup.

        Of both versions of the encoding; `sketch_of` gives one.
        """
        return tuple(f"{i:016x}{row:016x}{bits:016x}" for i, row, bits in self._lowest.tolist())

    def facts(self) -> dict[str, Any]:
        """Return the fields of a `Fingerprint`, without components that no point has, except
        ids."""
        odd = {name: sums.facts() for name, sums in sorted(self.not_finite.items()) if sums.count}
        return {
            "encoding": ENCODING if odd else BITS,
            "points": self.sums["id"].count,
            "components": {
                name: sums.facts()
                for name, sums in sorted(self.sums.items())
                if sums.count or name == "id"
            },
            **({"not_finite": odd} if odd else {}),
        }

    def record(self) -> Fingerprint:
        """Return the record for a seal."""
        from qdrant_dr.records import Fingerprint

        return Fingerprint.model_validate(self.facts())


def bucket_of(point_id: Any) -> int:
    """Return the bucket that a point falls into."""
    return sha256(ID_DOMAIN + encode_id(point_id)).digest()[0]


def fingerprint_of(points: Iterable[Mapping[str, Any]]) -> Fingerprint:
    """Compute the fingerprint of the points of a server's scroll, as parsed from JSON."""
    work = Fingerprinter()
    for page in in_pages(points):
        work.add_served(page)
    return work.record()


def in_pages(points: Iterable[Mapping[str, Any]]) -> Iterator[Iterator[Mapping[str, Any]]]:
    """Yield the points in pages, each to be used up before the next: so many points of a
    multivector at once may be gigabytes."""
    rest = iter(points)
    for first in rest:
        yield chain((first,), islice(rest, _PAGE - 1))


def parts_of(points: Iterable[Mapping[str, Any]]) -> Iterator[tuple[Any, Any, Any]]:
    """Yield id, payload and vectors of points of a server's scroll."""
    return ((p["id"], p.get("payload"), p.get("vector")) for p in points)


def only_ids(fingerprint: Fingerprint) -> Fingerprint:
    """Of the same points, their ids alone."""
    ids = {"id": fingerprint.components["id"]}
    return fingerprint.model_copy(update={"encoding": BITS, "components": ids, "not_finite": {}})


def add(*parts: Fingerprint) -> Fingerprint:
    """Return the fingerprint of the union of disjoint sets."""
    return _combined(parts, 1)


def subtract(whole: Fingerprint, part: Fingerprint) -> Fingerprint:
    """Return what remains of `whole` without `part`, which must be in it."""
    return _combined((whole, part), -1)


def _combined(parts: Iterable[Fingerprint], sign: int) -> Fingerprint:
    work = Fingerprinter()
    for n, part in enumerate(parts):
        for sums, components in (
            (work.sums, part.components),
            (work.not_finite, part.not_finite),
        ):
            for name, component in components.items():
                sums.setdefault(name, Sums()).combine(Sums.of(component), sign if n else 1)
    return work.record()


def in_bits(fingerprint: Fingerprint) -> Fingerprint:
    """Return the fingerprint in version 1 of the encoding, if the engine has read the points."""
    work = Fingerprinter()
    for components in (fingerprint.components, fingerprint.not_finite):
        for name, component in components.items():
            sums = work.sums.setdefault(name, Sums())
            count = sums.count
            sums.combine(Sums.of(component), 1)
            sums.count = count or component.count
    return work.record()


def differences(expected: Fingerprint, found: Fingerprint) -> list[str]:
    """Say which components differ, by how many points, in which buckets. Empty if equal.

    A seal of version 1 is compared by the bits; otherwise all values that are not finite are equal.
    """
    if expected.encoding < found.encoding:
        found = in_bits(found)
    words = []
    for name in sorted(expected.components.keys() | found.components.keys()):
        one, two = _sums(expected, name), _sums(found, name)
        if one.facts() == two.facts():
            continue
        apart = np.flatnonzero(one.buckets != two.buckets).tolist()
        count = "" if one.count == two.count else f", {two.count} instead of {one.count} points"
        shown = ", ".join(map(str, apart[:8])) + (", ..." if len(apart) > 8 else "")
        words.append(f"{name} differs in {len(apart)} of {BUCKETS} buckets ({shown}){count}")
    return words


def buckets_apart(one: Fingerprint, two: Fingerprint) -> tuple[int, ...]:
    """Return the buckets in which any component differs, ascending, as `differences` compares."""
    if one.encoding < two.encoding:
        two = in_bits(two)
    elif two.encoding < one.encoding:
        one = in_bits(one)
    apart = np.zeros(BUCKETS, np.bool_)
    for name in one.components.keys() | two.components.keys():
        apart |= _sums(one, name).buckets != _sums(two, name).buckets
    return tuple(np.flatnonzero(apart).tolist())


def _sums(fingerprint: Fingerprint, name: str) -> Sums:
    component = fingerprint.components.get(name)
    return Sums.of(component) if component else Sums()


def sketch_of(sketch: Sequence[str], encoding: int) -> tuple[str, ...]:
    """Return the rows of a `Fingerprinter`'s sketch in one version of the encoding, as in a
    seal."""
    return tuple(row[:16] + (row[32:] if encoding == BITS else row[16:32]) for row in sketch)


def merge_sketches(*sketches: Sequence[str]) -> tuple[str, ...]:
    """Return the sketch of the union of disjoint sets."""
    return tuple(sorted(row for sketch in sketches for row in sketch)[:SKETCH])


def changed_share(before: Sequence[str], after: Sequence[str]) -> float | None:
    """Estimate the share of the points of `before` that are gone or different; None without a
    sketch.

    Both sketches hold the points whose ids hash lowest, so up to the lower of their two ends they
    are samples of the same ids: `sqrt(p (1 - p) / 256)` is the standard error, at most 3 %."""
    end = after[-1][:16] if len(after) == SKETCH else "g"
    common = [row for row in before if row[:16] <= end]
    if not common:
        return None
    same = set(after)
    return sum(row not in same for row in common) / len(common)
