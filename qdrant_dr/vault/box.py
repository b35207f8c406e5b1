"""Boxes: the byte layout of packs, recipes and seals, in clear or encrypted.

    "QDRBOX1\\n"
    block 0 .. n-1     a zstd frame, or the bytes as they are; encrypted: + 16 bytes of tag
    padding            encrypted only: zeros, encrypted as block n, up to whole 4 or 64 KiB
    table              n x (stored u32, size u32, method u8, SHA-256), 41 bytes each; encrypted as
                       a block is, + 16 bytes of tag
    "QDRBOX1\\n", key id (8; zeros: clear), salt (32; clear: zeros),
    size of the table u32, n u32, SHA-256 of all before (32)

Integers are big-endian. `stored` counts the tag. Block i is encrypted by AES-256-GCM with the
96-bit nonce i, the table with the nonce 2^64, under HKDF-SHA-256 of the master key with the salt
and the info "qdr box 1", a zero byte, and the path in the repository. So a block that was moved, a
box under another name and one of another key are refused. The last 32 bytes show rot to any host,
without a key. A block that nobody refers to any more may be empty: all of its row is zero.
"""

from __future__ import annotations

import hashlib
import secrets
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from qdrant_dr.errors import BlockMissing, BoxDamaged, KeyMissing, RecordUnknown
from qdrant_dr.records.base import LARGEST
from qdrant_dr.vault.compress import compress, decompress
from qdrant_dr.vault.master_key import CLEAR, Keyring

BLOCK = 64 * 1024
"""Bytes of a block before compression."""
RAW, ZSTD = 0, 1
TAG = 16
MAGIC = b"QDRBOX1\n"
MOST_BLOCKS = 2**16
LARGEST_BOX = 2**27
PACK_PADDING = 64 * 1024
SMALL_PADDING = 4 * 1024

_FOOTER = struct.Struct(">8s8s32sII32s")
FOOTER = _FOOTER.size
_ROW = np.dtype([("stored", ">u4"), ("size", ">u4"), ("method", "u1"), ("sha256", "u1", (32,))])
_TABLE_NONCE = (2**64).to_bytes(12, "big")
_NO_SALT = bytes(32)


def least_box(blocks: int) -> int:
    """Return how many bytes a box of so many blocks has at least, whatever is in them."""
    return len(MAGIC) + blocks * _ROW.itemsize + FOOTER


class NeedsMore(Exception):
    """The table begins before the bytes that were given: so many of the last bytes are needed."""

    def __init__(self, size: int) -> None:
        super().__init__(size)
        self.size = size


@dataclass(frozen=True, slots=True)
class Block:
    """A block, digested and compressed once for every repository."""

    sha256: bytes
    size: int
    method: int
    stored: bytes


EMPTY = Block(bytes(32), 0, RAW, b"")
"""In the place of a block that nobody refers to."""


@dataclass(frozen=True, slots=True)
class Entry:
    """Where a block lies in its box, and what it is. `stored` counts the tag."""

    offset: int
    stored: int
    size: int
    method: int
    sha256: bytes


@dataclass(frozen=True, eq=False)
class Table:
    """What is in a box."""

    rows: np.ndarray
    salt: bytes
    key_id: bytes
    box_sha256: bytes

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, number: int) -> Entry:
        stored, size, method, sha256 = self.rows[number].tolist()
        return Entry(int(self.offsets[number]), stored, size, method, bytes(sha256))

    @cached_property
    def offsets(self) -> np.ndarray:
        """Return where each block begins; one more: where the last one ends."""
        ends = np.cumsum(self.rows["stored"], dtype=np.int64)
        return len(MAGIC) + np.concatenate((np.zeros(1, np.int64), ends))

    @property
    def entries(self) -> tuple[Entry, ...]:
        return tuple(self[i] for i in range(len(self)))

    @property
    def digests(self) -> np.ndarray:
        """Return the SHA-256 of every block, 32 bytes a row."""
        return self.rows["sha256"]


def make_block(data: bytes, sha256: bytes | None = None) -> Block:
    """Digest and compress at most `BLOCK` bytes; what was compressed is decoded again before it is
    believed. What does not become smaller stays as it is. `sha256`: if it is known."""
    if not 0 < len(data) <= BLOCK:
        raise ValueError(f"a block has 1 to {BLOCK} bytes, not {len(data)}")
    sha256 = sha256 or hashlib.sha256(data).digest()
    frame = compress(data)
    if len(frame) >= len(data):
        return Block(sha256, len(data), RAW, bytes(data))
    try:
        believed = decompress(frame, len(data)) == data
    except ValueError:
        believed = False
    return Block(sha256, len(data), *((ZSTD, frame) if believed else (RAW, bytes(data))))


def build_box(
    path: str, blocks: Sequence[Block], keys: Keyring | None, *, padding: int = PACK_PADDING
) -> bytes:
    """Build the box that is to lie at `path`, with a fresh salt: no two are equal if encrypted."""
    if len(blocks) > MOST_BLOCKS:
        raise ValueError(f"a box has at most {MOST_BLOCKS} blocks, not {len(blocks)}")
    key = keys.newest if keys else None
    salt = secrets.token_bytes(32) if key else _NO_SALT
    cipher = key.cipher(path, salt) if key else None
    stored = [_lock(cipher, i, b.stored) if b.size else b"" for i, b in enumerate(blocks)]
    rows = np.zeros(len(blocks), _ROW)
    for row, block, kept in zip(rows, blocks, stored, strict=True):
        row["stored"], row["size"], row["method"] = len(kept), block.size, block.method
        row["sha256"] = np.frombuffer(block.sha256, np.uint8)
    table = rows.tobytes()
    if cipher:
        table = cipher.encrypt(_TABLE_NONCE, table, None)
        size = len(MAGIC) + sum(map(len, stored)) + len(table) + FOOTER
        gap = -size % padding
        gap += padding if 0 < gap < TAG else 0
        stored.append(_lock(cipher, len(blocks), bytes(gap - TAG)) if gap else b"")
    rest = _FOOTER.pack(MAGIC, key.id if key else CLEAR, salt, len(table), len(rows), b"")[:-32]
    pieces = (MAGIC, *stored, table, rest)
    size, digest = sum(map(len, pieces)) + 32, hashlib.sha256()
    if size > LARGEST_BOX:
        raise ValueError(f"a box has at most {LARGEST_BOX} bytes, not {size}")
    for piece in pieces:
        digest.update(piece)
    return b"".join((*pieces, digest.digest()))


def read_table(path: str, tail: bytes, size: int, keys: Keyring | None) -> Table:
    """Read the table of the box at `path`, of `size` bytes, out of its last bytes.

    Raise NeedsMore if those are too few, BoxDamaged, KeyMissing if it needs a key that is not
    there, RecordUnknown for a later format. With keys, nothing in clear is believed.
    """
    if not len(MAGIC) + FOOTER <= size <= LARGEST_BOX:
        raise BoxDamaged(f"{path} has {size} bytes: it is no box")
    if len(tail) < FOOTER:
        raise NeedsMore(FOOTER)
    magic, key_id, salt, table_size, count, box_sha256 = _FOOTER.unpack(tail[-FOOTER:])
    _check_magic(path, magic)
    clear = key_id == CLEAR
    if clear and keys is not None:
        raise BoxDamaged(f"{path} is not encrypted, in a repository where everything must be")
    if not clear and keys is None:
        raise KeyMissing(f"{path} is encrypted with key {key_id.hex()}, and there is no key")
    start = size - FOOTER - table_size
    if (
        count > MOST_BLOCKS
        or table_size != count * _ROW.itemsize + (0 if clear else TAG)
        or start < len(MAGIC)
        or (clear and salt != _NO_SALT)
    ):
        raise BoxDamaged(f"{path}: its end is not that of a box")
    if len(tail) < size - start:
        raise NeedsMore(size - start)
    data = tail[len(tail) - (size - start) : len(tail) - FOOTER]
    if keys is not None:
        data = _unlock(keys.of(key_id, path).cipher(path, salt), _TABLE_NONCE, data, path, "table")
    table = Table(np.frombuffer(data, _ROW), salt, key_id, box_sha256)
    _check_rows(path, table, start)
    return table


def _check_rows(path: str, table: Table, start: int) -> None:
    """Refuse a table that cannot be true. Rows are untrusted where the box is in clear."""
    tag = 0 if table.key_id == CLEAR else TAG
    rows = table.rows
    stored, size, method = rows["stored"].astype(np.int64), rows["size"], rows["method"]
    empty = (size == 0) & (stored == 0) & (method == RAW) & ~rows["sha256"].any(axis=1)
    raw = (method == RAW) & (stored == size.astype(np.int64) + tag)
    zstd = (method == ZSTD) & (stored > tag) & (stored < size.astype(np.int64) + tag)
    true = empty | ((size > 0) & (size <= BLOCK) & (raw | zstd))
    if not true.all():
        raise BoxDamaged(f"{path}: row {int(np.argmin(true))} of its table cannot be true")
    gap = start - int(table.offsets[-1])
    if not (gap == 0 or (tag and TAG <= gap < PACK_PADDING + TAG)):
        raise BoxDamaged(f"{path}: its blocks do not end where its table begins")


def open_block(path: str, table: Table, number: int, stored: bytes, keys: Keyring | None) -> bytes:
    """Return the plain bytes of a block, read from its place in the box at `path`.

    Raise BlockMissing if there is none of that number, BoxDamaged unless it is what the table says.
    """
    if not 0 <= number < len(table):
        raise BlockMissing(f"{path} has {len(table)} blocks, and no block {number}")
    entry = table[number]
    if not entry.size:
        raise BlockMissing(f"{path}: block {number} was left empty")
    if len(stored) != entry.stored:
        raise BoxDamaged(
            f"{path}: block {number} has {entry.stored} bytes, {len(stored)} were read"
        )
    if table.key_id != CLEAR:
        if keys is None:
            raise KeyMissing(f"{path} is encrypted with key {table.key_id.hex()}")
        cipher = keys.of(table.key_id, path).cipher(path, table.salt)
        stored = _unlock(cipher, _nonce(number), stored, path, f"block {number}")
    try:
        data = decompress(stored, entry.size) if entry.method == ZSTD else bytes(stored)
    except ValueError as e:
        raise BoxDamaged(f"{path}: block {number} cannot be decoded: {e}") from None
    if hashlib.sha256(data).digest() != entry.sha256:
        raise BoxDamaged(f"{path}: block {number} has another SHA-256 than its table says")
    return data


def check_box(path: str, data: Iterable[bytes]) -> bytes:
    """Compare all of a box with the SHA-256 at its end, which is returned; this needs no key.

    Raise BoxDamaged.
    """
    digest, held, begin = hashlib.sha256(), b"", b""
    for piece in data:
        begin += piece[: len(MAGIC) - len(begin)]
        held += piece
        digest.update(memoryview(held)[:-32])
        held = held[-32:]
    if len(held) != 32 or digest.digest() != held:
        raise BoxDamaged(f"{path} has not the SHA-256 that it ends with: it is cut or rotten")
    _check_magic(path, begin)
    return held


def note_key(path: str, tail: bytes, keys: Keyring | None) -> None:
    """Tell the keys which one the box at `path` needs, that `check_box` found to be whole."""
    if keys is not None and (key_id := _FOOTER.unpack(tail[-FOOTER:])[1]) != CLEAR:
        keys.found_unknown(key_id, path)


def seal_bytes(path: str, data: bytes, keys: Keyring | None) -> bytes:
    """Build the box of something small that is read as a whole: a recipe, a seal."""
    if len(data) > LARGEST:
        raise ValueError(f"at most {LARGEST} bytes fit, not {len(data)}")
    blocks = [make_block(data[at : at + BLOCK]) for at in range(0, len(data), BLOCK)]
    return build_box(path, blocks, keys, padding=SMALL_PADDING)


def open_bytes(path: str, data: bytes, keys: Keyring | None) -> bytes:
    """Return what `seal_bytes` was given. Raise BoxDamaged, KeyMissing, RecordUnknown."""
    check_box(path, [data])
    try:
        table = read_table(path, data, len(data), keys)
    except KeyMissing:
        note_key(path, data, keys)
        raise
    if (size := int(table.rows["size"].sum(dtype=np.int64))) > LARGEST:
        raise BoxDamaged(f"{path} claims {size} bytes: at most {LARGEST} are read")
    at = table.offsets
    return b"".join(
        open_block(path, table, i, data[at[i] : at[i + 1]], keys) for i in range(len(table))
    )


def _check_magic(path: str, magic: bytes) -> None:
    if magic == MAGIC:
        return
    if magic[:6] == MAGIC[:6] and magic[6:7].isdigit() and magic[7:] == MAGIC[7:]:
        raise RecordUnknown(f"{path} is a box of format {magic[6:7].decode()}")
    raise BoxDamaged(f"{path} is no box")


def _nonce(number: int) -> bytes:
    return number.to_bytes(12, "big")


def _lock(cipher: AESGCM | None, number: int, data: bytes) -> bytes:
    return cipher.encrypt(_nonce(number), data, None) if cipher else data


def _unlock(cipher: AESGCM, nonce: bytes, data: bytes, path: str, what: str) -> bytes:
    try:
        return cipher.decrypt(nonce, data, None)
    except InvalidTag:
        raise BoxDamaged(
            f"{path}: its {what} was changed, moved, or lay under another name"
        ) from None
