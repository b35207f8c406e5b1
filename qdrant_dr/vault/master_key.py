"""The master key of an encrypted repository, and the key of each box that is derived from it."""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import NoReturn

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from qdrant_dr.errors import KeyMissing, KeyWrong

KEY_SIZE = 32
CLEAR = bytes(8)
"""The key id of a box that is not encrypted."""


@dataclass(frozen=True, slots=True)
class MasterKey:
    """32 random bytes. They are in no `repr`, and are never handed to another process."""

    secret: bytes = field(repr=False)
    id: bytes = field(init=False)

    def __post_init__(self) -> None:
        if len(self.secret) != KEY_SIZE:
            raise ValueError(f"a master key has {KEY_SIZE} bytes")
        object.__setattr__(self, "id", self.mac(b"qdr key id")[: len(CLEAR)])

    @classmethod
    def generate(cls) -> MasterKey:
        """Make a new one."""
        return cls(secrets.token_bytes(KEY_SIZE))

    @property
    def check(self) -> bytes:
        """Return what tells this key from all others: GCM alone accepts several keys."""
        return self.mac(b"qdr key check")

    def mac(self, said: bytes) -> bytes:
        """Return the HMAC-SHA-256 of something under this key."""
        return hmac.digest(self.secret, said, "sha256")

    def cipher(self, path: str, salt: bytes) -> AESGCM:
        """Return the cipher of one box: its key depends on the salt and on where the box lies."""
        return _cipher(self.secret, path, salt)

    def __reduce__(self) -> NoReturn:
        raise TypeError("a master key is not handed on: open the repository again")


@lru_cache(maxsize=256)  # the blocks of a pack are opened one by one
def _cipher(secret: bytes, path: str, salt: bytes) -> AESGCM:
    hkdf = HKDF(SHA256(), KEY_SIZE, salt, b"qdr box 1\0" + path.encode())
    return AESGCM(hkdf.derive(secret))


class Keyring:
    """The master keys of one repository: the newest encrypts, each opens what it encrypted."""

    def __init__(
        self,
        newest: MasterKey,
        older: Iterable[MasterKey] = (),
        *,
        replaced_by: Collection[str] = (),
        lost: Collection[str] = (),
        only_read: KeyMissing | None = None,
    ) -> None:
        """`only_read`: why nothing is written, though all is read. `replaced_by` are the keys that
        came after the newest one: one that nobody opened here, or several, and nobody knows which
        of them is ours. `lost` are those that are known to be lost: what is encrypted with them
        stops nothing."""
        self._newest = newest
        self._keys = {key.id: key for key in older if key.id != newest.id} | {newest.id: newest}
        self._replaced_by = replaced_by
        self._lost = frozenset(lost)
        self.only_read = only_read
        self._unknown: dict[str, str] = {}

    def __repr__(self) -> str:
        return f"Keyring({', '.join(self.ids)})"

    @property
    def newest(self) -> MasterKey:
        """Return the key to encrypt with. Raise KeyWrong if it was replaced by one that is not
        open, for it may have been stolen; by several, for one may be a thief's; or if something
        here is encrypted with a key that is not open, for that may be the one that followed. Raise
        what `require_named` raises."""
        self.require_named()
        replaced = f"key {self._newest.id.hex()} was replaced by {', '.join(self._replaced_by)}"
        if len(self._replaced_by) > 1:
            raise KeyWrong(
                f"{replaced}: one of them may be made by a thief, so nothing is encrypted",
                "put the key that `qdrant-dr key rotate REPOSITORY` printed as `key_id` below the "
                "name of the repository; what is there stays readable.",
            )
        if self._replaced_by:
            raise KeyWrong(
                f"{replaced}, which the configured secret does not open, or which no slot ties to "
                "it any more: nothing more is encrypted with the old one",
                "have `qdrant-dr key add REPOSITORY` run for this secret where the new key is "
                "open, or put its id as `key_id` below the name of the repository if it is yours; "
                "what is there stays readable.",
            )
        if self._unknown:
            key_id, path = next(iter(self._unknown.items()))
            raise KeyWrong(
                f"{path} is encrypted with key {key_id}, which no slot here opens: that may be the "
                f"newest one, whose slots were deleted, so nothing is encrypted with "
                f"{self._newest.id.hex()}",
                f"if it was rotated a moment ago, run it again. Else bring back the slots in "
                f"`keys/{key_id}`, or configure what `qdrant-dr key export REPOSITORY --out FILE` "
                f"wrote as `key`; if key {key_id} is lost for good, run "
                f"`qdrant-dr key rotate REPOSITORY` and put "
                f'`lost_keys: ["{key_id}"]` below the name of the repository.',
            )
        return self._newest

    def require_named(self) -> None:
        """Raise KeyMissing or KeyWrong if the configuration does not name a key that is ours: then
        nothing is written or deleted."""
        if self.only_read is not None:
            raise type(self.only_read)(self.only_read.message, self.only_read.hint)

    def found_unknown(self, key_id: bytes, path: str) -> None:
        """Take note of a box, found to be whole, whose key is not open: from now on nothing is
        encrypted, unless that key is known to be lost."""
        if key_id not in self._keys and key_id.hex() not in self._lost:
            self._unknown.setdefault(key_id.hex(), path)

    @property
    def ids(self) -> tuple[str, ...]:
        """Return the ids of all keys, in hex, the newest last."""
        return tuple(key_id.hex() for key_id in self._keys)

    @property
    def all(self) -> tuple[MasterKey, ...]:
        """Return every key, the newest last."""
        return tuple(self._keys.values())

    def of(self, key_id: bytes, path: str) -> MasterKey:
        """Return the key that a box names. Raise KeyMissing."""
        if (key := self._keys.get(key_id)) is None:
            raise KeyMissing(
                f"{path} is encrypted with key {key_id.hex()}, which the configured secret does "
                f"not open; it opens {', '.join(self.ids)}"
            )
        return key
