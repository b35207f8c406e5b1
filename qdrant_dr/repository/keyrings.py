"""The keys of an encrypted repository: opened with the configured secret, added, removed, rotated.

A key that is lost is lost for ever, so every error names the slots that could still open it.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

from qdrant_dr import layout
from qdrant_dr.config import RepositoryConfig
from qdrant_dr.errors import (
    BoxDamaged,
    ConfigInvalid,
    KeyMissing,
    NothingSelected,
    ObjectArchived,
    ObjectMissing,
    PlanRefused,
    SecretMissing,
)
from qdrant_dr.records.key_slot import KeySlot
from qdrant_dr.repository.record_files import Read, RecordFiles
from qdrant_dr.repository.repository import Repository
from qdrant_dr.secrets import resolve_text
from qdrant_dr.vault.key_secret import Secret, new_key_file, parse_secret
from qdrant_dr.vault.key_slots import (
    follow,
    is_authentic,
    make_slot,
    open_keyring,
    open_slot,
    slots_in_words,
)
from qdrant_dr.vault.master_key import MasterKey

_NEWEST_PACKS = 4


def read_slots(found: RecordFiles) -> Read[KeySlot]:
    """Read every slot of every key, the oldest first; those that cannot be read are not dropped."""
    there, strangers = found.sort_out(layout.KEYS)
    read = found.read_records(KeySlot, [s.path for s in there])
    ordered = sorted(read.records, key=lambda s: (s.key_made_at, s.made_at, s.slot_id))
    return Read(tuple(ordered), read.unreadable, strangers=strangers)


def configured_secret(cfg: RepositoryConfig) -> Secret:
    """Return what `key` of a repository stands for. Raise SecretMissing, KeyWrong."""
    if cfg.key is None:
        raise KeyMissing(
            f"repository {cfg.name} is encrypted, and has no `key` in the configuration"
        )
    return parse_secret(resolve_text(cfg.key), f"`key` of repository {cfg.name}")


def with_keys(found: Repository, cfg: RepositoryConfig) -> Repository:
    """Return an encrypted repository with its keys. Raise KeyMissing or KeyWrong, which name the
    slots."""
    first = found.record.key_id
    if first is None:
        raise ValueError(f"{found.name} is not encrypted")
    slots = read_slots(found)
    try:
        secret = configured_secret(cfg)
        keys = open_keyring(
            slots.records,
            secret,
            cfg.key_id or first,
            f"repository {cfg.name}",
            cfg.lost_keys,
            only_read=_unnamed(cfg, first),
        )
    except SecretMissing as e:
        raise KeyMissing(f"{e.message}. {_told(cfg, slots)}") from None
    except KeyMissing as e:
        raise type(e)(f"{e.message}. {_told(cfg, slots)}", e.hint) from None
    return replace(found, keys=keys)


def _unnamed(cfg: RepositoryConfig, first: str) -> KeyMissing | None:
    """Why nothing is written where the configuration names no key: what lies there cannot say which
    one is ours, for who may write there could bring back a key of before a rotation, or lock one of
    his own for an age identity. What is there is read: a copy that opens is a good one."""
    if cfg.key_id is not None:
        return None
    return KeyMissing(
        f"repository {cfg.name} is read, and nothing is written there: the configuration does not "
        "say which master key is ours",
        f'put `key_id: "{first}"` below `name: {cfg.name}`, if `repository create` printed '
        "that; after `key rotate`, the id that it printed.",
    )


def look_for_unknown_keys(found: Repository) -> None:
    """Let the keys of a repository know with what its newest packs are encrypted."""
    from qdrant_dr.vault.tables import Tables  # numpy, which `status` starts without

    packs = sorted(found.find(layout.PACKS), key=lambda s: s.modified_at)[-_NEWEST_PACKS:]
    for pack in packs:
        try:
            Tables(found.store, found.keys).of(pack)
        except (KeyMissing, BoxDamaged, ObjectMissing, ObjectArchived):
            continue  # damage is for proofs; a key is noted


def _told(cfg: RepositoryConfig, slots: Read[KeySlot]) -> str:
    bad = "".join(f"; {u.error.message}" for u in slots.unreadable)
    return f"slots of {cfg.name}: {slots_in_words(slots.records)}{bad}"


def first_slot(cfg: RepositoryConfig, now: datetime) -> KeySlot:
    """Make a master key and its first slot, for a new repository. A key file that is not there yet
    is made. Raise ConfigInvalid without a `key`."""
    if cfg.key is None:
        raise ConfigInvalid(
            f"repository {cfg.name}: there is no `key` to encrypt it with",
            f"put `key: file:PATH` below `name: {cfg.name}`: a key file is made there.",
        )
    _make_key_file(cfg.key)
    return make_slot(MasterKey.generate(), configured_secret(cfg), now)


def _make_key_file(reference: str) -> None:
    kind, _, name = reference.partition(":")
    path = Path(name).expanduser()
    if kind != "file" or path.exists():
        return
    try:
        made = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as e:
        raise SecretMissing(f"{reference} cannot be made: {e.strerror}") from None
    with os.fdopen(made, "w") as file:
        file.write(new_key_file())
        file.flush()
        os.fsync(file.fileno())


def add_slots(
    found: Repository, opener: Secret | str, now: datetime, *, label: str
) -> tuple[KeySlot, ...]:
    """Lock every key, also those before a rotation, by one more secret or for a recipient of age;
    none that it opens already. Raise KeyWrong."""
    if found.keys is None:
        raise PlanRefused(f"repository {found.name} is not encrypted: it has no keys")
    found.keys.require_named()
    authentic = _authentic(found, read_slots(found).records)
    added = []
    before: MasterKey | None = None
    for at, master in enumerate(found.keys.all):
        slots = [s for s in authentic if s.key_id == master.id.hex()]
        if not any(_opens_already(s, opener) for s in slots):
            # a key that has lost every slot, and was exported, comes after the one before it
            lost = follow(before, master) if before else None
            slot = make_slot(
                master, opener, now,
                label=label,
                key_made_at=slots[0].key_made_at if slots else now + timedelta(microseconds=at),
                previous=slots[0].previous if slots else lost,
            )  # fmt: skip
            _write(found, slot)
            added.append(slot)
        before = master
    return tuple(added)


def _opens_already(slot: KeySlot, opener: Secret | str) -> bool:
    if isinstance(opener, str):
        return slot.recipient == opener.strip()
    return open_slot(slot, opener) is not None


def remove_slot(
    found: Repository, cfg: RepositoryConfig, slot_id: str, *, execute: bool
) -> KeySlot:
    """Delete a slot. What it gave away it has given: `rotate` makes a key that it never opened.

    Raise PlanRefused for the last slot of a key, or the last one that the configured secret opens.
    """
    if found.keys is not None:
        found.keys.require_named()
    slots = _authentic(found, read_slots(found).records)
    slot = next((s for s in slots if s.slot_id == slot_id), None)
    if slot is None:
        raise NothingSelected(
            f"there is no slot {slot_id}", f"choose from {slots_in_words(slots)}."
        )
    others = [s for s in slots if s.key_id == slot.key_id and s is not slot]
    if not others:
        raise PlanRefused(
            f"{slot_id} is the last slot of key {slot.key_id}: without it nothing is readable",
            f"run `qdrant-dr key add {cfg.name}` first.",
        )
    secret = configured_secret(cfg)
    if secret.kind != "exported" and not any(open_slot(s, secret) for s in others):
        raise PlanRefused(
            f"the configured secret opens no other slot of key {slot.key_id}",
            "configure the secret of another slot as `key`, then remove this one.",
        )
    if execute:
        found.delete(layout.key_slot(slot.key_id, slot.slot_id))
    return slot


@dataclass(frozen=True, slots=True)
class Rotation:
    """A new master key: its slots, and those of the old one whose secrets nobody gave us."""

    slots: tuple[KeySlot, ...]
    left_out: tuple[KeySlot, ...]


def rotate(found: Repository, cfg: RepositoryConfig, now: datetime) -> Rotation:
    """Make a new master key with which everything is encrypted from now on.

    Its slots are those of the configured secret and of every age recipient; what was encrypted
    before stays readable with the old one.
    """
    previous, slots = _newest(found)
    secret = configured_secret(cfg)
    master = MasterKey.generate()
    kept: dict[str, KeySlot] = {s.recipient: s for s in slots if s.recipient is not None}
    openers: list[tuple[Secret | str, str]] = [(r, s.label) for r, s in kept.items()]
    ours = [s for s in slots if secret.kind != "age" and open_slot(s, secret)]
    if ours:
        openers.insert(0, (secret, ours[-1].label))
    if not openers:
        raise PlanRefused(
            "the configured secret opens none of the slots of the newest key, and no slot is an "
            "age recipient's: nobody could open the new key",
            "configure the secret of a slot as `key`, then rotate.",
        )
    # `key list` shows keys as they were made, whatever this machine's clock says
    made_at = max(now, slots[0].key_made_at + timedelta(microseconds=1))
    made = [
        make_slot(
            master, opener, now,
            key_made_at=made_at, label=label, previous=follow(previous, master),
        )
        for opener, label in openers
    ]  # fmt: skip
    for slot in made:
        _write(found, slot)
    left = [s for s in slots if s.recipient is None and s not in ours]
    return Rotation(tuple(made), tuple(left))


def opening_slots(slots: Sequence[KeySlot], cfg: RepositoryConfig) -> tuple[KeySlot, ...]:
    """Return the slots that the configured secret opens: tried, not believed. Raise KeyMissing."""
    secret = configured_secret(cfg)
    return tuple(s for s in slots if open_slot(s, secret) is not None)


def _newest(found: Repository) -> tuple[MasterKey, list[KeySlot]]:
    """The newest key and its slots; none if they are lost and an exported key is configured."""
    if found.keys is None:
        raise PlanRefused(f"repository {found.name} is not encrypted: it has no keys")
    newest = found.keys.newest
    slots = _authentic(found, read_slots(found).records)
    return newest, [s for s in slots if s.key_id == newest.id.hex()]


def _authentic(found: Repository, slots: Sequence[KeySlot]) -> list[KeySlot]:
    """The slots that were written by somebody with the key: others may name anybody."""
    keys = {key.id.hex(): key for key in (found.keys.all if found.keys else ())}
    return [s for s in slots if s.key_id in keys and is_authentic(s, keys[s.key_id])]


def _write(found: Repository, slot: KeySlot) -> None:
    found.create_record(layout.key_slot(slot.key_id, slot.slot_id), slot.to_bytes())
