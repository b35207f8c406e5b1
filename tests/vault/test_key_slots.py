"""Slots: what opens a master key, what does not, and what was tampered with."""

from __future__ import annotations

import pickle
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyrage
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from qdrant_dr.errors import KeyWrong
from qdrant_dr.records.base import canonical_json
from qdrant_dr.records.key_slot import KeySlot
from qdrant_dr.vault.key_secret import Secret, new_key_file, parse_secret, recipient_of
from qdrant_dr.vault.key_slots import (
    export_text,
    follow,
    is_authentic,
    make_slot,
    open_keyring,
    open_slot,
)
from qdrant_dr.vault.master_key import Keyring, MasterKey

NOW = datetime(2026, 11, 30, 18, tzinfo=UTC)
MASTER = MasterKey(bytes(range(32)))
WORDS = "correct horse battery staple"


def ssh_pair() -> tuple[str, str]:
    key = Ed25519PrivateKey.generate()
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.OpenSSH,
        serialization.NoEncryption(),
    )
    public = key.public_key().public_bytes(
        serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH
    )
    return private.decode(), public.decode()


def age_file() -> str:
    """As age-keygen writes it."""
    identity = pyrage.x25519.Identity.generate()
    return f"# created: 2026-11-30\n# public key: {identity.to_public()}\n{identity}\n"


@pytest.mark.parametrize("kind", ["passphrase", "key-file", "age"])
def test_a_slot_opens_with_its_secret_and_no_other(kind: str) -> None:
    mine, other = {
        "passphrase": (WORDS, WORDS + "!"),
        "key-file": (new_key_file(), new_key_file()),
        "age": (age_file(), age_file()),
    }[kind]
    secret, wrong = parse_secret(mine, "a"), parse_secret(other, "b")
    assert secret.kind == wrong.kind == kind
    slot = make_slot(MASTER, secret, NOW, label="safe")
    slot = KeySlot.from_bytes(slot.to_bytes(), where="slot")
    assert open_slot(slot, secret) == MASTER
    assert open_slot(slot, wrong) is None
    assert MASTER.secret.hex() not in slot.to_bytes().decode()
    assert mine.strip().splitlines()[-1] not in slot.to_bytes().decode()


def test_an_ssh_key_opens_what_was_locked_for_its_public_one() -> None:
    private, public = ssh_pair()
    slot = make_slot(MASTER, public, NOW)
    secret = parse_secret(private, "key")
    assert secret.kind == "age"
    assert open_slot(slot, secret) == MASTER
    with pytest.raises(KeyWrong, match="must be named"):
        recipient_of(secret)


def test_what_is_no_recipient_is_refused() -> None:
    with pytest.raises(KeyWrong, match="no recipient of age"):
        make_slot(MASTER, "age1tagpq1nothing", NOW)
    with pytest.raises(KeyWrong, match="which is secret") as refused:
        make_slot(MASTER, age_file().splitlines()[-1], NOW)
    assert "AGE-SECRET-KEY-1" not in str(refused.value)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "is empty"),
        (" \n\t\n", "is empty"),
        ("short", "fewer than 12"),
        ("age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p", "recipient"),
        ("two\nlines of it, which no key has", "2 lines"),
    ],
)
def test_what_is_no_secret_is_refused_without_a_word_of_it(text: str, why: str) -> None:
    with pytest.raises(KeyWrong, match=why) as refused:
        parse_secret(text, "`key` of repository one")
    assert len(text) < 5 or text not in str(refused.value)


@pytest.mark.parametrize(
    "text", [new_key_file(), WORDS, age_file()], ids=["key-file", "passphrase", "age"]
)
def test_no_secret_is_shown_or_handed_on(text: str) -> None:
    secret = parse_secret(text, "x")
    shown = repr(secret) + repr(MASTER) + repr(Keyring(MASTER)) + str(Keyring(MASTER))
    assert text.strip()[-12:] not in shown
    assert MASTER.secret.hex() not in shown
    assert repr(MASTER.secret) not in shown
    for thing in (MASTER, Keyring(MASTER)):
        with pytest.raises(TypeError, match="not handed on"):
            pickle.dumps(thing)


@pytest.mark.parametrize(
    "change",
    [
        {"label": "elsewhere"},
        {"key_made_at": NOW + timedelta(days=400)},
        {"recipient": "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p"},
        {"slot_id": "20261130T180000Z-000000"},
        {"check": "0" * 64},
        {"mac": "0" * 64},
        {"key_id": "0" * 16},
        {"previous": follow(MasterKey(bytes(32)), MASTER)},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_slot_that_somebody_changed_is_not_believed(change: dict[str, object]) -> None:
    for secret in (parse_secret(new_key_file(), "x"), parse_secret(age_file(), "x")):
        slot = make_slot(MASTER, secret, NOW)
        changed = slot.model_copy(update=change)
        assert open_slot(changed, secret) is None
        assert not is_authentic(changed, MASTER)
        with pytest.raises(KeyWrong, match="opens none of its slots"):
            open_keyring([changed], secret, MASTER.id.hex(), "one")


def test_every_bit_of_a_locked_key_counts() -> None:
    secret = parse_secret(new_key_file(), "x")
    slot = make_slot(MASTER, secret, NOW)
    wrapped = bytes.fromhex(slot.wrapped)
    for at in range(len(wrapped) * 8):
        touched = bytearray(wrapped)
        touched[at // 8] ^= 1 << at % 8
        assert open_slot(slot.model_copy(update={"wrapped": touched.hex()}), secret) is None


def rotated(secret: Secret, times: int) -> tuple[list[MasterKey], list[KeySlot]]:
    masters, slots = [MASTER], [make_slot(MASTER, secret, NOW)]
    for turn in range(1, times + 1):
        masters.append(MasterKey(bytes([turn]) * 32))
        slots.append(
            make_slot(
                masters[-1],
                secret,
                NOW + timedelta(days=turn),
                previous=follow(masters[-2], masters[-1]),
            )
        )
    return masters, slots


@pytest.mark.parametrize("first", range(4))
def test_the_newest_of_all_rotations_encrypts_whichever_is_named(first: int) -> None:
    secret = parse_secret(new_key_file(), "x")
    masters, slots = rotated(secret, 3)
    ring = open_keyring(slots[::-1], secret, masters[first].id.hex(), "one")
    assert ring.all == tuple(masters)
    assert ring.newest == masters[-1]


def test_a_key_that_a_stranger_locked_for_our_recipient_is_not_ours() -> None:
    """Whoever may write there knows the recipient, for it is public."""
    secret = parse_secret(age_file(), "x")
    masters, slots = rotated(secret, 1)
    his = MasterKey(b"h" * 32)
    forged = [
        make_slot(his, recipient_of(secret), NOW + timedelta(days=9)),
        make_slot(his, recipient_of(secret), NOW + timedelta(days=9), previous=follow(his, his)),
        make_slot(
            his,
            recipient_of(secret),
            NOW + timedelta(days=9),
            previous=follow(masters[-1], masters[0]).model_copy(
                update={"key_id": masters[1].id.hex()}
            ),
        ),
    ]
    ring = open_keyring([*slots, *forged], secret, MASTER.id.hex(), "one")
    assert ring.all == tuple(masters)


def redated(slot: KeySlot, master: MasterKey, **change: object) -> KeySlot:
    """A slot that somebody who has its master key changed: its MAC is as good as ours."""
    changed = slot.model_copy(update=change)
    said = canonical_json(changed.model_dump(mode="json", exclude={"mac"}))
    return changed.model_copy(update={"mac": master.mac(b"qdr key slot\0" + said).hex()})


@pytest.mark.parametrize("pinned", range(3))
def test_a_stolen_old_key_does_not_become_the_newest_by_its_date(pinned: int) -> None:
    secret = parse_secret(new_key_file(), "x")
    masters, slots = rotated(secret, 2)
    late = redated(slots[0], masters[0], key_made_at=NOW + timedelta(days=60000))
    assert is_authentic(late, masters[0])
    ring = open_keyring([*slots[1:], late], secret, masters[pinned].id.hex(), "one")
    assert ring.all == tuple(masters)


@pytest.mark.parametrize("kept", ["for us", "for others"])
def test_a_key_of_whoever_stole_the_old_one_is_never_encrypted_with(kept: str) -> None:
    """He has the first key, which was rotated, and vouches with it for one of his own."""
    secret = parse_secret(age_file(), "x")
    (stolen, ours), slots = rotated(secret, 1)
    his = MasterKey(b"h" * 32)
    forged = [
        make_slot(
            his,
            recipient_of(secret),
            NOW + timedelta(days=9),
            previous=follow(stolen, his),
        ),
        redated(slots[0], stolen, previous=follow(his, stolen)),
    ]
    if kept == "for others":  # he took away the slot that we open
        slots[1] = make_slot(
            ours, parse_secret(new_key_file(), "x"), NOW, previous=follow(stolen, ours)
        )
    ring = open_keyring([*slots, *forged], secret, stolen.id.hex(), "one")
    both = ", ".join(sorted([ours.id.hex(), his.id.hex()]))
    with pytest.raises(KeyWrong, match=f"{stolen.id.hex()} was replaced by {both}: one of them"):
        _ = ring.newest
    with pytest.raises(KeyWrong, match="a thief"):
        export_text(ring)
    assert ring.of(stolen.id, "a seal") == stolen  # reading goes on
    if kept == "for others":
        with pytest.raises(KeyWrong, match="nothing ties"):
            open_keyring([*slots, *forged], secret, ours.id.hex(), "one")
    else:
        assert ring.of(ours.id, "a seal") == ours
        named = open_keyring([*slots, *forged], secret, ours.id.hex(), "one")
        assert named.newest == ours
        assert named.of(stolen.id, "a seal") == stolen


def test_an_export_of_before_the_rotation_reads_and_writes_nothing() -> None:
    secret = parse_secret(new_key_file(), "x")
    masters, slots = rotated(secret, 1)
    early = parse_secret(export_text(Keyring(MASTER)), "x")
    for left, first in ((slots, MASTER), (slots[:1], masters[1])):
        ring = open_keyring(left, early, first.id.hex(), "one")
        assert ring.all == (MASTER,)
        with pytest.raises(KeyWrong, match=f"was replaced by {masters[1].id.hex()}, which"):
            _ = ring.newest


def test_an_export_opens_everything_without_a_slot() -> None:
    secret = parse_secret(new_key_file(), "x")
    masters, slots = rotated(secret, 2)
    text = export_text(open_keyring(slots, secret, MASTER.id.hex(), "one"))
    exported = parse_secret(text, "x")
    assert exported.kind == "exported"
    assert masters[1].secret.hex() not in repr(exported)
    for left in ([], slots):
        assert open_keyring(left, exported, MASTER.id.hex(), "one").all == tuple(masters)
    with pytest.raises(KeyWrong, match="of another repository"):
        open_keyring([], exported, "0" * 16, "two")
    digit = text[-2]
    damaged = text[:-2] + ("0" if digit != "0" else "1") + "\n"
    with pytest.raises(KeyWrong, match="damaged") as refused:
        open_keyring(slots, parse_secret(damaged, "x"), MASTER.id.hex(), "one")
    assert masters[-1].secret.hex()[:20] not in str(refused.value)


def test_a_slot_of_format_1_opens_for_ever() -> None:
    golden = Path(__file__).parents[1] / "records" / "golden" / "key-slot.json"
    slot = KeySlot.from_bytes(golden.read_bytes(), where="golden")
    assert open_slot(slot, parse_secret("0123456789abcdef" * 4, "x")) == MASTER
    assert slot.previous == follow(MasterKey(bytes(32)), MASTER)


def test_a_passphrase_is_the_same_however_its_letters_are_composed() -> None:
    assert parse_secret("# six words that begin with a hash", "x").kind == "passphrase"
    slot = make_slot(MASTER, parse_secret("Caf\u00e9 au lait, s'il vous", "x"), NOW)
    assert open_slot(slot, parse_secret("Cafe\u0301 au lait, s'il vous", "x")) == MASTER


def test_an_old_key_does_not_encrypt_again_where_one_between_is_lost() -> None:
    """Its slots are gone: nothing ties the newest to the first any more; our secret opens both."""
    secret = parse_secret(new_key_file(), "x")
    (first, middle, newest), slots = rotated(secret, 2)
    left = [slot for slot in slots if slot.key_id != middle.id.hex()]
    ring = open_keyring(left, secret, first.id.hex(), "one")
    with pytest.raises(KeyWrong, match=f"was replaced by {newest.id.hex()}"):
        _ = ring.newest
    assert open_keyring(left, secret, newest.id.hex(), "one").newest == newest
