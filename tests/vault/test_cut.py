"""Cutting: whatever a stream is and however it is buffered, its pieces are it, and the same."""

from __future__ import annotations

import io
import os
import random
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from qdrant_dr.vault import cut as cutting
from qdrant_dr.vault.box import BLOCK
from qdrant_dr.vault.cut import SMALL, Cutter, Piece, cut
from tests.support.archives import FIXTURES

THOROUGH = bool(os.environ.get("QDR_THOROUGH"))
ARCHIVES = sorted(FIXTURES.rglob("*.snapshot"))


def buffered(data: bytes, chance: random.Random) -> Iterator[bytes]:
    at = 0
    while at < len(data):
        size = chance.choice((1, 7, 511, 512, 513, BLOCK - 1, BLOCK, 3 * BLOCK, 10**6))
        yield data[at : at + size]
        at += size
        if chance.random() < 0.1:
            yield b""


def checked(data: bytes, seed: int = 0) -> list[Piece]:
    """The pieces, once they are known to be right."""
    pieces = list(cut([data]))
    assert b"".join(p.data for p in pieces) == data
    assert all(0 < len(p.data) <= BLOCK for p in pieces)
    assert list(cut(buffered(data, random.Random(seed)))) == pieces
    return pieces


def blocks_of(data: bytes) -> list[bytes]:
    return [p.data for p in checked(data) if p.is_block]


def member(name: str, data: bytes, kind: bytes = b"0", **header: bytes) -> bytes:
    """One member of a GNU tar, written by hand."""
    info = tarfile.TarInfo(name)
    info.size, info.type = len(data), kind
    raw = bytearray(info.tobuf(tarfile.GNU_FORMAT)[-512:])
    for at, value in ((int(k[1:]), v) for k, v in header.items()):
        raw[at : at + len(value)] = value
    raw[148:156] = b" " * 8
    raw[148:156] = b"%06o\0 " % sum(raw)
    return bytes(raw) + data + bytes(-len(data) % 512)


def octal(number: int) -> bytes:
    return b"%011o\0" % number


def sparse(name: str, extents: list[tuple[int, int]], data: bytes) -> bytes:
    """A sparse file in the old GNU format, with as many extension blocks as it takes."""
    pairs = [octal(a) + octal(n) for a, n in extents]
    head, rest = pairs[:4], pairs[4:]
    made = member(
        name, data, b"S", _386=b"".join(head), _482=bytes([bool(rest)]),
        _483=octal(extents[-1][0] + extents[-1][1]),
    )  # fmt: skip
    more = b""
    while rest:
        some, rest = rest[:21], rest[21:]
        more += b"".join(some).ljust(504, b"\0") + bytes([bool(rest)]) + bytes(7)
    return made[:512] + more + made[512:]


def noise(size: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(size)


END = bytes(1024)


@given(data=st.binary(max_size=3000), seed=st.integers(0, 99))
def test_any_bytes_come_back(data: bytes, seed: int) -> None:
    checked(data, seed)


@st.composite
def tars(draw: st.DrawFn, depth: int = 2) -> bytes:
    """Tars by Python's own writer, perhaps nested, padded, cut or damaged in the middle."""
    out = io.BytesIO()
    form = draw(st.sampled_from([tarfile.GNU_FORMAT, tarfile.PAX_FORMAT, tarfile.USTAR_FORMAT]))
    with tarfile.open(fileobj=out, mode="w", format=form) as tar:
        for number in range(draw(st.integers(0, 4))):
            name = draw(st.sampled_from(["a", "b/c", "x" * 90, "y/" * 30 + "z"])) + str(number)
            if form == tarfile.GNU_FORMAT:
                name = draw(st.sampled_from([name, name * 3]))
            info = tarfile.TarInfo(name)
            info.type = draw(st.sampled_from([tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE]))
            if info.type != tarfile.REGTYPE:
                tar.addfile(info)
                continue
            data = (
                draw(tars(depth=depth - 1))
                if depth and draw(st.booleans())
                else noise(draw(st.sampled_from([0, 1, 512, SMALL, BLOCK, 3 * BLOCK + 5])), number)
            )
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    made = out.getvalue()
    what = draw(st.sampled_from(["whole", "cut", "damaged", "padded", "headless"]))
    if what == "cut":
        return made[: draw(st.integers(0, len(made)))]
    if what == "damaged":
        at = draw(st.integers(0, len(made) - 1))
        return made[:at] + bytes([made[at] ^ 0x5A]) + made[at + 1 :]
    if what == "padded":
        return made + draw(st.sampled_from([bytes(9999), noise(BLOCK + 3), made]))
    return made[draw(st.sampled_from([0, 3])) :] if what == "headless" else made


@given(data=tars(), seed=st.integers(0, 99))
@settings(
    max_examples=2000 if THOROUGH else 60,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
def test_any_tar_comes_back(data: bytes, seed: int) -> None:
    checked(data, seed)


@given(
    holes=st.lists(
        st.tuples(st.integers(0, 3 * BLOCK), st.integers(1, 2 * BLOCK)), min_size=1, max_size=40
    ),
    lie=st.integers(-600, 600),
)
@settings(max_examples=1000 if THOROUGH else 40, deadline=None)
def test_any_sparse_file_comes_back_even_if_its_map_lies(
    holes: list[tuple[int, int]], lie: int
) -> None:
    extents, at = [], 0
    for hole, length in holes:
        extents.append((at + hole, length))
        at += hole + length
    stored = max(1, sum(n for _, n in extents) + lie)
    checked(sparse("s", extents, noise(stored)) + member("after", noise(BLOCK, 2)) + END)


def test_a_file_begins_a_block_wherever_it_stands() -> None:
    big = noise(2 * BLOCK + 100)
    tail = [big[:BLOCK], big[BLOCK : 2 * BLOCK]]  # 100 bytes are not worth a block
    assert blocks_of(member("big", big) + END) == tail
    assert blocks_of(member("small", b"x" * 99) + member("big", big) + END) == tail
    assert blocks_of(member("a", noise(SMALL, 5)) + member("big", big) + END) == [
        noise(SMALL, 5), *tail,
    ]  # fmt: skip


def test_tars_in_tars_are_opened() -> None:
    inner = member("segment/vectors", noise(BLOCK)) + END
    outer = member("shard.tar", member("segment.tar", inner) + END) + END
    assert blocks_of(outer) == [noise(BLOCK)]


def test_a_hole_that_grows_moves_no_cut() -> None:
    file = noise(6 * BLOCK)

    def stored(extents: list[tuple[int, int]]) -> bytes:
        return sparse("s", extents, b"".join(file[a : a + n] for a, n in extents))

    whole = blocks_of(stored([(0, 6 * BLOCK)]) + END)
    holed = blocks_of(stored([(0, BLOCK // 2), (2 * BLOCK, 4 * BLOCK)]) + END)
    assert len(whole) == 6
    assert holed == [file[: BLOCK // 2], *whole[2:]]
    # both ends of a hole in one block: what is stored of it is one block
    both = blocks_of(stored([(0, 2 * BLOCK - 9000), (2 * BLOCK - 8000, 3 * BLOCK)]) + END)
    assert both[:2] == [
        whole[0],
        file[BLOCK : 2 * BLOCK - 9000] + file[2 * BLOCK - 8000 : 2 * BLOCK],
    ]


def test_a_size_beyond_octal_is_read_from_pax() -> None:
    big = noise(BLOCK + 4096)
    attributes = b"".join((b"17 path=whatever\n", b"%d size=%d\n" % (15, len(big))))
    tar = member("pax", attributes, b"x") + member("big", big, _124=octal(0)) + END
    assert blocks_of(tar) == [big[:BLOCK], big[BLOCK:]]


def test_what_stops_being_a_tar_is_cut_every_64_kib() -> None:
    data = noise(5 * BLOCK + 17)
    assert [len(b) for b in blocks_of(data)] == [BLOCK] * 5
    broken = member("a", noise(BLOCK, 3)) + data
    assert [len(b) for b in blocks_of(broken)] == [BLOCK] * 6


def test_many_small_files_become_blocks_and_a_recipe_stays_small() -> None:
    many = b"".join(member(f"f{n}", noise(3000, n)) for n in range(600)) + END
    literals = sum(len(p.data) for p in checked(many) if not p.is_block)
    assert literals < BLOCK
    alternating = b"".join(member(f"f{n}", noise((3000, SMALL)[n % 2], n)) for n in range(1200))
    pieces = checked(alternating + END)
    literals = sum(len(p.data) for p in pieces if not p.is_block)
    assert literals <= cutting.LITERALS + len(alternating) // cutting.LITERAL_SHARE


def test_only_a_few_blocks_are_held() -> None:
    cutter, given, taken = Cutter(), 0, 0
    stream = member("a", noise(40 * BLOCK)) + END
    for at in range(0, len(stream), 1000):
        data = stream[at : at + 1000]
        given += len(data)
        taken += sum(len(p.data) for p in cutter.feed(data))
        assert given - taken < 3 * BLOCK


HOSTILE: dict[str, Callable[[], bytes]] = {
    "a size of 2^62": lambda: member("a", b"x", _124=b"\x80" + (2**62).to_bytes(11, "big")),
    "a negative size": lambda: member("a", b"x", _124=b"\xff" * 12),
    "no number": lambda: member("a", b"x", _124=b"9" * 11 + b"\0"),
    "a map that never ends": lambda: (
        sparse("s", [(0, 1)] * 25, b"x")[:512] + (bytes([0x31]) * 504 + b"\1" + bytes(7)) * 50
    ),
    "an extent of 2^62": lambda: sparse("s", [(0, 10)], noise(3 * BLOCK)).replace(
        octal(10), b"\x80" + (2**62).to_bytes(11, "big")
    ),
    "ten tars in each other": lambda: _nested(10),
}


def _nested(depth: int) -> bytes:
    return member("t", _nested(depth - 1) if depth else noise(2 * BLOCK)) + END


@pytest.mark.parametrize("what", HOSTILE)
def test_a_hostile_header_changes_no_byte(what: str) -> None:
    checked(HOSTILE[what]() + noise(BLOCK))


@pytest.mark.parametrize("path", ARCHIVES, ids=lambda p: f"{p.parent.name}-{p.stem}")
def test_a_real_archive_comes_back(path: Path) -> None:
    pieces = checked(path.read_bytes())
    literals = sum(len(p.data) for p in pieces if not p.is_block)
    assert literals < cutting.LITERALS


def test_a_day_later_few_blocks_are_new() -> None:
    first, second = ((FIXTURES / f"series/day-{n}.snapshot").read_bytes() for n in (1, 2))
    new = set(blocks_of(second)) - set(blocks_of(first))
    assert sum(map(len, new)) < len(second) // 8
