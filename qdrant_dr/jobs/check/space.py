"""Is there room for the next backup? By the last one, as measured; by the points there are before a
first one, and that is a guess: it fails nothing."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from qdrant_dr.cluster import CollectionFacts
from qdrant_dr.config import Config
from qdrant_dr.disk import free_below
from qdrant_dr.errors import StorageFull
from qdrant_dr.jobs.check.rows import CheckRow, degraded, failed, ok, skipped
from qdrant_dr.jobs.run.archive_size import GROWTH, ON_NODE, SMALLEST
from qdrant_dr.jobs.run.scratch_dir import unsafe_spool
from qdrant_dr.quantities import format_size
from qdrant_dr.raw_settings import dense_vectors
from qdrant_dr.repository import Repository

PAYLOAD = 1024
"""Bytes of payload, ids and index per point where no backup says better."""
OVERHEAD = 1.5
"""Archives hold vectors, their index, and segments that wait to be merged."""
WAL = 32 * 2**20
"""Qdrant's write-ahead log takes up to this per shard in an archive."""
_DATATYPE = {"float16": 2, "uint8": 1}
GUESSED = " (guessed from points, without a backup to go by)"
GUESSED_THERE = " (guessed, without a backup there to go by)"
"""Of a chunked repository: what an archive becomes in it is measured there alone."""


@dataclass(frozen=True, slots=True)
class Size:
    """Bytes that a backup may take. `guessed`: there is none yet to measure."""

    bytes: int
    guessed: bool = False


def expected_sizes(
    collections: Iterable[CollectionFacts], last_sizes: Mapping[str, int]
) -> dict[str, Size]:
    """Return what the next backup of each collection may take."""
    return {
        c.collection: Size(math.ceil(last_sizes[c.collection] * GROWTH))
        if c.collection in last_sizes
        else Size(estimate(c.info, c.exact_points or c.points_count or 0, c.shard_number), True)
        for c in collections
    }


def estimate(info: Mapping[str, Any], points: int, shards: int) -> int:
    """Estimate the bytes of a first backup from vector sizes and points: rough, on the high
    side."""
    every = dense_vectors(info["config"]["params"]).values()
    sizes: list[int] = [v["size"] * _DATATYPE.get(v.get("datatype") or "", 4) for v in every]
    return math.ceil(points * (sum(sizes) + PAYLOAD) * OVERHEAD) + shards * WAL


def check_space(
    config: Config,
    sizes: Mapping[str, Size],
    repositories: Iterable[Repository],
    written: Mapping[str, Mapping[str, int]] = MappingProxyType({}),
) -> Iterator[CheckRow]:
    """Compare with what is free in each repository that can say, on the nodes, in the spool.

    `written`, by chunked repository and collection: what the last backup wrote there, as blocks
    that are there already are not written again.
    """
    for repository in repositories:
        each = sizes_there(sizes, written.get(repository.name))
        scope = f"repository {repository.name}"
        free = repository.store.free_bytes()
        if free is None:
            needed = format_size(sum(s.bytes for s in each))
            yield skipped(scope, "space", f"about {needed} needed; it tells no limit")
        else:
            guess = GUESSED_THERE if repository.name in written else GUESSED
            yield _room(scope, each, free, "the next backup", guess)
    archives = list(sizes.values())
    yield _nodes(config, archives)
    yield _spool(config, archives)


def sizes_there(sizes: Mapping[str, Size], written: Mapping[str, int] | None) -> list[Size]:
    """Return what the next backups may take in one repository, by what the last ones wrote to a
    chunked one; of a first backup there nobody knows how small its blocks become."""
    if written is None:
        return list(sizes.values())
    return [
        Size(math.ceil(written[name] * GROWTH)) if name in written else Size(archive.bytes, True)
        for name, archive in sizes.items()
    ]


def _nodes(config: Config, sizes: Sequence[Size]) -> CheckRow:
    """Archives lie on the node until every copy is safe; a full snapshot there needs all of them
    at once, up to three times. No call of Qdrant tells its free disk."""
    scope, free = "cluster", config.cluster.node_space
    full = config.capture.method == "full"
    needed = list(sizes) * ON_NODE["full"][1] if full else _widest(config, sizes)
    if config.capture.method == "stream":
        return ok(scope, "space", "method stream needs none on the nodes")
    if free is None:
        return skipped(
            scope,
            "space",
            f"about {format_size(sum(s.bytes for s in needed))} needed on a node; Qdrant tells no "
            "free disk, `cluster.node_space` does",
        )
    return _room(scope, needed, free, "snapshots on a node, by `cluster.node_space`")


def _widest(config: Config, sizes: Sequence[Size]) -> list[Size]:
    largest_first = sorted(sizes, key=lambda s: s.bytes, reverse=True)
    return largest_first[: config.capture.parallel_collections]


def _spool(config: Config, sizes: Sequence[Size]) -> CheckRow:
    """Proofs lay archives out on disk: the largest ones at the same time."""
    scope = "spool"
    spool = config.capture.spool
    if unsafe := unsafe_spool(spool.path):
        return failed(scope, "space", unsafe)
    widest = _widest(config, sizes)
    needed = sum(s.bytes for s in widest)
    if needed > spool.max:
        about = f"proofs may need {format_size(needed)}"
        about += GUESSED if any(s.guessed for s in widest) else ""
        return degraded(
            scope,
            "space",
            f"{about}, `capture.spool.max` is {format_size(spool.max)}",
            "raise `capture.spool.max`, or lower `capture.parallel_collections`.",
        )
    return _room(scope, widest, free_below(spool.path), "proofs")


def _room(
    scope: str, sizes: Sequence[Size], free: int, what: str, guess: str = GUESSED
) -> CheckRow:
    """Fail where it does not fit as measured; where it is a guess, ask for attention."""
    needed, measured = sum(s.bytes for s in sizes), sum(s.bytes for s in sizes if not s.guessed)
    text = f"about {format_size(needed)} for {what}"
    text += (guess if needed > measured else "") + f", {format_size(free)} free"
    least = measured + SMALLEST * sum(s.guessed for s in sizes)
    if least > free:
        return failed(scope, "space", StorageFull(text))
    if needed > free:
        return degraded(
            scope, "space", text, "free space if it is as much as that; a first backup will tell."
        )
    if 2 * measured > free:
        return degraded(scope, "space", text, "free space, or add some: the second next may fail.")
    return ok(scope, "space", text)
