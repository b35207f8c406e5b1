"""Find out which points are missing, from the sums of a seal and known candidates.

A seal holds sums of the digests of all ids, in 256 buckets. The difference of a bucket is the sum
of the digests of its lost ids (minus that of unexpected ids): a set of candidates with exactly that
sum is the set of lost ids, except for a chance of 2^-64 per set that is tried."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import count

from qdrant_dr.proof.fingerprint import BUCKETS
from qdrant_dr.proof.point_encoding import ID_DOMAIN, encode_id
from qdrant_dr.records import Fingerprint

_MODULUS = 1 << 64
_MOST_GAPS = 1_000_000
_MOST_PAIRS = 3_000
PointId = int | str


@dataclass(frozen=True)
class LostPoints:
    """`ids` are certainly lost; `buckets` have further missing or unexpected ids, not known
    which."""

    ids: tuple[PointId, ...]
    buckets: tuple[int, ...]


def find_lost(
    expected: Fingerprint,
    found: Fingerprint,
    found_ids: Collection[PointId],
    known: Iterable[PointId] = (),
) -> LostPoints:
    """Compare the ids that were found with the seal.

    `known` are ids that the backup is known to have held from other sources: the id list of an
    unreadable segment, or another copy. Gaps between the integers that were found, and the integers
    that follow them, are candidates as well.
    """
    lacking = {
        bucket: (one - two) % _MODULUS
        for bucket, (one, two) in enumerate(zip(_sums(expected), _sums(found), strict=True))
        if one != two
    }
    if not lacking:
        return LostPoints((), ())
    missing = max(expected.points - found.points, 0)
    hints = _by_bucket(set(known).difference(found_ids), lacking)
    gaps = _by_bucket(_gaps(found_ids, missing), lacking)
    ids: list[PointId] = []
    unsolved = []
    for bucket, wanted in lacking.items():
        solution = _solve(wanted, hints.get(bucket, []), gaps.get(bucket, []))
        if solution is None:
            unsolved.append(bucket)
        else:
            ids += solution
    ordered = sorted(
        ids, key=lambda i: (isinstance(i, str), i if isinstance(i, int) else 0, str(i))
    )
    return LostPoints(tuple(ordered), tuple(unsolved))


def _sums(fingerprint: Fingerprint) -> list[int]:
    text = fingerprint.components["id"].buckets
    return [int(text[at : at + 16], 16) for at in range(0, 16 * BUCKETS, 16)]


def _gaps(found_ids: Collection[PointId], missing: int) -> list[int]:
    """Return missing integers, up to the highest and as many beyond it as may be missing."""
    there = {i for i in found_ids if isinstance(i, int)}
    end = max(there, default=-1) + 2 * missing + 1
    gaps: list[int] = []
    for number in count():
        if number > end or len(gaps) >= _MOST_GAPS or number > len(there) + _MOST_GAPS:
            return gaps
        if number not in there:
            gaps.append(number)
    return gaps


def _by_bucket(
    ids: Iterable[PointId], wanted: Collection[int]
) -> dict[int, list[tuple[PointId, int]]]:
    found: dict[int, list[tuple[PointId, int]]] = {}
    for point_id in ids:
        digest = sha256(ID_DOMAIN + encode_id(point_id)).digest()
        if digest[0] in wanted:
            found.setdefault(digest[0], []).append((point_id, int.from_bytes(digest[:8], "little")))
    return found


def _solve(
    wanted: int, hints: Sequence[tuple[PointId, int]], gaps: Sequence[tuple[PointId, int]]
) -> list[PointId] | None:
    """Find candidates whose digests have this sum: all hints, gaps up to one, or one or two of
    all."""
    known = {point_id for point_id, _ in hints}
    others = [entry for entry in gaps if entry[0] not in known]
    for first, rest in ((list(hints), others), ([], list(gaps))):
        total = sum(value for _, value in first) % _MODULUS
        if first and total == wanted:
            return [point_id for point_id, _ in first]
        for at, (_, value) in enumerate(rest):
            total = (total + value) % _MODULUS
            if total == wanted:
                return [point_id for point_id, _ in [*first, *rest[: at + 1]]]
    return _one_or_two(wanted, [*hints, *others])


def _one_or_two(wanted: int, every: Sequence[tuple[PointId, int]]) -> list[PointId] | None:
    by_value = {value: point_id for point_id, value in every}
    if wanted in by_value:
        return [by_value[wanted]]
    for point_id, value in every[:_MOST_PAIRS]:
        other = by_value.get((wanted - value) % _MODULUS)
        if other is not None and other != point_id:
            return [point_id, other]
    return None
