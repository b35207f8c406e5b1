"""Boxes: what goes in comes out, and nothing that was touched, moved or cut is believed."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qdrant_dr.errors import BlockMissing, BoxDamaged, DRError, KeyMissing, RecordUnknown
from qdrant_dr.vault import box
from qdrant_dr.vault.box import (
    BLOCK,
    EMPTY,
    FOOTER,
    MAGIC,
    RAW,
    TAG,
    ZSTD,
    Block,
    NeedsMore,
    build_box,
    check_box,
    make_block,
    open_block,
    open_bytes,
    read_table,
    seal_bytes,
)
from qdrant_dr.vault.compress import compress, decompress
from qdrant_dr.vault.master_key import Keyring, MasterKey

GOLDEN = Path(__file__).parent / "golden"
GOLDEN_SHA256 = {
    "clear": "0e993091c560fc9f96786a513242e789fcec570fdbd1949e45ded82800a39c47",
    "encrypted": "24124c2a8377163a480db0131207940c1b8680dc32a31cf3873c0229d9706ac0",
}
KEYS = Keyring(MasterKey(bytes(range(32))))
OTHER = Keyring(MasterKey(bytes(32)))
PATH = "packs/c/movies-0123abcd/20261130T180000Z-abcdef-1.pack"
EITHER = pytest.mark.parametrize("keys", [None, KEYS], ids=["clear", "encrypted"])
PLAIN = st.binary(max_size=300) | st.builds(
    lambda b, n: b * n, st.binary(min_size=1, max_size=9), st.integers(1, 30_000)
)


def resealed(body: bytes) -> bytes:
    """A box whose own digest fits, whatever was done to it."""
    return body[:-32] + hashlib.sha256(body[:-32]).digest()


def blocks_of(data: bytes, keys: Keyring | None) -> list[bytes]:
    """What a reader of ranges gets, who never sees the whole box."""
    table = read_table(PATH, data, len(data), keys)
    return [
        open_block(PATH, table, i, data[e.offset : e.offset + e.stored], keys)
        for i, e in enumerate(table.entries)
        if e.size
    ]


def flips(data: bytes, places: range) -> list[bytes]:
    found = []
    for at in places:
        for bit in range(8):
            touched = bytearray(data)
            touched[at] ^= 1 << bit
            found.append(bytes(touched))
    return found


@EITHER
@given(data=PLAIN)
def test_what_is_put_into_a_box_comes_out(keys: Keyring | None, data: bytes) -> None:
    stored = seal_bytes(PATH, data, keys)
    assert open_bytes(PATH, stored, keys) == data
    assert check_box(PATH, [stored]) == stored[-32:]
    if keys:
        assert len(stored) % box.SMALL_PADDING == 0


@EITHER
@given(plain=st.lists(st.binary(min_size=1, max_size=200), max_size=9), empty=st.booleans())
def test_blocks_are_read_from_the_tail_and_their_own_range(
    keys: Keyring | None, plain: list[bytes], empty: bool
) -> None:
    blocks = [make_block(p) for p in plain]
    if empty:
        blocks.insert(len(blocks) // 2, EMPTY)
    data = build_box(PATH, blocks, keys, padding=1024)
    with pytest.raises(NeedsMore) as few:
        read_table(PATH, data[1 - FOOTER :], len(data), keys)
    assert few.value.size == FOOTER
    if blocks:
        with pytest.raises(NeedsMore) as more:
            read_table(PATH, data[-FOOTER:], len(data), keys)
        assert more.value.size == FOOTER + 41 * len(blocks) + (TAG if keys else 0)
        table = read_table(PATH, data[-more.value.size :], len(data), keys)
        assert np.array_equal(table.rows, read_table(PATH, data, len(data), keys).rows)
        assert [bytes(d) for d in table.digests] == [b.sha256 for b in blocks]
    assert blocks_of(data, keys) == plain


@EITHER
def test_every_single_bit_flip_of_a_small_box_is_refused(keys: Keyring | None) -> None:
    stored = seal_bytes(PATH, b"a small seal", keys)
    places = [range(len(stored))] if len(stored) < 400 else [range(200), range(3800, 4096)]
    for touched in (t for place in places for t in flips(stored, place)):
        with pytest.raises(BoxDamaged):
            open_bytes(PATH, touched, keys)
        with pytest.raises(BoxDamaged):
            check_box(PATH, [touched])


def test_a_flip_in_blocks_table_or_footer_never_passes_a_reader_of_ranges() -> None:
    data = build_box(PATH, [make_block(b"x" * 50), make_block(b"yz" * 40)], KEYS, padding=64)
    blocks_end = int(read_table(PATH, data, len(data), KEYS).offsets[-1])
    table = len(data) - FOOTER - 41 * 2 - TAG
    said: Counter[str] = Counter()
    for place in (range(len(MAGIC), blocks_end), range(table, len(data) - 32)):
        for touched in flips(data, place):
            with pytest.raises(DRError) as refused:
                blocks_of(touched, KEYS)
            said[refused.type.__name__] += 1
    # a flipped id of a key is another key, and a flipped digit of the format another format
    assert said["KeyMissing"] <= 64
    assert said["RecordUnknown"] <= 8
    assert set(said) == {"BoxDamaged", "KeyMissing", "RecordUnknown"}


@EITHER
@given(cut=st.integers(1, 200))
def test_a_cut_box_is_refused(keys: Keyring | None, cut: int) -> None:
    stored = seal_bytes(PATH, b"seal" * 9, keys)
    for left in (stored[:-cut], stored[cut:]):
        with pytest.raises(BoxDamaged):
            open_bytes(PATH, left, keys)


def test_a_box_under_another_name_or_of_another_key_is_refused() -> None:
    stored = seal_bytes(PATH, b"a seal", KEYS)
    with pytest.raises(BoxDamaged, match="another name"):
        open_bytes(PATH.replace("-1.pack", "-2.pack"), stored, KEYS)
    other = OTHER.newest
    for keys in (Keyring(other), None):
        with pytest.raises(KeyMissing, match=KEYS.ids[0]):
            open_bytes(PATH, stored, keys)
    both = Keyring(other, [KEYS.newest])
    assert open_bytes(PATH, stored, both) == b"a seal"
    assert open_bytes(PATH, seal_bytes(PATH, b"newer", both), Keyring(other)) == b"newer"


def test_a_block_that_was_moved_is_refused() -> None:
    data = build_box(PATH, [make_block(bytes([i]) * 70) for i in (1, 2)], KEYS)
    entries = read_table(PATH, data, len(data), KEYS).entries
    one, two = (data[e.offset : e.offset + e.stored] for e in entries)
    assert len(one) == len(two)
    swapped = resealed(MAGIC + two + one + data[entries[1].offset + len(two) :])
    check_box(PATH, [swapped])
    with pytest.raises(BoxDamaged, match="block 0 was changed, moved"):
        blocks_of(swapped, KEYS)


def test_a_box_in_clear_is_not_believed_where_all_is_encrypted() -> None:
    with pytest.raises(BoxDamaged, match="is not encrypted"):
        open_bytes(PATH, seal_bytes(PATH, b"planted", None), KEYS)


def test_no_two_encrypted_boxes_are_alike_and_clear_ones_are() -> None:
    assert seal_bytes(PATH, b"x", KEYS) != seal_bytes(PATH, b"x", KEYS)
    assert seal_bytes(PATH, b"x", None) == seal_bytes(PATH, b"x", None)
    assert b"secret text" not in seal_bytes(PATH, b"secret text", KEYS)


@pytest.mark.parametrize(
    ("field", "value", "why"),
    [
        ("size", BLOCK + 1, "row 0"),
        ("size", 0, "row 0"),
        ("method", 7, "row 0"),
        ("stored", 2**32 - 1, "row 0"),
        ("stored", 0, "row 0"),
        ("stored", 1, "do not end where"),
        ("stored", 999, "do not end where"),
    ],
)
def test_a_table_that_lies_is_refused(field: str, value: int, why: str) -> None:
    data = build_box(PATH, [make_block(b"a" * 1000), make_block(b"b" * 1000)], None)
    start = len(data) - FOOTER - 2 * 41
    rows = np.frombuffer(data[start:-FOOTER], box._ROW).copy()
    rows[field][0] = value
    lied = resealed(data[:start] + rows.tobytes() + data[-FOOTER:])
    check_box(PATH, [lied])
    with pytest.raises(BoxDamaged, match=why):
        open_bytes(PATH, lied, None)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        (3, 0),
        (3, 40),
        (3, 2**32 - 1),
        (4, 0),
        (4, 3),
        (4, 2**32 - 1),
        (2, b"\1" * 32),
        (0, b"x" * 8),
    ],
)
def test_a_footer_that_lies_is_refused(field: int, value: Any) -> None:
    data = build_box(PATH, [make_block(b"a" * 1000)], None)
    parts = list(box._FOOTER.unpack(data[-FOOTER:]))
    parts[field] = value
    with pytest.raises(BoxDamaged):
        open_bytes(PATH, resealed(data[:-FOOTER] + box._FOOTER.pack(*parts)), None)


def test_a_later_format_is_named() -> None:
    data = seal_bytes(PATH, b"x", None).replace(MAGIC, b"QDRBOX2\n")
    with pytest.raises(RecordUnknown, match="format 2"):
        open_bytes(PATH, resealed(data), None)


def test_a_bomb_is_decoded_to_no_more_than_it_claims() -> None:
    bomb = compress(bytes(16 * 2**20))
    with pytest.raises(ValueError, match="no frame of 1000 bytes"):
        decompress(bomb, 1000)
    block = Block(hashlib.sha256(bytes(60_000)).digest(), 60_000, ZSTD, bomb)
    with pytest.raises(BoxDamaged, match="block 0 cannot be decoded"):
        open_bytes(PATH, build_box(PATH, [block], KEYS), KEYS)
    for wrong in (compress(b"one") + compress(b"two"), compress(b"one")[:-1], b"none", b""):
        with pytest.raises(ValueError, match=r".+"):
            decompress(wrong, 3)


def test_blocks_that_claim_too_much_together_are_refused() -> None:
    one = make_block(bytes(BLOCK))
    with pytest.raises(BoxDamaged, match="at most"):
        open_bytes(PATH, build_box(PATH, [one] * 1025, None), None)
    with pytest.raises(ValueError, match="at most 65536 blocks"):
        build_box(PATH, [one] * (box.MOST_BLOCKS + 1), None)


def test_a_block_that_is_not_there_is_named() -> None:
    data = build_box(PATH, [make_block(b"x"), EMPTY], KEYS)
    table = read_table(PATH, data, len(data), KEYS)
    with pytest.raises(BlockMissing, match="block 1 was left empty"):
        open_block(PATH, table, 1, b"", KEYS)
    for number in (2, -1):
        with pytest.raises(BlockMissing, match="has 2 blocks"):
            open_block(PATH, table, number, b"", KEYS)
    with pytest.raises(BoxDamaged, match="17 bytes, 3 were read"):
        open_block(PATH, table, 0, b"abc", KEYS)


@pytest.mark.parametrize("size", [0, BLOCK + 1])
def test_a_block_has_one_byte_to_64_kibibytes(size: int) -> None:
    with pytest.raises(ValueError, match="a block has 1 to"):
        make_block(bytes(size))


@pytest.mark.parametrize("garble", [lambda d: compress(d[:-1] + b"?"), lambda _: b"no frame"])
def test_a_block_that_its_compressor_garbles_is_stored_as_it_is(
    monkeypatch: pytest.MonkeyPatch, garble: Callable[[bytes], bytes]
) -> None:
    monkeypatch.setattr(box, "compress", garble)
    made = make_block(b"a" * 1000)
    assert (made.method, made.stored) == (RAW, b"a" * 1000)


@EITHER
@given(pieces=st.lists(st.integers(0, 90), max_size=30))
def test_rot_is_seen_however_the_bytes_come(keys: Keyring | None, pieces: list[int]) -> None:
    stored = seal_bytes(PATH, b"seal", keys)
    cut, at = [], 0
    for size in pieces:
        cut.append(stored[at : at + size])
        at += size
    assert check_box(PATH, [*cut, stored[at:]]) == stored[-32:]
    with pytest.raises(BoxDamaged):
        check_box(PATH, [*cut, stored[at:] + b"x"])


@pytest.mark.parametrize("size", [1, 65_000, 65_380, 65_536])
def test_packs_are_padded_and_padding_looks_like_a_block(size: int) -> None:
    block = Block(hashlib.sha256(bytes(size)).digest(), size, RAW, bytes(size))
    data = build_box(PATH, [block], KEYS)
    assert len(data) % box.PACK_PADDING == 0
    assert bytes(24) not in data
    assert blocks_of(data, KEYS) == [bytes(size)]
    assert len(build_box(PATH, [block], None)) == len(MAGIC) + size + 41 + FOOTER


def test_blocks_are_opened_by_several_threads_at_once() -> None:
    plain = [bytes([i]) * 5000 for i in range(32)]
    data = build_box(PATH, [make_block(p) for p in plain], KEYS)
    with ThreadPoolExecutor(8) as pool:
        assert all(f == plain for f in pool.map(lambda _: blocks_of(data, KEYS), range(20)))


@pytest.mark.parametrize("name", ["clear", "encrypted"])
def test_a_box_of_format_1_is_read_for_ever(name: str) -> None:
    stored = (GOLDEN / f"{name}.box").read_bytes()
    assert hashlib.sha256(stored).hexdigest() == GOLDEN_SHA256[name]
    keys = KEYS if name == "encrypted" else None
    assert open_bytes(PATH, stored, keys) == b"0123456789" * 30


@pytest.mark.parametrize("name", ["clear", "encrypted"])
def test_the_same_salt_gives_the_golden_box(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(box.secrets, "token_bytes", lambda n: bytes(range(100, 100 + n)))
    data = b"0123456789" * 30
    raw = Block(hashlib.sha256(data).digest(), len(data), RAW, data)
    made = build_box(PATH, [raw], KEYS if name == "encrypted" else None, padding=box.SMALL_PADDING)
    assert made == (GOLDEN / f"{name}.box").read_bytes()
