"""The fingerprint of a set of points in a record; `proof.fingerprint` computes it."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from qdrant_dr.records.base import Frozen, later, newer

BUCKETS = 256

Sum = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
BucketSums = Annotated[str, Field(pattern=rf"^[0-9a-f]{{{BUCKETS * 16}}}$")]


class Component(Frozen):
    """One component of all points: how many have it, the sum of their digests, and sums per bucket.

    `sum` is modulo 2^256; `buckets` is 256 sums modulo 2^64, hex, concatenated.
    """

    count: int = Field(ge=0)
    sum: Sum
    buckets: BucketSums


class Fingerprint(Frozen):
    """An order-independent digest of a set of points.

    `components` has `id` (existence), `payload`, and `vector:<name>` for each vector name that
    any point carries (`vector:` is the unnamed one).

    `encoding` is 1 if both versions are equal, because every vector is finite, and in older seals.
    Else it is 2, and `not_finite` holds for each vector name concerned how many points have a
    component that is not finite, and what version 1 adds to the sums: its bits as the engine reads
    them, which a server's JSON does not show.
    """

    encoding: int = 1
    points: int = Field(ge=0)
    components: dict[str, Component]
    not_finite: dict[str, Component] = later({})

    @model_validator(mode="after")
    def _known(self) -> Fingerprint:
        if self.encoding not in (1, 2):
            raise newer(f"encoding {self.encoding} of points is newer than this version")
        if (self.encoding == 2) is not bool(self.not_finite):
            raise ValueError("version 2 needs vectors that are not finite, and only those")
        return self

    @model_validator(mode="after")
    def _counts_agree(self) -> Fingerprint:
        if self.components.get("id") is None or self.components["id"].count != self.points:
            raise ValueError("a fingerprint counts its ids")
        return self

    def odd(self, vector: str) -> int:
        """Return how many points have a vector of this name that is not finite, if it was
        checked."""
        found = self.not_finite.get(f"vector:{vector}")
        return found.count if found else 0
