"""Nights of a server's collection: archives, lists of their blocks, and how these go on.

Each night 1 % of the points are rewritten and a tenth of that deleted; then a snapshot is cut as a
chunked repository cuts it. A block is a number: what it holds does not matter, but its stored size
and the member it comes from. How a year goes on is measured: for each night, each kind of member
and each age of a block, how many of such blocks were gone the night after. The same share of such
blocks, chosen at random, goes in the nights to come; the measured nights take turns, so that those
in which the server merged segments come again, too. As many new blocks as went take their places.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import time
from bisect import bisect_right
from collections import Counter
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import httpx
import numpy as np

from benchmarks.readback import DIMENSIONS, download
from qdrant_dr.tar import BlockReader, Member, members
from qdrant_dr.vault.compress import compress
from qdrant_dr.vault.cut import cut
from tests.support.servers import qdrant_server, sandbox_server

BATCH = 1000
BUFFER = 2**20
_NESTED = re.compile(r".*segments/[^/]+\.tar")
_NUMBERS = re.compile(r"\d+")
AGES = (1, 4)
"""A block is new, a few nights old, or older than that: from so many nights on."""


def nightly_archives(
    folder: Path, points: int, nights: int, *, real: bool = True
) -> Generator[Path, None, None]:
    """Yield a snapshot of each night, each in a file of its own: 1 % of the points are rewritten
    between two, and a tenth of that deleted."""
    server = qdrant_server if real else sandbox_server
    with (
        server(folder / "server") as running,
        httpx.Client(base_url=running.url, timeout=600) as client,
    ):
        vectors = {"size": DIMENSIONS, "distance": "Cosine"}
        client.put("/collections/bench", json={"vectors": vectors}).raise_for_status()
        index = {"field_name": "genre", "field_schema": "keyword"}
        client.put("/collections/bench/index?wait=true", json=index).raise_for_status()
        chance = np.random.default_rng(7)
        _put(client, range(points), chance)
        for night in range(nights):
            if night:
                changed = chance.choice(points, points // 100, replace=False).tolist()
                _put(client, changed, chance)
                gone = {"points": changed[: len(changed) // 10]}
                where = "/collections/bench/points/delete?wait=true"
                client.post(where, json=gone).raise_for_status()
            _settle(client)
            archive = folder / f"{night}.snapshot"
            download(client, archive)
            yield archive
    shutil.rmtree(folder / "server")


def _put(client: httpx.Client, ids: Sequence[int], chance: np.random.Generator) -> None:
    for start in range(0, len(ids), BATCH):
        batch = ids[start : start + BATCH]
        vectors = chance.standard_normal((len(batch), DIMENSIONS)).astype(np.float32).tolist()
        rows = [
            {"id": i, "vector": v, "payload": {"genre": f"genre-{i % 30}", "year": 1950 + i % 70}}
            for i, v in zip(batch, vectors, strict=True)
        ]
        where = "/collections/bench/points?wait=true"
        client.put(where, json={"points": rows}).raise_for_status()


def _settle(client: httpx.Client) -> None:
    """Wait until nothing is optimized, three looks in a row."""
    quiet = 0
    while quiet < 3:
        time.sleep(0.5)
        status = client.get("/collections/bench").json()["result"]["status"]
        quiet = quiet + 1 if status == "green" else 0


@dataclass
class Blocks:
    """All blocks that were ever seen, by number."""

    numbers: dict[bytes, int] = field(default_factory=dict)
    sizes: list[int] = field(default_factory=list)
    kinds: list[str] = field(default_factory=list)

    def new(self, size: int, kind: str) -> int:
        """Number one more."""
        self.sizes.append(size)
        self.kinds.append(kind)
        return len(self.sizes) - 1

    def of_archive(self, archive: Path) -> np.ndarray:
        """Cut an archive, and return its blocks in their order, each once."""
        kinds, found, at = _Kinds(archive), [], 0
        for piece in cut(_buffers(archive)):
            if piece.is_block:
                digest = hashlib.sha256(piece.data).digest()
                if (number := self.numbers.get(digest)) is None:
                    number = self.new(len(compress(piece.data)), kinds.at(at))
                    self.numbers[digest] = number
                found.append(number)
            at += len(piece.data)
        return np.array(list(dict.fromkeys(found)), np.int64)


class _Kinds:
    """What each byte of an archive belongs to: the name of a file, without its folder."""

    def __init__(self, archive: Path) -> None:
        spans = list(_spans(BlockReader(_buffers(archive)), nested=False))
        self.starts, self.names = [s for s, _ in spans], [name for _, name in spans]

    def at(self, offset: int) -> str:
        return self.names[bisect_right(self.starts, offset) - 1]


def _spans(reader: BlockReader, *, nested: bool, base: int = 0) -> Iterator[tuple[int, str]]:
    for member in members(reader, max_members=100_000, nested=nested):
        start = base + reader.position
        if _NESTED.fullmatch(member.name):
            yield from _spans(BlockReader(member.chunks()), nested=True, base=start)
        elif not member.is_folder:
            yield start, _kind(member)


def _kind(member: Member) -> str:
    return _NUMBERS.sub("", Path(member.name).name)


def _buffers(archive: Path) -> Iterator[bytes]:
    with archive.open("rb") as file:
        while data := file.read(BUFFER):
            yield data


@dataclass(frozen=True)
class Churn:
    """One measured night: of the blocks of one kind and age, how many of how many were gone."""

    gone: Counter[tuple[str, int]]
    there: Counter[tuple[str, int]]

    def share(self, kind: str, age: int) -> float:
        there = self.there[kind, age]
        return self.gone[kind, age] / there if there else 0.0


def churns(nights: Sequence[np.ndarray], blocks: Blocks) -> list[Churn]:
    """Measure each night after the first few, of which nobody knows how old their blocks are."""
    born: dict[int, int] = {}
    found = []
    for night, (before, after) in enumerate(pairwise(nights)):
        for block in before.tolist():
            born.setdefault(block, night)
        left = set(after.tolist())
        gone: Counter[tuple[str, int]] = Counter()
        there: Counter[tuple[str, int]] = Counter()
        for block in before.tolist():
            which = blocks.kinds[block], bisect_right(AGES, night - born[block])
            there[which] += 1
            gone[which] += block not in left
        if night >= AGES[-1]:
            found.append(Churn(gone, there))
    return found


def going_on(
    nights: Sequence[np.ndarray], blocks: Blocks, until: int, chance: np.random.Generator
) -> Iterator[np.ndarray]:
    """Yield the measured nights, then those that go on like them."""
    yield from nights
    measured = churns(nights, blocks)
    born: dict[int, int] = {}
    for night, there in enumerate(nights):
        for block in there.tolist():
            born.setdefault(block, night)
    now = nights[-1].copy()
    for night in range(len(nights), until):
        churn = measured[night % len(measured)]
        which = [(blocks.kinds[b], bisect_right(AGES, night - 1 - born[b])) for b in now.tolist()]
        shares = {each: churn.share(*each) for each in set(which)}
        gone = np.flatnonzero(chance.random(len(now)) < [shares[each] for each in which])
        now = now.copy()
        for place in gone.tolist():
            old = int(now[place])
            now[place] = blocks.new(blocks.sizes[old], blocks.kinds[old])
            born[int(now[place])] = night
        yield now
