"""What a point is, as far as a restore of points touches it: compared, digested, combined. Pure.

`only` names the component that is touched: `payload`, `vector:NAME`, or None for the whole point.
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256
from math import isclose
from typing import Any

from qdrant_dr.cluster import RawPoint
from qdrant_dr.errors import UsageError
from qdrant_dr.proof.compare import alike
from qdrant_dr.proof.point_encoding import named_vectors, point_digests
from qdrant_dr.records.undo import ABSENT

PAYLOAD = "payload"
VECTOR = "vector:"


def vector_name(only: str | None) -> str | None:
    """Return the name of the vector that alone is touched; None if it is something else."""
    return only.removeprefix(VECTOR) if only is not None and only.startswith(VECTOR) else None


def check_only(only: str | None) -> None:
    """Raise UsageError for a component of no known form."""
    if only is not None and only != PAYLOAD and not only.startswith(VECTOR):
        raise UsageError(
            f"`--only {only}` names no component of a point",
            "it is `payload`, or `vector:NAME`; `vector:` is the vector without a name.",
        )


def named(point: RawPoint | None) -> dict[str, Any]:
    """Return the vectors of a point by name."""
    return named_vectors((point or {}).get("vector"))


def touched(point: RawPoint, only: str | None) -> RawPoint:
    """Return the point with what is touched of it, and nothing else."""
    if only is None:
        return {"id": point["id"], "payload": point.get("payload") or {},
                "vector": named_vectors(point.get("vector"))}  # fmt: skip
    if only == PAYLOAD:
        return {"id": point["id"], "payload": point.get("payload") or {}, "vector": {}}
    name, vectors = vector_name(only), named_vectors(point.get("vector"))
    some = {name: vectors[name]} if name in vectors else {}
    return {"id": point["id"], "payload": None, "vector": some}


def digest_of(point: RawPoint | None, only: str | None) -> str:
    """Return the digest of what is touched of a point, `ABSENT` for one that is not there."""
    if point is None:
        return ABSENT
    digests = _digests(point, only)
    whole = sha256()
    for name in sorted(digests):
        whole.update(len(name).to_bytes(4, "big") + name.encode() + digests[name])
    return whole.hexdigest()


def _digests(point: RawPoint, only: str | None) -> dict[str, bytes]:
    part = touched(point, only)
    return point_digests(part["id"], part["payload"], part["vector"])


def same(
    wanted: RawPoint | None, there: RawPoint | None, only: str | None, cosine: frozenset[str]
) -> bool:
    """Say whether what is touched of a point is as wanted: all of it bit by bit, except the vectors
    `cosine`, which may differ by the tolerance, as each server normalises them itself."""
    if wanted is None or there is None:
        return wanted is there
    one, other = _digests(wanted, only), _digests(there, only)
    apart = {name for name in one.keys() | other.keys() if one.get(name) != other.get(name)}
    if not apart <= {f"{VECTOR}{name}" for name in cosine}:
        return False
    mine, theirs = named(wanted), named(there)
    names = {name.removeprefix(VECTOR) for name in apart}
    return all(n in mine and n in theirs and alike(mine[n], theirs[n]) for n in names)


def combined(there: RawPoint | None, given: RawPoint | None, only: str | None) -> RawPoint | None:
    """Return what the point is to be: as `given`, or as it is there with one component of it."""
    if only is None or given is None or there is None:
        return given
    if only == PAYLOAD:
        return {**there, "payload": given.get("payload") or {}}
    name = vector_name(only)
    assert name is not None
    mine: Mapping[str, object] = named_vectors(given.get("vector"))
    others = {n: v for n, v in named_vectors(there.get("vector")).items() if n != name}
    return {**there, "vector": others | ({name: mine[name]} if name in mine else {})}


def only_rounded(
    wanted: RawPoint | None, there: RawPoint | None, only: str | None, cosine: frozenset[str]
) -> bool:
    """Say whether a point is as wanted but for the last bits of the floats in its payload."""
    if wanted is None or there is None or vector_name(only) is not None:
        return False
    if not _near(wanted.get("payload") or {}, there.get("payload") or {}):
        return False
    return same({**there, "payload": wanted.get("payload")}, wanted, only, cosine)


def _near(one: Any, other: Any) -> bool:
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(_near(one[k], other[k]) for k in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(_near, one, other))
    return isclose(one, other, rel_tol=1e-12) if isinstance(one, float) else bool(one == other)
