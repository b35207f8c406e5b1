"""What a fingerprint of points looks like in a record; `proof.fingerprint` computes it."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from qdrant_dr.records.base import Frozen

BUCKETS = 256

Sum = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
BucketSums = Annotated[str, Field(pattern=rf"^[0-9a-f]{{{BUCKETS * 16}}}$")]


class Component(Frozen):
    """One aspect of all points: how many have it, their digests summed, and summed per bucket.

    `sum` is modulo 2^256; `buckets` is 256 sums modulo 2^64, hex, one after the other.
    """

    count: int = Field(ge=0)
    sum: Sum
    buckets: BucketSums


class Fingerprint(Frozen):
    """Order-independent digest of a set of points.

    `components` has `id` (existence), `payload`, and `vector:<name>` for each vector name that
    any point carries (`vector:` is the unnamed one).
    """

    encoding: int = 1
    points: int = Field(ge=0)
    components: dict[str, Component]

    @model_validator(mode="after")
    def _counts_agree(self) -> Fingerprint:
        if self.components.get("id") is None or self.components["id"].count != self.points:
            raise ValueError("a fingerprint counts its ids")
        return self
