"""Bytes arrive whole and proven, or as an error; never as a shorter or other file."""

from __future__ import annotations

import hashlib
import threading
import tracemalloc
from collections.abc import Iterator

import pytest

from qdrant_dr.cluster import Node, create_snapshot, download
from qdrant_dr.digests import StreamDigest
from qdrant_dr.errors import (
    AccessDenied,
    CollectionVanished,
    DownloadInterrupted,
    DownloadMismatch,
    Interrupted,
    ServerFailed,
)
from qdrant_dr.records import ListedSnapshot
from tests.support.replay import ReplaySource, expected

GET = "GET /collections/movies/snapshots/"


@pytest.fixture
def snapshot(node: Node) -> ListedSnapshot:
    return create_snapshot(node, "movies")


def fetch(node: Node, snapshot: ListedSnapshot) -> Iterator[bytes]:
    return download(node, "movies", snapshot, backoff_seconds=0.001)


def requests_for(source: ReplaySource, snapshot: ListedSnapshot) -> int:
    return source.log.count(GET + snapshot.name)


@pytest.mark.parametrize("name", ["movies", "rich-ünïcode", "sharded", "empty", "single"])
def test_every_archive_arrives_byte_for_byte(node: Node, name: str) -> None:
    made = create_snapshot(node, name)
    blocks = list(download(node, name, made))
    whole = b"".join(blocks)
    sets = expected()["sets"].values()
    archive = next(s["archives"]["collection"] for s in sets if s.get("collection") == name)
    assert hashlib.sha256(whole).hexdigest() == archive["sha256"]
    assert max(map(len, blocks)) < 2 * 2**20


def test_what_got_to_the_reader_is_compared_with_the_checksum(
    source: ReplaySource, node: Node, snapshot: ListedSnapshot
) -> None:
    """The reader hashes what it hands on, cuts or not, and nothing is hashed a second time."""
    source.faults.cut_after = 300_001
    digest = StreamDigest()
    for block in download(node, "movies", snapshot, digest=digest, backoff_seconds=0.001):
        digest.update(block)
    assert digest.sha256 == snapshot.checksum


@pytest.mark.parametrize("fed", ["another byte", "a byte less", "nothing"])
def test_what_was_changed_on_the_way_to_the_reader_does_not_pass(
    node: Node, snapshot: ListedSnapshot, fed: str
) -> None:
    digest = StreamDigest()

    def read() -> None:
        for number, block in enumerate(download(node, "movies", snapshot, digest=digest)):
            if fed == "nothing":
                continue
            first = bytes([block[0] ^ 1]) if fed == "another byte" else b""
            digest.update(block if number else first + block[1:])

    with pytest.raises(DownloadMismatch, match="the server announced"):
        read()


def test_a_cut_is_resumed_where_it_happened(
    source: ReplaySource, node: Node, snapshot: ListedSnapshot
) -> None:
    source.faults.cut_after = 300_001
    whole = b"".join(fetch(node, snapshot))
    assert hashlib.sha256(whole).hexdigest() == snapshot.checksum
    assert requests_for(source, snapshot) == 2


def test_many_cuts_are_resumed_as_long_as_each_attempt_brings_something(
    source: ReplaySource, node: Node, snapshot: ListedSnapshot
) -> None:
    source.faults.cut_after, source.faults.cut_always = 100_000, True
    whole = b"".join(fetch(node, snapshot))
    assert hashlib.sha256(whole).hexdigest() == snapshot.checksum
    assert requests_for(source, snapshot) == 15


def test_cuts_without_progress_end(
    source: ReplaySource, node: Node, snapshot: ListedSnapshot
) -> None:
    source.faults.cut_after, source.faults.cut_always = 0, True
    with pytest.raises(DownloadInterrupted, match="after 0 of 1449472 bytes") as e:
        list(fetch(node, snapshot))
    assert e.value.transient
    assert requests_for(source, snapshot) == 6


def test_what_came_before_a_cut_is_handed_on(
    source: ReplaySource, node: Node, snapshot: ListedSnapshot
) -> None:
    source.faults.cut_after = 70_000
    assert len(next(fetch(node, snapshot))) == 70_000


@pytest.mark.parametrize("offset", [0, 512, 700_000, 1_449_471])
def test_one_altered_bit_is_found(
    source: ReplaySource, node: Node, snapshot: ListedSnapshot, offset: int
) -> None:
    source.faults.flip_byte = offset
    with pytest.raises(DownloadMismatch, match="SHA-256"):
        list(fetch(node, snapshot))


def test_the_servers_checksum_is_compared(source: ReplaySource, node: Node) -> None:
    source.faults.wrong_checksum = True
    made = create_snapshot(node, "movies")
    with pytest.raises(DownloadMismatch, match="0000"):
        list(fetch(node, made))


def test_the_size_is_compared_before_a_byte_is_handed_on(source: ReplaySource, node: Node) -> None:
    source.faults.short_length = 1
    made = create_snapshot(node, "movies")
    with pytest.raises(DownloadMismatch, match="1449472 bytes under this name"):
        next(fetch(node, made))


def test_a_file_exchanged_after_a_cut_is_not_glued_together(
    source: ReplaySource, node: Node, snapshot: ListedSnapshot
) -> None:
    source.faults.cut_after, source.faults.changed_etag = 300_000, True
    taken: list[bytes] = []
    with pytest.raises(DownloadMismatch, match="replaced on the server after 300000 bytes"):
        taken.extend(fetch(node, snapshot))


def test_a_file_exchanged_before_the_first_byte_starts_over_and_is_judged_by_its_checksum(
    source: ReplaySource, node: Node, snapshot: ListedSnapshot
) -> None:
    source.faults.cut_after, source.faults.changed_etag = 0, True
    with pytest.raises(DownloadMismatch, match="SHA-256"):
        list(fetch(node, snapshot))
    assert requests_for(source, snapshot) == 3  # cut, 412, the other file


def test_an_encoded_body_is_refused(
    source: ReplaySource, node: Node, snapshot: ListedSnapshot
) -> None:
    source.faults.gzip_label = True
    with pytest.raises(DownloadMismatch, match="gzip"):
        next(fetch(node, snapshot))


def test_storage_without_ranges_is_read_but_not_resumed(
    source: ReplaySource, node: Node, snapshot: ListedSnapshot
) -> None:
    source.faults.no_range = True
    assert len(b"".join(fetch(node, snapshot))) == snapshot.size_bytes
    source.faults.cut_after = 300_000
    with pytest.raises(DownloadInterrupted, match="300000 of 1449472"):
        list(fetch(node, snapshot))


def test_a_stream_of_unknown_length_that_ends_early_is_a_mismatch(
    source: ReplaySource, node: Node, snapshot: ListedSnapshot
) -> None:
    """A clean end and a 200 prove nothing: a proxy or S3 mode can end a body early."""
    source.faults.no_range = True
    source.collections["movies"].snapshots[snapshot.name].data = b"short"
    with pytest.raises(DownloadMismatch, match="5 bytes came"):
        list(fetch(node, snapshot))


def test_a_stream_that_brings_more_is_stopped(
    source: ReplaySource, node: Node, snapshot: ListedSnapshot
) -> None:
    source.faults.no_range = True
    source.collections["movies"].snapshots[snapshot.name].data = bytes(snapshot.size_bytes + 9)
    with pytest.raises(DownloadMismatch, match="longer than announced"):
        list(fetch(node, snapshot))


def test_files_and_collections_that_are_gone(
    source: ReplaySource, node: Node, snapshot: ListedSnapshot
) -> None:
    del source.collections["movies"].snapshots[snapshot.name]
    with pytest.raises(ServerFailed, match="not found"):
        list(fetch(node, snapshot))
    source.vanish("movies")
    with pytest.raises(CollectionVanished):
        list(fetch(node, snapshot))
    source.faults.deny = 401
    with pytest.raises(AccessDenied):
        list(fetch(node, snapshot))


def test_a_node_that_comes_back_is_continued_with(
    source: ReplaySource, node: Node, snapshot: ListedSnapshot
) -> None:
    source.faults.cut_after = 70_000
    stream = fetch(node, snapshot)
    first = next(stream)
    source.faults.deny = 503
    threading.Timer(0.02, lambda: setattr(source.faults, "deny", None)).start()
    whole = first + b"".join(stream)
    assert hashlib.sha256(whole).hexdigest() == snapshot.checksum


def test_a_node_that_dies_for_good() -> None:
    with ReplaySource(["basic"]) as source, Node(source.url) as node:
        made = create_snapshot(node, "movies")
        source.faults.cut_after = 70_000
        stream = fetch(node, made)
        next(stream)
        source.die()
        with pytest.raises(DownloadInterrupted, match="70000 of 1449472"):
            list(stream)


def test_stop_ends_it_between_two_blocks(
    source: ReplaySource, node: Node, snapshot: ListedSnapshot
) -> None:
    stop = threading.Event()
    source.faults.cut_after, source.faults.cut_always = 70_000, True
    stream = download(node, "movies", snapshot, stop=stop, backoff_seconds=60)
    next(stream)
    stop.set()
    with pytest.raises(Interrupted):
        next(stream)


def test_memory_is_flat(source: ReplaySource, node: Node) -> None:
    stored = source.add_snapshot("movies", "big.snapshot", bytes(48 * 2**20))
    big = ListedSnapshot(name=stored.name, size_bytes=stored.size, checksum=stored.checksum)
    total, peaks = 0, []
    tracemalloc.start()
    try:
        for block in download(node, "movies", big):
            total += len(block)
            peaks.append(tracemalloc.get_traced_memory()[1])
    finally:
        tracemalloc.stop()
    assert total == big.size_bytes
    assert peaks[-1] < 16 * 2**20
