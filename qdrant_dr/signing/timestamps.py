"""RFC 3161: ask a time server to say that bytes existed, and check that its answer is for them.

Status, digest and nonce are checked here; whose certificate it is, `openssl ts -verify` says.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime

from qdrant_dr.errors import TimestampFailed

_SHA256 = bytes.fromhex("0609608648016503040201")
_TST_INFO = bytes.fromhex("060b2a864886f70d0109100104")
_INTEGER, _OCTETS, _NULL, _BOOLEAN = 0x02, 0x04, b"\x05\x00", 0x01
_SEQUENCE, _TIME = 0x30, 0x18
_GRANTED = (0, 1)

NONCE_BYTES = 8


@dataclass(frozen=True, slots=True)
class Token:
    """What a time server said: when, and of what."""

    at: datetime
    sha256: str
    nonce: int | None


def request(message: bytes, nonce: int) -> bytes:
    """Build the body of a request, `application/timestamp-query`."""
    imprint = _der(_SEQUENCE, _der(_SEQUENCE, _SHA256 + _NULL) + _octets(message))
    body = _integer(1) + imprint + _integer(nonce) + _der(_BOOLEAN, b"\xff")
    return _der(_SEQUENCE, body)


def read_reply(reply: bytes) -> Token:
    """Read an answer, `application/timestamp-reply`. Raise TimestampFailed if it is a refusal, or
    none at all."""
    try:
        status, token = _items(_only(reply, _SEQUENCE))[0], _items(_only(reply, _SEQUENCE))[1:]
        code = int.from_bytes(_items(status[1])[0][1])
        if code not in _GRANTED or not token:
            raise TimestampFailed(f"the time server refused (status {code})")
        signed = _items(_items(_items(token[0][1])[1][1])[0][1])
        wrapped = signed[2][1]
        if not wrapped.startswith(_TST_INFO):
            raise TimestampFailed("the time server signed something else than a time")
        info = _items(_only(_items(_items(wrapped)[1][1])[0][1], _SEQUENCE))
        algorithm, digest = _items(info[2][1])
        if not algorithm[1].startswith(_SHA256):
            raise TimestampFailed("the time server signed another digest than SHA-256")
        at = _time(next(value for tag, value in info if tag == _TIME))
        nonces = [value for tag, value in info[5:] if tag == _INTEGER]
        nonce = int.from_bytes(nonces[0]) if nonces else None
        return Token(at, digest[1].hex(), nonce)
    except (IndexError, ValueError, StopIteration):
        raise TimestampFailed("the answer of the time server cannot be read") from None


def check_reply(reply: bytes, message: bytes, nonce: int) -> Token:
    """Return the token if it is for these bytes and this request. Raise TimestampFailed."""
    token = read_reply(reply)
    if token.sha256 != hashlib.sha256(message).hexdigest():
        raise TimestampFailed("the time server signed the digest of something else")
    if token.nonce != nonce:
        raise TimestampFailed("the time server answered an older request (its nonce differs)")
    return token


def _der(tag: int, value: bytes) -> bytes:
    size = len(value)
    if size < 128:
        return bytes([tag, size]) + value
    length = size.to_bytes((size.bit_length() + 7) // 8)
    return bytes([tag, 0x80 | len(length)]) + length + value


def _integer(value: int) -> bytes:
    return _der(_INTEGER, value.to_bytes(value.bit_length() // 8 + 1))


def _octets(message: bytes) -> bytes:
    return _der(_OCTETS, hashlib.sha256(message).digest())


def _only(data: bytes, tag: int) -> bytes:
    """The value of the first item, which must have this tag."""
    found, value = _items(data)[0]
    if found != tag:
        raise ValueError(f"tag {found:#x}")
    return value


def _items(data: bytes) -> list[tuple[int, bytes]]:
    """The items that stand one after the other."""
    found, at = [], 0
    while at < len(data):
        tag, size, at = data[at], data[at + 1], at + 2
        if size & 0x80:
            digits = size & 0x7F
            if not 0 < digits <= 4:
                raise ValueError("no length")
            size, at = int.from_bytes(data[at : at + digits]), at + digits
        if at + size > len(data):
            raise ValueError("cut")
        found.append((tag, data[at : at + size]))
        at += size
    return found


def _time(value: bytes) -> datetime:
    """`YYYYMMDDhhmmss[.fff]Z`."""
    seconds, _, fraction = value.decode("ascii").removesuffix("Z").partition(".")
    at = datetime.strptime(seconds, "%Y%m%d%H%M%S").replace(tzinfo=UTC)
    return at.replace(microsecond=int(fraction.ljust(6, "0")[:6])) if fraction else at
