"""The bytes of one request, sent without a copy of them."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator

_AT_ONCE = 2**18  # bytes: what a connection is given before others on its loop have their turn
_SMALL = 2**16  # bytes: pieces shorter than this are cheaper to copy than to send one by one


class Body:
    """A file in memory, in the pieces that it came in, which others may hold, too. A retry can send
    it again. `sha256` in hex, if it is known already."""

    def __init__(self, *pieces: bytes | memoryview, sha256: str | None = None) -> None:
        self._size = sum(map(len, pieces))
        if len(pieces) * _SMALL > max(self._size, _SMALL):
            pieces = (b"".join(pieces),)
        self._pieces = pieces
        self._at = 0
        self.sha256 = sha256

    def digest(self) -> str:
        """Return the SHA-256, in hex; compute it if it is not known."""
        if self.sha256 is None:
            taken = hashlib.sha256()
            for piece in self._pieces:
                taken.update(piece)
            self.sha256 = taken.hexdigest()
        return self.sha256

    def __len__(self) -> int:
        return self._size

    def views(self, start: int = 0) -> Iterator[memoryview]:
        """Yield everything from `start` on."""
        for piece in self._pieces:
            view = memoryview(piece)[start:]
            start = max(0, start - len(piece))
            for at in range(0, len(view), _AT_ONCE):
                yield view[at : at + _AT_ONCE]

    # what clients expect of a file

    def read(self, size: int | None = -1) -> bytes:
        left = self._size - self._at if size is None or size < 0 else size
        taken = []
        for view in self.views(self._at):
            if left <= 0:
                break
            taken.append(view[:left])
            left -= len(taken[-1])
        data = b"".join(taken)
        self._at += len(data)
        return data

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        origin = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        self._at = max(0, origin + offset)
        return self._at

    def seekable(self) -> bool:
        return True

    def close(self) -> None:
        """Do nothing: the sender closes what it sent, and a retry sends it again."""
