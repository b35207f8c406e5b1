"""Bytes of a part on their way, compared with what its manifest says of them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

from qdrant_dr.errors import BytesDiffer, DRError
from qdrant_dr.records import Part


class Tally:
    """Counts and hashes a stream of known length in a separate thread, one block behind.

    A stream longer than `expected` bytes is cut off there, because it may be endless. `wanted` is
    the SHA-256 of all of it, or of one block that the manifest has a digest of.
    """

    def __init__(self, expected: int, wanted: str) -> None:
        self.expected = expected
        self.wanted = wanted
        self.size_bytes = 0
        self._sha256 = hashlib.sha256()

    def watch(self, blocks: Iterable[bytes]) -> Iterator[bytes]:
        """Yield the blocks unchanged."""
        pending: Future[None] | None = None
        with ThreadPoolExecutor(1) as hasher:
            for block in blocks:
                if pending:
                    pending.result()
                pending = hasher.submit(self._sha256.update, block)
                self.size_bytes += len(block)
                yield block
                if self.size_bytes > self.expected:
                    break

    @property
    def sha256(self) -> str:
        """Return the SHA-256 of everything yielded, once the stream has ended."""
        return self._sha256.hexdigest()

    @property
    def whole(self) -> bool:
        """Whether what was yielded is what was expected, to the byte."""
        return (self.size_bytes, self.sha256) == (self.expected, self.wanted)


class VerifiedRead(Iterator[bytes]):
    """The blocks of one part. Raise BytesDiffer before the last is given, if any of them is wrong.

    Whoever receives them is then cut off in the middle, and believes nothing. `whole` becomes true
    with the last block, `fault` is what reading raised: who also writes tells by it whose error it
    is. The message begins with `what` and ends with `then`.
    """

    def __init__(self, blocks: Iterable[bytes], part: Part, what: str, then: str = "") -> None:
        self.whole = False
        self.fault: DRError | None = None
        self._tally = Tally(part.size_bytes, part.sha256)
        self._blocks = self._checked(blocks, what, then)

    @property
    def size_bytes(self) -> int:
        """Bytes that were read so far, those that are held back among them."""
        return self._tally.size_bytes

    def __next__(self) -> bytes:
        return next(self._blocks)

    def _checked(self, blocks: Iterable[bytes], what: str, then: str) -> Iterator[bytes]:
        held, tally = b"", self._tally
        try:
            for block in tally.watch(blocks):
                if held:
                    yield held
                held = block
            if not tally.whole:
                raise BytesDiffer(
                    f"{what} {tally.size_bytes} bytes, SHA-256 {tally.sha256[:12]}; the manifest "
                    f"says {tally.expected}, {tally.wanted[:12]}{then}"
                )
        except DRError as e:
            self.fault = e
            raise
        self.whole = True
        yield held
