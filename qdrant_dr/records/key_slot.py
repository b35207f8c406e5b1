"""A slot of a master key: the key, locked by one secret."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, get_args

from pydantic import BeforeValidator, Field

from qdrant_dr.records.base import Frozen, Record, Time, newer
from qdrant_dr.records.manifest import BackupId, Sha256

KeyId = Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")]
SlotKind = Literal["passphrase", "key-file", "age"]


def _known(locked_by: object) -> object:
    if isinstance(locked_by, str) and locked_by not in get_args(SlotKind):
        raise newer(f"{locked_by!r} is a kind of slot of a later version")
    return locked_by


class PreviousKey(Frozen):
    """The key that a rotation replaced, and its word that this one follows it."""

    key_id: KeyId
    mac: Sha256


class KeySlot(Record):
    """`keys/<key id>/<slot id>.json`: any one slot of a key gives the master key.

    `check` tells the master key from all others; `mac` is made with it over all else, so that
    nobody without it can change who may open it, or since when.
    """

    KIND: ClassVar[str] = "key-slot"

    slot_id: BackupId
    key_id: KeyId
    key_made_at: Time
    made_at: Time
    locked_by: Annotated[SlotKind, BeforeValidator(_known)]
    label: str = Field(max_length=200, description="where its secret is kept, in words")
    recipient: str | None = Field(description="the public key of an age slot")
    salt: Sha256 | None = Field(description="of a passphrase or key file, in hex")
    wrapped: str = Field(pattern=r"^(?:[0-9a-f]{2}){1,8192}$", description="hex")
    check: Sha256
    previous: PreviousKey | None
    mac: Sha256
