"""Whoever reads a part gets the bytes of its manifest, or never gets the last of them."""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256
from itertools import repeat

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qdrant_dr.errors import BytesDiffer, ObjectMissing
from qdrant_dr.records import Part
from qdrant_dr.verified_read import VerifiedRead
from tests.support.records import manifest

PIECES = st.lists(st.binary(min_size=1, max_size=40), max_size=8)


def part_of(data: bytes) -> Part:
    (first,) = manifest().parts
    return first.model_copy(
        update={"size_bytes": len(data), "sha256": sha256(data).hexdigest(), "blocks": ()}
    )


def taken(read: VerifiedRead) -> tuple[bytes, BytesDiffer | None]:
    """What was given, and what was said behind it."""
    got: list[bytes] = []
    try:
        got.extend(read)
    except BytesDiffer as e:
        return b"".join(got), e
    return b"".join(got), None


@given(pieces=PIECES, instead=PIECES)
def test_all_bytes_or_never_the_last(pieces: list[bytes], instead: list[bytes]) -> None:
    wanted, there = b"".join(pieces), b"".join(instead)
    read = VerifiedRead(iter(instead), part_of(wanted), "it has")
    got, error = taken(read)
    if there == wanted:
        assert (got, error, read.whole, read.fault) == (wanted, None, True, None)
        assert read.size_bytes == len(wanted)
    else:
        assert error is not None
        assert error is read.fault
        assert not read.whole
        assert error.message.startswith(f"it has {read.size_bytes} bytes, SHA-256 ")
        assert there.startswith(got)
        assert not got or len(got) < len(there), "the last block is held back"


@given(pieces=st.lists(st.binary(min_size=1, max_size=40), min_size=1, max_size=8))
def test_it_is_whole_with_the_last_block_and_not_before(pieces: list[bytes]) -> None:
    read = VerifiedRead(iter(pieces), part_of(b"".join(pieces)), "it has")
    told = [read.whole for _ in read]
    assert told == [False] * (len(pieces) - 1) + [True]


@given(data=st.binary(min_size=1, max_size=200), at=st.integers(min_value=0))
def test_one_flipped_bit_is_seen(data: bytes, at: int) -> None:
    bad = bytearray(data)
    bad[at % len(data)] ^= 1 << (at % 8)
    _, error = taken(VerifiedRead([bytes(bad)], part_of(data), "it has"))
    assert error is not None


def test_a_stream_without_an_end_is_cut_off() -> None:
    read = VerifiedRead(repeat(b"x" * 10), part_of(b"x" * 25), "it has")
    _, error = taken(read)
    assert error is not None
    assert read.size_bytes == 30


def test_what_reading_raises_is_kept_as_the_fault_of_the_source() -> None:
    gone = ObjectMissing("gone")

    def broken() -> Iterator[bytes]:
        yield b"first"
        raise gone

    read = VerifiedRead(broken(), part_of(b"first and second"), "it has")
    with pytest.raises(ObjectMissing):
        list(read)
    assert read.fault is gone
    assert not read.whole
