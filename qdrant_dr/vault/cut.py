"""Cut a stream into blocks that come again tomorrow: at the members of a tar, and of tars in it.

What is in a file decides where it is cut, never how the stream was buffered: each member begins a
block, sparse files are cut at their logical offsets, and what is no tar, or stops being one, is cut
every 64 KiB. Headers, padding and what is small are literals: a recipe holds them. All pieces
together are the stream, whatever it is.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterable, Iterator, Sequence
from typing import NamedTuple

from qdrant_dr.vault.box import BLOCK

SMALL = 4 * 1024
"""Fewer bytes than this are not worth a block of their own."""
LITERALS, LITERAL_SHARE, MOST_LITERALS = 2**20, 64, 24 * 2**20
"""A recipe stays small: it holds so many literal bytes, and one in so many of the stream more, up
to the most."""

_HEADER = 512
_DEEPEST = 8
_MOST_EXTENTS = 2**17
_DATALESS = b"123456"  # links, devices, folders, pipes: whatever size they claim

Extent = tuple[int, int]
Steps = Generator[int, None, None]
"""Yields how many bytes it must have before it goes on, unless the stream ends before."""


class Piece(NamedTuple):
    """The next bytes of a stream: a block, or literal."""

    data: bytes
    is_block: bool


def cut(stream: Iterable[bytes]) -> Iterator[Piece]:
    """Cut a whole stream."""
    cutter = Cutter()
    for data in stream:
        yield from cutter.feed(data)
    yield from cutter.finish()


class Cutter:
    """Takes a stream as it comes and gives its pieces in order; holds at most a few blocks."""

    def __init__(self) -> None:
        self._held: deque[memoryview] = deque()
        self._size = self._at = self._literals = 0
        self._ended = False
        self._small = bytearray()
        self._pieces: list[Piece] = []
        self._steps = self._stream()
        self._wanted = 0

    def feed(self, data: bytes) -> list[Piece]:
        """Return the pieces that are known now."""
        if data:
            self._held.append(memoryview(data))
            self._size += len(data)
        return self._go()

    def finish(self) -> list[Piece]:
        """Return the rest."""
        self._ended = True
        pieces = self._go()
        self._flush_literals()
        return pieces

    def _go(self) -> list[Piece]:
        self._pieces = []
        while self._ended or self._size >= self._wanted:
            wanted = next(self._steps, None)
            if wanted is None:
                break
            self._wanted = wanted
        return self._pieces

    def _stream(self) -> Steps:
        yield from self._tar(None, 0)

    def _tar(self, end: int | None, depth: int) -> Steps:
        """Cut a tar that ends at `end`, and what follows it up to there."""
        told: int | None = None
        while end is None or self._at + _HEADER <= end:
            if self._size < _HEADER:
                yield _HEADER
            if (header := _read_header(self._peek(_HEADER))) is None:
                break
            kind, size = header
            raw = self._take(_HEADER)
            self._literal(raw)
            extents: Sequence[Extent] = ()
            if kind == b"S":
                extents = _pairs(raw[386:482])
                if raw[482]:
                    extents += yield from self._more_extents(end)
            if kind == b"x" and size <= BLOCK:
                if self._size < size:
                    yield size
                attributes = self._take(_up_to(size, self._at, end))
                told = _pax_size(attributes)
                self._literal(attributes)
            else:
                if kind not in b"xgLK" and told is not None:
                    size, told = told, None
                stop = self._at + (0 if kind in _DATALESS else size)
                yield from self._data(stop if end is None else min(stop, end), extents, depth)
            padding = _up_to(-size % _HEADER, self._at, end)
            if self._size < padding:
                yield padding
            self._literal(self._take(padding))
        yield from self._fixed(end)

    def _data(self, end: int, extents: Sequence[Extent], depth: int) -> Steps:
        """Cut the stored bytes of one member."""
        if extents:
            yield from self._sparse(extents, end)
        elif depth < _DEEPEST and end - self._at >= _HEADER:
            if self._size < _HEADER:
                yield _HEADER
            if _read_header(self._peek(_HEADER)):
                yield from self._tar(end, depth + 1)
        yield from self._fixed(end)

    def _more_extents(self, end: int | None) -> Generator[int, None, list[Extent]]:
        """The rest of a sparse map, as far as it is one."""
        found: list[Extent] = []
        more = True
        while more and len(found) < _MOST_EXTENTS and (end is None or self._at + _HEADER <= end):
            if self._size < _HEADER:
                yield _HEADER
            if len(raw := self._take(_HEADER)) < _HEADER:
                self._literal(raw)
                break
            self._literal(raw)
            found += _pairs(raw[:504])
            more = bool(raw[504])
        return found

    def _sparse(self, extents: Sequence[Extent], end: int) -> Steps:
        """Cut where the file would be cut if its holes were filled."""
        window, gathered = -1, 0
        for offset, length in (*extents, (-BLOCK, 1)):  # the last one only ends the one before
            at, stop = offset, offset + length
            while at < stop:
                here = at // BLOCK
                size = min((here + 1) * BLOCK, stop) - at
                if gathered and (here != window or gathered + size > BLOCK):
                    wanted = _up_to(gathered, self._at, end)
                    if self._size < wanted:
                        yield wanted
                    if not self._emit(self._take(wanted)):
                        return
                    gathered = 0
                window, gathered, at = here, gathered + size, at + size

    def _fixed(self, end: int | None) -> Steps:
        """Cut every 64 KiB."""
        while wanted := _up_to(BLOCK, self._at, end):
            if self._size < wanted:
                yield wanted
            if not self._emit(self._take(wanted)):
                return

    def _emit(self, data: bytes) -> bool:
        """Give a piece of a member; False at the end of the stream."""
        if len(data) < SMALL:
            self._literal(data)
        else:
            self._flush_literals()
            self._pieces.append(Piece(data, is_block=True))
        return bool(data)

    def _literal(self, data: bytes) -> None:
        """Keep literals until a block follows: many small files become blocks together."""
        self._small += data
        while len(self._small) >= BLOCK:
            self._pieces.append(Piece(bytes(self._small[:BLOCK]), is_block=True))
            del self._small[:BLOCK]

    def _flush_literals(self) -> None:
        if not self._small:
            return
        data = bytes(self._small)
        self._small.clear()
        room = min(LITERALS + self._at // LITERAL_SHARE, MOST_LITERALS) - self._literals
        fits = len(data) <= room
        self._literals += len(data) if fits else 0
        self._pieces.append(Piece(data, is_block=not fits))

    def _peek(self, size: int) -> bytes:
        """The next `size` bytes, or as many as there are."""
        head = self._held[0][:size] if self._held else b""
        if len(head) == min(size, self._size):
            return bytes(head)
        whole = memoryview(b"".join(self._held))
        self._held = deque([whole])
        return bytes(whole[:size])

    def _take(self, size: int) -> bytes:
        taken: list[memoryview] = []
        left = min(size, self._size)
        self._size -= left
        self._at += left
        while left:
            head = self._held[0]
            if len(head) <= left:
                taken.append(self._held.popleft())
            else:
                taken.append(head[:left])
                self._held[0] = head[left:]
            left -= len(taken[-1])
        return b"".join(taken)


def _up_to(size: int, at: int, end: int | None) -> int:
    return size if end is None else max(0, min(size, end - at))


def _read_header(raw: bytes) -> tuple[bytes, int] | None:
    """Kind and size of a member; None if this is no header of a tar."""
    if len(raw) < _HEADER or raw[257:262] != b"ustar":
        return None
    size, checksum = _number(raw[124:136]), _number(raw[148:156])
    if size is None or checksum != sum(raw) - sum(raw[148:156]) + 8 * 0x20:
        return None
    return raw[156:157], size


def _number(field: bytes) -> int | None:
    """Octal text, or base-256 where the first bit is set; None for anything else."""
    if field[0] & 0x80:
        value = int.from_bytes(field, "big") - (0x80 << 8 * (len(field) - 1))
        return value if field[0] == 0x80 and value < 2**63 else None
    text = field.strip(b" \0") or b"0"
    return int(text, 8) if not text.strip(b"01234567") else None


def _pairs(table: bytes) -> list[Extent]:
    found: list[Extent] = []
    for at in range(0, len(table) - 23, 24):
        offset, length = _number(table[at : at + 12]), _number(table[at + 12 : at + 24])
        if not offset and not length:
            break
        if offset is None or length is None:
            break
        found.append((offset, length))
    return found


def _pax_size(attributes: bytes) -> int | None:
    """The size that a PAX header gives to the member that follows; None if it gives none."""
    for line in attributes.split(b"\n"):
        name, _, value = line.partition(b" ")[2].partition(b"=")
        if name == b"size" and value.isdigit() and len(value) < 19:
            return int(value)
    return None
