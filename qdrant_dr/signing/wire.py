"""The strings and numbers that SSH keys, signatures and agents are made of."""

from __future__ import annotations

import struct

from qdrant_dr.errors import SignatureInvalid


def string(value: bytes) -> bytes:
    """Encode: four bytes of length, then the value."""
    return struct.pack(">I", len(value)) + value


def number(value: int) -> bytes:
    """Encode an unsigned number of 32 bits."""
    return struct.pack(">I", value)


class Reader:
    """Read such values one after the other. Raise SignatureInvalid where they are cut."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    def take(self, size: int) -> bytes:
        """Return the next bytes."""
        if size > len(self._data) - self._at:
            raise SignatureInvalid(f"{size} bytes are missing at byte {self._at}: it is cut")
        self._at += size
        return self._data[self._at - size : self._at]

    def number(self) -> int:
        """Return the next number of 32 bits."""
        return int(struct.unpack(">I", self.take(4))[0])

    def string(self) -> bytes:
        """Return the next string."""
        return self.take(self.number())

    def rest(self) -> bytes:
        """Return what is left."""
        return self.take(len(self._data) - self._at)
