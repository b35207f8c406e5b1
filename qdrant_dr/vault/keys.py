"""Slots: a master key locked by a secret, and opened again.

A passphrase is stretched by scrypt (N = 2^17, r = 8, p = 1) with the slot's salt; that, or the 32
bytes of a key file, goes through HKDF-SHA-256 with the salt and the info "qdr slot 1", a zero byte
and the slot's path, and locks the master key by AES-256-GCM with a nonce of zeros: a salt is used
once. An age slot is an age file of the 32 bytes.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Iterable, Mapping, Sequence, Set
from datetime import datetime
from functools import lru_cache

import pyrage
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from qdrant_dr import layout
from qdrant_dr.errors import KeyWrong
from qdrant_dr.records.base import canonical_json
from qdrant_dr.records.key_slot import KeySlot, PreviousKey
from qdrant_dr.vault.key_secret import (
    EXPORTED,
    KINDS,
    Secret,
    identities,
    parse_recipient,
    recipient_of,
)
from qdrant_dr.vault.master_key import KEY_SIZE, Keyring, MasterKey

_NONCE = bytes(12)


def make_slot(
    master: MasterKey,
    opener: Secret | str,
    now: datetime,
    *,
    key_made_at: datetime | None = None,
    label: str = "",
    previous: PreviousKey | None = None,
) -> KeySlot:
    """Lock a master key by a secret, or for a recipient of age. Raise KeyWrong if that is none."""
    if isinstance(opener, Secret) and opener.kind == "age":
        opener = recipient_of(opener)
    slot_id, salt, recipient = layout.new_id(now), None, None
    key_id = master.id.hex()
    if isinstance(opener, str):
        recipient = opener.strip()
        locked_by, wrapped = "age", pyrage.encrypt(master.secret, [parse_recipient(recipient)])
    elif opener.kind == "exported":
        raise KeyWrong("an exported master key is no secret for a slot")
    else:
        salt, locked_by = secrets.token_bytes(32), opener.kind
        cipher = _slot_cipher(opener, salt, layout.key_slot(key_id, slot_id))
        wrapped = cipher.encrypt(_NONCE, master.secret, None)
    slot = KeySlot(
        slot_id=slot_id,
        key_id=key_id,
        key_made_at=key_made_at or now,
        made_at=now,
        locked_by=locked_by,
        label=label,
        recipient=recipient,
        salt=salt.hex() if salt else None,
        wrapped=wrapped.hex(),
        check=master.check.hex(),
        previous=previous,
        mac="0" * 64,
    )
    return slot.model_copy(update={"mac": _mac(master, slot)})


def open_slot(slot: KeySlot, secret: Secret) -> MasterKey | None:
    """Return the master key; None if this secret does not open it, or the slot was changed."""
    if slot.locked_by != secret.kind:
        return None
    data = bytes.fromhex(slot.wrapped)
    try:
        if slot.locked_by == "age":
            opened = pyrage.decrypt(data, identities(secret))
        else:
            path = layout.key_slot(slot.key_id, slot.slot_id)
            cipher = _slot_cipher(secret, bytes.fromhex(slot.salt or ""), path)
            opened = cipher.decrypt(_NONCE, data, None)
    except (InvalidTag, pyrage.DecryptError):
        return None
    if len(opened) != KEY_SIZE:
        return None
    master = MasterKey(opened)
    return master if is_authentic(slot, master) else None


def is_authentic(slot: KeySlot, master: MasterKey) -> bool:
    """Say whether whoever wrote the slot had this master key."""
    return (
        hmac.compare_digest(master.id.hex(), slot.key_id)
        and hmac.compare_digest(master.check.hex(), slot.check)
        and hmac.compare_digest(_mac(master, slot), slot.mac)
    )


def follow(previous: MasterKey, master: MasterKey) -> PreviousKey:
    """Return the word of a key that another one follows it."""
    return PreviousKey(
        key_id=previous.id.hex(), mac=_successor_mac(previous, master.id, master.check)
    )


def _follows(slot: KeySlot, previous: MasterKey) -> bool:
    """Whether this key gave its word for that of a slot, which need not be open."""
    if slot.previous is None:
        return False
    said = _successor_mac(previous, bytes.fromhex(slot.key_id), bytes.fromhex(slot.check))
    return hmac.compare_digest(said, slot.previous.mac)


def open_keyring(slots: Sequence[KeySlot], secret: Secret, first: str, where: str) -> Keyring:
    """Open every key that the secret opens and that is tied to the key `first` by rotations.

    Others are not believed: anybody may lock a key of his own for a public recipient. Raise
    KeyWrong if there is none.
    """
    if secret.kind == "exported":
        *older, newest = _exported(secret, {first, *(s.key_id for s in slots)}, where)
    else:
        *older, newest = _opened(slots, secret, first, where)
    known = {key.id.hex() for key in (*older, newest)}
    after = (s.key_id for s in slots if s.key_id not in known and _follows(s, newest))
    return Keyring(newest, older, replaced_by=next(after, None))


def _opened(slots: Sequence[KeySlot], secret: Secret, first: str, where: str) -> list[MasterKey]:
    """The keys that are ours, the newest last."""
    masters: dict[str, MasterKey] = {}
    made: dict[str, datetime] = {}
    before: dict[str, PreviousKey] = {}
    for slot in slots:
        if slot.key_id in masters or (master := open_slot(slot, secret)) is None:
            continue  # one slot is enough: a passphrase takes seconds
        masters[slot.key_id] = master
        made[slot.key_id] = slot.key_made_at
        if slot.previous:
            before[slot.key_id] = slot.previous
    if not masters:
        raise KeyWrong(
            f"{where}: the configured secret ({KINDS[secret.kind]}) opens none of its slots"
        )
    ours = _tied_to(first, masters, before)
    if not ours:
        raise KeyWrong(
            f"{where}: the configured secret opens {', '.join(sorted(masters))}, and nothing ties "
            f"that to key {first}, which is configured or was the first one",
            "decide: is that key yours? Then put its id as `key_id` below the repository's name.",
        )
    return [masters[i] for i in sorted(ours, key=lambda i: (made[i], i))]


def _tied_to(
    first: str, masters: Mapping[str, MasterKey], before: Mapping[str, PreviousKey]
) -> set[str]:
    tied = {first} & masters.keys()
    while True:
        more = {
            key_id
            for key_id, previous in before.items()
            if previous.key_id in tied
            and hmac.compare_digest(
                follow(masters[previous.key_id], masters[key_id]).mac, previous.mac
            )
        }
        # a slot is authentic, so its key vouches for the one that it replaced
        more |= {before[i].key_id for i in tied & before.keys()} & masters.keys()
        if more <= tied:
            return tied
        tied |= more


def export_text(keyring: Keyring) -> str:
    """Return the master keys as text that opens everything without a slot: for a safe."""
    return "".join(f"{EXPORTED} {key.id.hex()} {key.secret.hex()}\n" for key in keyring.all)


def slots_in_words(slots: Iterable[KeySlot]) -> str:
    """Name slots for people: id, kind, when it was made, label."""
    found = [
        f"{s.slot_id} ({KINDS[s.locked_by]} of {s.made_at:%Y-%m-%d}"
        f"{', ' + s.label if s.label else ''}, key {s.key_id})"
        for s in slots
    ]
    return "; ".join(found) or "there are none"


def _exported(secret: Secret, wanted: Set[str], where: str) -> list[MasterKey]:
    """Take the keys of an export, the newest last: they need no slot."""
    found = []
    for line in secret.text.splitlines():
        match line.split():
            case [_, key_id, text] if re.fullmatch(r"[0-9a-f]{64}", text):
                master = MasterKey(bytes.fromhex(text))
                if master.id.hex() == key_id:
                    found.append(master)
                    continue
        raise KeyWrong(f"{where}: the exported master key is damaged: a line is not as written")
    if not wanted & {master.id.hex() for master in found}:
        raise KeyWrong(
            f"{where}: the exported keys {', '.join(m.id.hex() for m in found)} are of another "
            f"repository; here it is {', '.join(sorted(wanted))}"
        )
    return found


def _slot_cipher(secret: Secret, salt: bytes, path: str) -> AESGCM:
    if secret.kind == "passphrase":
        material = _stretched(secret.text, salt)
    else:
        material = bytes.fromhex(secret.text)
    return AESGCM(HKDF(SHA256(), KEY_SIZE, salt, b"qdr slot 1\0" + path.encode()).derive(material))


@lru_cache(maxsize=32)  # seconds and 128 MiB each
def _stretched(passphrase: str, salt: bytes) -> bytes:
    return hashlib.scrypt(
        passphrase.encode(), salt=salt, n=2**17, r=8, p=1, maxmem=2**28, dklen=KEY_SIZE
    )


def _mac(master: MasterKey, slot: KeySlot) -> str:
    said = canonical_json(slot.model_dump(mode="json", exclude={"mac"}))
    return master.mac(b"qdr key slot\0" + said).hex()


def _successor_mac(previous: MasterKey, key_id: bytes, check: bytes) -> str:
    return previous.mac(b"qdr next key\0" + key_id + check).hex()
