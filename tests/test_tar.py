"""The tar reader: what Qdrant writes comes out whole, everything else is refused."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from io import BytesIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qdrant_dr.errors import (
    ArchiveError,
    ArchiveHostile,
    ArchiveInvalid,
    ArchiveTooLarge,
    ArchiveTruncated,
)
from qdrant_dr.tar import BlockReader, members
from tests.support.archives import END, RawMember, archive, header, put_together, tar


def read(data: bytes, block: int = 4096, **options: bool) -> dict[str, bytes]:
    pieces = (data[at : at + block] for at in range(0, len(data), block))
    found = members(BlockReader(pieces), max_members=1000, **options)
    return {m.name: b"".join(m.chunks()) for m in found}


@pytest.mark.parametrize("block", [1, 511, 512, 100_000])
def test_reads_what_pythons_tarfile_reads(block: int) -> None:
    data = archive("single/collection")
    with tarfile.open(fileobj=BytesIO(data)) as other:
        plain = {m.name: m for m in other if not m.issparse()}
        expected = {name: other.extractfile(m).read() for name, m in plain.items()}  # type: ignore[union-attr]
    found = read(data, block)
    assert expected
    assert {name: found[name] for name in expected} == expected


def test_sparse_member_with_extension_blocks() -> None:
    runs = [(n * 4096, 512) for n in range(50)]
    data = bytes(range(256)) * 100
    head = header("sparse", len(data), b"S", runs=runs, apparent=1 << 40)
    (member,) = members(BlockReader([RawMember(head, data).to_bytes() + END]), max_members=9)
    assert (member.size, member.stored, member.runs) == (1 << 40, len(data), tuple(runs))


def test_sparse_sizes_agree_with_pythons_tarfile() -> None:
    data = archive("basic/stream-0")
    with tarfile.open(fileobj=BytesIO(data)) as other:
        sizes = {m.name: m.size for m in other if m.issparse()}
    found = {m.name: m.size for m in members(BlockReader([data]), max_members=1000)}
    assert sizes
    assert {name: found[name] for name in sizes} == sizes


def test_long_name() -> None:
    name = "segments/" + "x" * 200
    long = RawMember(header("././@LongLink", len(name) + 1, b"L"), name.encode() + b"\0")
    data = put_together([long, RawMember(header("segments/xxx", 2), b"ok")])
    assert read(data) == {name: b"ok"}


@pytest.mark.parametrize(
    "name", ["/etc/passwd", "../up", "a/../../b", "a\\b", "", "./a", "a//b", b"\xff\xfe", "x" * 256]
)
def test_hostile_names(name: str | bytes) -> None:
    if len(name) > 100:
        assert isinstance(name, str)
        raw = name.encode() + b"\0"
        data = put_together(
            [RawMember(header("@", len(raw), b"L"), raw), RawMember(header("x"), b"")]
        )
    else:
        data = tar((name, b"data"))
    with pytest.raises(ArchiveHostile):
        read(data)


def test_nul_inside_a_long_name() -> None:
    raw = b"a\0b\0"
    data = put_together([RawMember(header("@", 4, b"L"), raw), RawMember(header("x"), b"")])
    with pytest.raises(ArchiveHostile):
        read(data)


@pytest.mark.parametrize("kind", [b"1", b"2", b"3", b"4", b"6", b"7", b"x", b"g", b"K", b"V"])
def test_hostile_types(kind: bytes) -> None:
    with pytest.raises(ArchiveHostile, match="of type"):
        read(header("a", 0, kind) + END)


@pytest.mark.parametrize("names", [("a", "a"), ("a", "a/b")])
def test_a_name_twice(names: tuple[str, str]) -> None:
    with pytest.raises(ArchiveHostile, match="twice"):
        read(tar(*((n, b"") for n in names)))


@pytest.mark.parametrize(
    ("runs", "apparent", "stored"),
    [
        ([(0, 512), (256, 512)], 4096, 1024),  # overlap
        ([(1024, 512), (0, 512)], 4096, 1024),  # backwards
        ([(4096, 512)], 4096, 512),  # beyond the end
        ([(0, 512)], 4096, 1024),  # less than is stored
        ([(0, 1 << 62)], 1 << 62, 512),  # more than is stored
    ],
)
def test_sparse_maps_that_lie(runs: list[tuple[int, int]], apparent: int, stored: int) -> None:
    head = header("sparse", stored, b"S", runs=runs, apparent=apparent)
    with pytest.raises(ArchiveInvalid, match="sparse map"):
        read(head + bytes(stored) + END)


def test_a_sparse_map_without_end() -> None:
    def blocks() -> Iterator[bytes]:
        head = bytearray(header("sparse", 0, b"S", runs=[(0, 0)] * 5))
        yield bytes(head[:512])
        while True:
            yield header("", 0, b"S", runs=[(0, 0)] * 26)[512:1024]

    with pytest.raises(ArchiveError):
        list(members(BlockReader(blocks()), max_members=9))


def test_too_many_members() -> None:
    with pytest.raises(ArchiveTooLarge):
        list(members(BlockReader([tar(*((str(n), b"") for n in range(10)))]), max_members=9))


@pytest.mark.parametrize(
    ("end", "error"),
    [
        (b"", ArchiveTruncated),
        (bytes(512), ArchiveTruncated),
        (bytes(1023), ArchiveTruncated),
        (bytes(512) + b"x" * 512, ArchiveInvalid),
        (END + b"x", ArchiveInvalid),
        (END + bytes(20 * 512) + b"x", ArchiveInvalid),
        (END + bytes(1 << 20), ArchiveInvalid),
    ],
)
def test_invalid_tar_ends_are_refused(end: bytes, error: type[ArchiveError]) -> None:
    with pytest.raises(error):
        read(tar(("a", b"data"), end=end))


def test_a_filled_last_record_is_an_end() -> None:
    assert read(tar(("a", b"data"), end=bytes(10240))) == {"a": b"data"}


def test_only_a_nested_tar_may_stop_behind_a_member() -> None:
    data = tar(("a", b"data"), end=b"")
    assert read(data, nested=True) == {"a": b"data"}
    for cut in (1, 511, 512, 513, len(data) - 1):
        with pytest.raises(ArchiveTruncated):
            read(data[:cut], nested=True)


@given(st.data())
def test_no_cut_passes(data: st.DataObject) -> None:
    whole = archive("single/collection")
    cut = data.draw(st.integers(0, len(whole) - 1))
    with pytest.raises(ArchiveTruncated):
        read(whole[:cut])


@given(st.binary(max_size=3000))
def test_noise_is_refused_and_never_crashes(noise: bytes) -> None:
    with pytest.raises(ArchiveError):
        read(noise)


@given(at=st.integers(0, 511), bit=st.integers(0, 7))
def test_no_flipped_bit_of_a_header_passes(at: int, bit: int) -> None:
    data = bytearray(tar(("a/b", b"data" * 200)))
    data[at] ^= 1 << bit
    with pytest.raises(ArchiveError):
        read(bytes(data))
