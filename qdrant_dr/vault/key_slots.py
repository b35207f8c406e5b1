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
from collections.abc import Collection, Iterable, Mapping, Sequence, Set
from datetime import datetime
from functools import lru_cache

import pyrage
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from qdrant_dr import layout
from qdrant_dr.errors import KeyMissing, KeyWrong
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


def open_keyring(
    slots: Sequence[KeySlot],
    secret: Secret,
    first: str,
    where: str,
    lost: Collection[str] = (),
    only_read: KeyMissing | None = None,
) -> Keyring:
    """Open every key that the secret opens and that is tied to the key `first` by rotations.

    Anybody may lock a key of his own for a public recipient of age, so there no other is believed;
    what our own secret opens we locked, and at least it reads. The newest is the last that follows
    `first`, whatever the dates say: who has an old key can date its slots. `lost` are keys that are
    known to be; `only_read` says why nothing is to be written. Raise KeyWrong if there is none.
    """
    if secret.kind == "exported":
        exported = _exported(secret, {first, *(s.key_id for s in slots)}, where)
        masters = {master.id.hex(): master for master in exported}
        ours, newest = list(masters), exported[-1].id.hex()
        replaced_by: Set[str] = _successors(slots, masters)[newest]
        if first not in masters:  # an export of before that rotation
            replaced_by = {first}
    else:
        masters = _opened(slots, secret, where)
        made = {slot.key_id: slot.key_made_at for slot in slots}
        if first not in masters:
            untied_all = KeyWrong(
                f"{where}: the configured secret opens {', '.join(sorted(masters))}, and nothing "
                f"ties that to key {first}, which is configured or was the first one",
                "decide: is that key yours? Then put its id as `key_id` below the repository's "
                "name.",
            )
            if secret.kind == "age":
                raise untied_all
            only_read = only_read or untied_all
            first = max(masters, key=lambda key_id: (made[key_id], key_id))
        after = _successors(slots, masters)
        ours = _tied_to(first, after, masters.keys())
        newest, replaced_by = _newest_from(first, after)
        if secret.kind != "age":  # what else our own secret opens is ours: a key between is lost
            untied = sorted(masters.keys() - set(ours), key=lambda key_id: made[key_id])
            replaced_by |= {key_id for key_id in untied if made[key_id] > made[newest]}
            ours = [*untied, *ours]
    older = [masters[key_id] for key_id in ours if key_id != newest]
    return Keyring(
        masters[newest], older, replaced_by=sorted(replaced_by), lost=lost, only_read=only_read
    )


def _opened(slots: Sequence[KeySlot], secret: Secret, where: str) -> dict[str, MasterKey]:
    """Every key that the secret opens, ours or not."""
    masters: dict[str, MasterKey] = {}
    for slot in slots:
        # one slot is enough: a passphrase takes seconds
        if slot.key_id not in masters and (master := open_slot(slot, secret)) is not None:
            masters[slot.key_id] = master
    if not masters:
        raise KeyWrong(
            f"{where}: the configured secret ({KINDS[secret.kind]}) opens none of its slots"
        )
    return masters


def _successors(slots: Sequence[KeySlot], masters: Mapping[str, MasterKey]) -> dict[str, set[str]]:
    """For every open key those that it gave its word for. One that is open must say so, too."""
    after: dict[str, set[str]] = {key_id: set() for key_id in masters}
    for slot in slots:
        if slot.previous is None or slot.previous.key_id not in masters:
            continue
        said = _follows(slot, masters[slot.previous.key_id])
        if said and (slot.key_id not in masters or is_authentic(slot, masters[slot.key_id])):
            after[slot.previous.key_id].add(slot.key_id)
    return after


def _newest_from(first: str, after: Mapping[str, Set[str]]) -> tuple[str, Set[str]]:
    """Go from key to key as they were rotated. Return the last one, and what follows even that:
    a key that is not open, or several, of which one may be a thief's."""
    newest, passed = first, {first}
    while len(following := after[newest] - passed) == 1 and following <= after.keys():
        (newest,) = following
        passed.add(newest)
    return newest, following


def _tied_to(first: str, after: Mapping[str, Set[str]], opened: Set[str]) -> list[str]:
    """The open keys that rotations tie to the first one, each after those that it follows."""
    before = {i: {p for p in opened if i in after[p] and p != i} for i in opened}
    tied, more = set[str](), {first}
    while more:
        tied |= more
        more = {n for i in more for n in (after[i] & opened) | before[i]} - tied
    ordered: dict[str, None] = {}
    while left := sorted(tied - ordered.keys()):
        # in a ring, which only a thief can make, any of them
        ordered[next((i for i in left if before[i] <= ordered.keys()), left[0])] = None
    return list(ordered)


def export_text(keyring: Keyring) -> str:
    """Return the master keys as text that opens everything without a slot: for a safe.

    Raise KeyWrong if the newest is not open, or nobody knows which one that is.
    """
    _ = keyring.newest
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
