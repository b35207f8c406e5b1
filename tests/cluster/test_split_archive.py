"""Shards cut out of a node's archive: byte for byte what they were, and nothing else."""

from __future__ import annotations

import io
import json
import os
import tarfile
import tracemalloc
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import httpx
import pytest
import qdrant_edge
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from qdrant_dr.cluster import ShardSplitter
from qdrant_dr.cluster.split_archive import COLLECTION_FILES, OUTPUT_BLOCK
from qdrant_dr.errors import (
    ArchiveError,
    ArchiveForeign,
    ArchiveHostile,
    ArchiveInvalid,
    ArchiveTooLarge,
    ArchiveTruncated,
    CollectionChanged,
    DRError,
)
from tests.support.archives import (
    END,
    FIXTURES,
    RawMember,
    archive,
    header,
    put_together,
    take_apart,
    tar,
)
from tests.support.servers import qdrant_server

LOCAL = json.dumps({"is_local": True}).encode()
REMOTE = json.dumps({"is_local": False}).encode()
FILES = [(name, b'{"uuid":"u-1"}') for name in COLLECTION_FILES]
NODES = {  # what the nodes of the fixtures hold: shard -> points
    "cluster/movies-node-a": {1: 433, 2: 395},
    "cluster/movies-node-b": {0: 372, 2: 395},
    "cluster/movies-node-c": {0: 372, 1: 433},
    "cluster/tenants-node-a": {2: 200},
    "cluster/tenants-node-b": {1: 200},
    "sharded/collection": {0: 282, 1: 318, 2: 300},
    "basic/collection": {0: 2000},
    "motion/collection": {0: 3000},
    "busy/collection": {0: 3000},
    "empty/collection": {0: 0},
}


def cut(data: bytes, size: int) -> Iterator[bytes]:
    return (data[at : at + size] for at in range(0, len(data), size))


def reframed(data: bytes, *wanted: int, block: int = 65_536) -> dict[int, bytes]:
    reframing = ShardSplitter(cut(data, block), wanted)
    return {shard: b"".join(blocks) for shard, blocks in reframing.shards()}


def shard(number: int, *members: tuple[str, bytes], state: bytes = LOCAL) -> list[RawMember]:
    files = [*members, ("replica_state.json", state), ("shard_config.json", b"{}")]
    return [RawMember(header(f"{number}/{n}", len(d)), d) for n, d in files]


def whole(*shards: list[RawMember], end: bytes = END) -> bytes:
    files = [RawMember(header(n, len(d)), d) for n, d in FILES]
    return put_together([m for s in shards for m in s] + files, end=end)


SEGMENT = ("segments/one.tar", b"segment")
GOOD = whole(shard(0, SEGMENT), shard(1, state=REMOTE), shard(2, SEGMENT, ("wal/open-1", b"log")))


@pytest.mark.parametrize("name", NODES)
def test_a_real_shard_loads_with_every_point(name: str, tmp_path: Path) -> None:
    data = archive(name)
    reframing = ShardSplitter(cut(data, 65_536), NODES[name], name)
    for number, blocks in reframing.shards():
        path = tmp_path / f"{number}.snapshot"
        path.write_bytes(b"".join(blocks))
        qdrant_edge.EdgeShard.unpack_snapshot(str(path), str(tmp_path / str(number)))
        engine = qdrant_edge.EdgeShard.load(str(tmp_path / str(number)))
        assert engine.count(qdrant_edge.CountRequest(exact=True)) == NODES[name][number]
        engine.close()
    assert reframing.logged == set(NODES[name])
    assert tuple(reframing.files) == COLLECTION_FILES
    assert (reframing.uuid is not None) == name.startswith("cluster/")


@pytest.mark.parametrize(
    ("points", "taken"),
    [
        ("sharded/points", {"sharded/collection": (0, 1, 2)}),
        ("cluster/movies.points", {"cluster/movies-node-a": (1,), "cluster/movies-node-b": (0, 2)}),
        (
            "cluster/tenants.points",
            {"cluster/tenants-node-a": (2,), "cluster/tenants-node-b": (1,)},
        ),
    ],
)
def test_the_shards_together_are_what_the_server_answered(
    points: str, taken: dict[str, tuple[int, ...]], tmp_path: Path
) -> None:
    truth = points_of(points)
    found = {}
    for name, wanted in taken.items():
        for number, data in reframed(archive(name), *wanted).items():
            (tmp_path / f"{number}.snapshot").write_bytes(data)
            folder = str(tmp_path / str(number))
            qdrant_edge.EdgeShard.unpack_snapshot(str(tmp_path / f"{number}.snapshot"), folder)
            engine = qdrant_edge.EdgeShard.load(folder)
            request = qdrant_edge.ScrollRequest(limit=10_000, with_payload=True, with_vector=True)
            found |= {r.id: (r.payload, r.vector) for r in engine.scroll(request)[0]}
            engine.close()
    assert found.keys() == truth.keys()
    for point, (payload, vector) in found.items():
        assert payload == truth[point][0]
        assert vector == pytest.approx(truth[point][1], abs=1e-6)


def points_of(name: str) -> dict[int, tuple[dict[str, Any], list[float]]]:
    with (FIXTURES / f"{name}.ndjson.zst").open("rb") as raw:
        lines = zstandard.ZstdDecompressor().stream_reader(raw).read().splitlines()
    read = [json.loads(line) for line in lines]
    return {p["id"]: (p.get("payload") or {}, p["vector"]) for p in read}


@pytest.mark.parametrize("name", NODES)
def test_reframing_changes_only_names(name: str) -> None:
    data = archive(name)
    cut_out = reframed(data, *NODES[name])
    before = take_apart(data)
    for number, found in cut_out.items():
        mine = [m for m in before if m.name.startswith(f"{number}/")]
        after = take_apart(found)
        assert [f"{number}/{m.name}" for m in after] == [m.name for m in mine]
        for was, now in zip(mine, after, strict=True):
            assert now.data == was.data
            assert now.header[100:148] == was.header[100:148]
            assert now.header[156:] == was.header[156:]  # the sparse map, and its extensions
        with tarfile.open(fileobj=io.BytesIO(found)) as other:  # its own checksum test
            assert other.getnames() == [m.name for m in after]


names = st.from_regex(r"[a-z0-9_-]{1,40}(/[a-z0-9_-]{1,70}){0,3}", fullmatch=True)
contents = st.binary(max_size=3000)


@given(
    st.dictionaries(st.integers(0, 3), st.dictionaries(names, contents, max_size=4), min_size=1),
    st.sets(st.integers(0, 3)),
    st.integers(1, 5000),
)
def test_whatever_is_in_the_shards(
    files: dict[int, dict[str, bytes]], wanted: set[int], block: int
) -> None:
    shards = [
        [*_members(number, {"segments/x": b"1", **inside}), *shard(number)]
        for number, inside in files.items()
    ]
    data = whole(*shards)
    try:
        found = reframed(data, *(wanted & files.keys()), block=block)
    except ArchiveHostile:
        return  # a file where a folder is: the same is refused in a proof
    for number, archived in found.items():
        with tarfile.open(fileobj=io.BytesIO(archived)) as tar_file:
            read = {m.name: tar_file.extractfile(m).read() for m in tar_file}  # type: ignore[union-attr]
        inside = {"segments/x": b"1", **files[number]}
        assert read == {**inside, "replica_state.json": LOCAL, "shard_config.json": b"{}"}


def _members(number: int, files: dict[str, bytes]) -> list[RawMember]:
    found = []
    for name, data in files.items():
        long = f"{number}/{name}".encode()
        head = header(long[:100], len(data))
        if len(long) > 100:
            head = (
                RawMember(header("././@LongLink", len(long) + 1, b"L"), long + b"\0").to_bytes()
                + head
            )
        found.append(RawMember(head, data))
    return found


def test_sparse_files_keep_their_map_and_its_extensions() -> None:
    runs = [(at * 4096, 512) for at in range(60)]
    head = header("0/wal/open-1", 512 * 60, b"S", runs=runs, apparent=2**25)
    sparse = RawMember(head, os.urandom(512 * 60))
    data = whole([sparse, *shard(0, SEGMENT)])
    found = take_apart(reframed(data, 0, block=700)[0])
    assert found[0].name == "wal/open-1"
    assert found[0].data == sparse.data
    assert found[0].header[156:] == head[156:]


def test_a_size_beyond_octal_is_copied_as_it_stands() -> None:
    head = bytearray(header("0/segments/big.tar", 8**11))  # base-256; its data never comes
    cut_off = put_together([RawMember(bytes(head), b"x" * 512)], end=b"")
    with pytest.raises(ArchiveTruncated):
        reframed(cut_off, 0)


def test_unwanted_shards_and_those_elsewhere_are_passed_over() -> None:
    found = reframed(GOOD, 2)
    assert list(found) == [2]
    assert [m.name for m in take_apart(found[2])] == [
        "segments/one.tar", "wal/open-1", "replica_state.json", "shard_config.json",
    ]  # fmt: skip
    assert reframed(GOOD) == {}


def test_only_shards_with_a_log_count_as_logged() -> None:
    empty_log = shard(1, SEGMENT, ("wal/closed-7", b""))
    reframing = ShardSplitter([whole(shard(0, SEGMENT, ("wal/open-1", b"x")), empty_log)], {0, 1})
    for _, blocks in reframing.shards():
        assert b"".join(blocks)
    assert reframing.logged == {0}


@pytest.mark.parametrize(
    ("said", "error", "words"),
    [
        ({}, None, ""),
        ({"peers": {"7": "Listener"}}, None, ""),
        ({"this_peer_id": 8}, ArchiveForeign, "was made by peer 8, but peer 7 was asked"),
        ({"peers": {"7": "Partial", "8": "Active"}}, CollectionChanged, "replica was Partial"),
        ({"peers": {"8": "Active"}}, CollectionChanged, "replica was absent"),
        ({"peers": None}, ArchiveInvalid, "not what Qdrant writes"),
    ],
)
def test_whose_archive_it_is_and_whether_its_replica_was_full(
    said: dict[str, object], error: type[DRError] | None, words: str
) -> None:
    """A replica that is lost and made anew between the facts before and after shows only here."""
    state = {"is_local": True, "this_peer_id": 7, "peers": {"7": "Active"}} | said
    data = whole(shard(0, SEGMENT, state=json.dumps(state).encode()))
    reframing = ShardSplitter([data], {0}, peer=7)
    with pytest.raises(error, match=words) if error else nullcontext():
        assert [(n, bool(b"".join(blocks))) for n, blocks in reframing.shards()] == [(0, True)]
        assert reframing.every == [0]


def test_an_archive_that_is_left_half_way_is_read_to_its_end() -> None:
    reframing = ShardSplitter([GOOD], {0, 2})
    assert [number for number, _ in reframing.shards()] == [0, 2]
    assert reframing.uuid == "u-1"


@pytest.mark.parametrize(
    ("data", "error", "words"),
    [
        (whole(shard(0, SEGMENT)), ArchiveInvalid, "does not hold the shards"),
        (whole(shard(1, SEGMENT, state=REMOTE)), ArchiveForeign, "is on another node"),
        (whole(shard(1, state=REMOTE)), ArchiveForeign, "is on another node"),
        (whole(shard(1)), ArchiveInvalid, "no segment"),
        (whole(shard(1, SEGMENT)[:-1]), ArchiveInvalid, "is truncated"),
        (whole(shard(1, SEGMENT, state=b"?")), ArchiveInvalid, "not what Qdrant writes"),
        (whole(shard(1, SEGMENT), shard(0, SEGMENT), shard(1, ("x", b""))), ArchiveInvalid,
         "scattered"),
        (whole(shard(1, SEGMENT), shard(1, SEGMENT)), ArchiveHostile, "twice"),
        (put_together(shard(1, SEGMENT)), ArchiveInvalid, "no file of the collection"),
        (put_together([*shard(1, SEGMENT), *take_apart(tar(*FILES[:-1]))]), ArchiveInvalid,
         "ends with version.info"),
        (whole(shard(1, SEGMENT), end=b""), ArchiveTruncated, "too early"),
        (whole(shard(1, SEGMENT), end=bytes(512)), ArchiveTruncated, "too early"),
        (whole(shard(1, SEGMENT), end=END + b"more"), ArchiveInvalid, "goes on"),
        (whole(shard(1, SEGMENT, ("../x", b""))), ArchiveHostile, "member named"),
        (tar(("1x/segments/a", b"")), ArchiveInvalid, "where shards are expected"),
        (tar(("01/segments/a", b"")), ArchiveInvalid, "where shards are expected"),
        (tar(*FILES, ("1/segments/a", b"")), ArchiveInvalid, "scattered"),
    ],
)  # fmt: skip
def test_archives_that_are_refused(data: bytes, error: type[ArchiveError], words: str) -> None:
    with pytest.raises(error, match=words):
        reframed(data, 1)


def test_metadata_are_kept_in_memory_only_up_to_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("qdrant_dr.cluster.split_archive.MAX_FILE", 8)
    with pytest.raises(ArchiveTooLarge, match="8 are allowed"):
        reframed(GOOD, 2)


@pytest.mark.parametrize("at", range(1, 60, 7))
def test_every_cut_is_seen(at: int) -> None:
    with pytest.raises(ArchiveError):
        reframed(GOOD[: len(GOOD) * at // 60], 0, 2)


def test_flat_memory_and_large_blocks() -> None:
    block = bytes(2**20)
    size = 96 * 2**20

    def blocks() -> Iterator[bytes]:
        yield RawMember(header("0/segments/big.tar", size), b"").to_bytes()
        for _ in range(size // len(block)):
            yield block
        yield put_together([*shard(0), *take_apart(tar(*FILES))])

    tracemalloc.start()
    sizes = [len(b) for _, out in ShardSplitter(blocks(), {0}).shards() for b in out]
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert sum(sizes) > size
    assert min(sizes[:-1]) >= OUTPUT_BLOCK
    assert peak < 16 * 2**20


@pytest.mark.qdrant
@pytest.mark.skipif("QDRANT_BIN" not in os.environ, reason="needs QDRANT_BIN")
def test_a_real_server_takes_the_shards(tmp_path: Path) -> None:
    found = reframed(archive("sharded/collection"), 0, 1, 2)
    with qdrant_server(tmp_path) as server, httpx.Client(base_url=server.url, timeout=60) as http:
        http.put(
            "/collections/again",
            json={"vectors": {"size": 16, "distance": "Cosine"}, "shard_number": 3},
        ).raise_for_status()
        for number, data in found.items():
            http.post(
                f"/collections/again/shards/{number}/snapshots/upload",
                params={"priority": "snapshot", "wait": "true"}, files={"snapshot": data},
            ).raise_for_status()  # fmt: skip
        page = http.post(
            "/collections/again/points/scroll", json={"limit": 10_000, "with_vector": True}
        ).json()["result"]["points"]
    truth = points_of("sharded/points")
    assert {p["id"] for p in page} == truth.keys()
    for point in page:
        assert point["payload"] == truth[point["id"]][0]
        assert point["vector"] == pytest.approx(truth[point["id"]][1], abs=1e-6)
