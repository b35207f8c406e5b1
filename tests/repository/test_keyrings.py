"""Encrypted repositories: who opens them, what a lost key says, and what lies there in clear."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyrage
import pytest

from qdrant_dr.config import RepositoryConfig
from qdrant_dr.errors import (
    BoxDamaged,
    ConfigInvalid,
    KeyMissing,
    KeyWrong,
    NothingSelected,
    PlanRefused,
    RecordDamaged,
    RepositoryMismatch,
    SealConflict,
    SecretMissing,
    UsageError,
)
from qdrant_dr.jobs.check.keys import check_keys
from qdrant_dr.records import Seal
from qdrant_dr.repository import (
    Repository,
    create_repository,
    open_repository,
    read_catalog,
    read_repository,
)
from qdrant_dr.repository.keyrings import add_slots, opening_slots, read_slots, remove_slot, rotate
from qdrant_dr.vault.box import MAGIC, seal_bytes
from qdrant_dr.vault.key_secret import parse_secret
from qdrant_dr.vault.key_slots import export_text, make_slot
from qdrant_dr.vault.master_key import MasterKey
from tests.support import records as made
from tests.support.encrypted import (
    PATIENCE,
    encrypted_config,
    encrypted_on_disk,
    opened,
    pinned,
    written_below,
)

NOW = datetime(2026, 11, 30, 18, tzinfo=UTC)
POINT = "a point id that only the seal knows"


@pytest.fixture
def cfg(tmp_path: Path) -> RepositoryConfig:
    return encrypted_on_disk(tmp_path)


def another_key_file(tmp_path: Path, name: str = "other.key") -> tuple[str, str]:
    (tmp_path / name).write_text("ab" * 31 + f"{len(name):02x}\n")
    return f"file:{tmp_path / name}", (tmp_path / name).read_text()


def seal_of(remark: str = POINT) -> Seal:
    return made.seal(made.manifest("movies"), suspect=(remark,))


def test_it_is_made_with_a_key_file_of_its_own_and_opened_by_it(
    cfg: RepositoryConfig, tmp_path: Path
) -> None:
    key = tmp_path / "vault.key"
    assert key.stat().st_mode & 0o777 == 0o600
    found = opened(cfg)
    assert found.keys is not None
    assert found.keys.ids == (found.record.key_id,)
    (slot,) = read_slots(found).records
    assert opening_slots([slot], cfg) == (slot,)
    master = found.keys.newest.secret
    everything = written_below(tmp_path)
    assert master not in everything
    assert master.hex().encode() not in everything
    assert key.read_bytes().strip() not in written_below(tmp_path / "vault")


@pytest.mark.parametrize(
    ("key", "kind", "encrypt", "error"),
    [
        (None, "chunked", True, ConfigInvalid),
        ("env:QDR_NOT_SET", "chunked", True, SecretMissing),
        ("file:/nowhere/at/all", "chunked", True, SecretMissing),
        ("file:short", "chunked", True, KeyWrong),
        ("file:good", "plain", True, UsageError),
        ("file:good", "plain", False, UsageError),
        ("file:good", "chunked", False, UsageError),
    ],
)
def test_what_cannot_be_encrypted_is_not_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: str | None, kind: str, encrypt: bool,
    error: type[Exception],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    Path("short").write_text("hunter2")
    Path("good").write_text("ab" * 32)
    cfg = RepositoryConfig(name="one", url=str(tmp_path / "r"), domain="d", key=key)
    with pytest.raises(error) as refused:
        create_repository(cfg, NOW, kind=kind, encrypt=encrypt)  # type: ignore[arg-type]
    assert "hunter2" not in str(refused.value)
    assert not list(tmp_path.rglob("*.json"))


def test_a_seal_lies_there_in_a_box_and_is_read_as_ever(
    cfg: RepositoryConfig, tmp_path: Path
) -> None:
    found, seal = opened(cfg), seal_of()
    found.put_seal(seal)
    found.put_seal(seal)
    (file,) = tmp_path.rglob("seal.json")
    assert file.read_bytes().startswith(MAGIC)
    assert POINT.encode() not in written_below(tmp_path)
    assert found.read_seal(made.manifest("movies").key) == seal
    assert opened(cfg).read_seal(made.manifest("movies").key) == seal
    with pytest.raises(SealConflict):
        found.put_seal(seal_of("another"))
    catalog = read_catalog([found], cluster="prod")
    assert not catalog.unreadable


def test_a_rotten_seal_is_repaired_and_a_good_one_is_not_touched(
    cfg: RepositoryConfig, tmp_path: Path
) -> None:
    found, seal = opened(cfg), seal_of()
    found.put_seal(seal)
    (file,) = tmp_path.rglob("seal.json")
    good = file.read_bytes()
    found.repair_seal(seal)
    assert file.read_bytes() == good
    file.write_bytes(good[:900] + bytes([good[900] ^ 1]) + good[901:])
    with pytest.raises(BoxDamaged):
        found.read_seal(made.manifest("movies").key)
    with pytest.raises(SealConflict):
        found.put_seal(seal)
    found.repair_seal(seal)
    assert found.read_seal(made.manifest("movies").key) == seal
    with pytest.raises(SealConflict):
        found.repair_seal(seal_of("another"))


def test_a_seal_planted_in_clear_or_moved_is_not_believed(
    cfg: RepositoryConfig, tmp_path: Path
) -> None:
    found, seal = opened(cfg), seal_of()
    found.put_seal(seal)
    (file,) = tmp_path.rglob("seal.json")
    box = file.read_bytes()
    file.write_bytes(seal.to_bytes())
    with pytest.raises(BoxDamaged):
        found.read_seal(made.manifest("movies").key)
    path = str(file.relative_to(tmp_path / "vault"))
    file.write_bytes(seal_bytes(path, seal.to_bytes(), None))
    with pytest.raises(BoxDamaged, match=f"vault/{path} is not encrypted"):
        found.read_seal(made.manifest("movies").key)
    other = file.parents[2] / made.manifest("users").key.folder.split("/")[1] / file.parent.name
    other.mkdir(parents=True)
    (other / file.name).write_bytes(box)
    read = found.read_records(Seal, [str((other / file.name).relative_to(tmp_path / "vault"))])
    assert [type(u.error) for u in read.unreadable] == [BoxDamaged]


def test_what_is_encrypted_by_a_key_that_is_gone_says_so_and_stays(
    cfg: RepositoryConfig, tmp_path: Path
) -> None:
    found, seal = opened(cfg), seal_of()
    rotate(found, cfg, NOW)
    opened(cfg).put_seal(seal)  # with the new key
    (file,) = tmp_path.rglob("seal.json")
    before = file.read_bytes()
    read = found.read_records(Seal, [str(file.relative_to(tmp_path / "vault"))])
    assert [type(u.error) for u in read.unreadable] == [KeyMissing]
    with pytest.raises(KeyMissing):
        found.repair_seal(seal)
    assert file.read_bytes() == before


@pytest.mark.parametrize("lost", ["no key", "no file", "another", "empty", "recipient"])
def test_a_lost_key_names_the_slots_and_none_of_its_secret(
    cfg: RepositoryConfig, tmp_path: Path, lost: str
) -> None:
    _, text = another_key_file(tmp_path)
    add_slots(opened(cfg), parse_secret(text, "x"), NOW, label="safe, Berlin")
    slots = read_slots(opened(cfg)).records
    wrong, secret = another_key_file(tmp_path, "a third one")
    (tmp_path / "empty").write_text("\n")
    (tmp_path / "recipient").write_text(str(pyrage.x25519.Identity.generate().to_public()))
    key = {
        "no key": None,
        "no file": f"file:{tmp_path / 'gone'}",
        "another": wrong,
        "empty": f"file:{tmp_path / 'empty'}",
        "recipient": f"file:{tmp_path / 'recipient'}",
    }[lost]
    with pytest.raises(KeyMissing) as said:
        opened(cfg.model_copy(update={"key": key}))
    for slot in slots:
        assert slot.slot_id in said.value.message
    assert "safe, Berlin" in said.value.message
    assert "key file of 2" in said.value.message
    assert secret.strip() not in str(said.value)
    assert read_repository(cfg, stall_timeout=PATIENCE).record.layout == "chunked"


def test_an_unencrypted_repository_is_not_written_to_when_a_key_is_configured(
    cfg: RepositoryConfig, tmp_path: Path
) -> None:
    """Whoever may write there must not make us write in clear."""
    file = tmp_path / "vault" / "repository.json"
    clear = read_repository(cfg, stall_timeout=PATIENCE).record.model_copy(update={"key_id": None})
    file.write_bytes(clear.to_bytes())
    with pytest.raises(RepositoryMismatch, match="is not encrypted"):
        opened(cfg)


@pytest.mark.parametrize("key_id", ["kept", "taken out"])
def test_an_edited_layout_does_not_make_us_write_archives_in_clear(
    cfg: RepositoryConfig, tmp_path: Path, key_id: str
) -> None:
    """Whoever may write there must not get the next archive as it is."""
    file = tmp_path / "vault" / "repository.json"
    change = {"layout": "plain"} | ({} if key_id == "kept" else {"key_id": None})
    edited = read_repository(cfg, stall_timeout=PATIENCE).record.model_copy(update=change)
    file.write_bytes(edited.to_bytes())
    with pytest.raises(
        RecordDamaged if key_id == "kept" else RepositoryMismatch, match="encrypted"
    ):
        opened(cfg)


def test_slots_are_added_and_removed_but_never_the_last(
    cfg: RepositoryConfig, tmp_path: Path
) -> None:
    reference, text = another_key_file(tmp_path)
    found = opened(cfg)
    (first,) = read_slots(found).records
    with pytest.raises(PlanRefused, match="the last slot"):
        remove_slot(found, cfg, first.slot_id, execute=True)
    add_slots(found, parse_secret(text, "x"), NOW, label="safe")
    theirs = cfg.model_copy(update={"key": reference})
    assert opened(theirs).keys.ids == found.keys.ids  # type: ignore[union-attr]
    with pytest.raises(PlanRefused, match="opens no other slot"):
        remove_slot(found, cfg, first.slot_id, execute=True)
    with pytest.raises(NothingSelected, match="there is no slot"):
        remove_slot(found, cfg, "20260101T000000Z-000000", execute=True)
    remove_slot(found, theirs, first.slot_id, execute=False)
    assert len(read_slots(found).records) == 2
    remove_slot(found, theirs, first.slot_id, execute=True)
    with pytest.raises(KeyWrong):
        opened(cfg)
    # a run that has opened it goes on
    found.put_seal(seal_of())
    assert opened(theirs).read_seal(made.manifest("movies").key) == seal_of()


def test_a_forged_slot_beside_the_last_one_does_not_let_it_go(cfg: RepositoryConfig) -> None:
    found = opened(cfg)
    (first,) = read_slots(found).records
    forged = first.model_copy(update={"slot_id": "20260101T000000Z-000000", "label": "also good"})
    found.store.create(f"keys/{first.key_id}/{forged.slot_id}.json", forged.to_bytes())
    with pytest.raises(PlanRefused, match="the last slot"):
        remove_slot(found, cfg, first.slot_id, execute=True)


def test_a_rotation_encrypts_anew_and_reads_what_was(cfg: RepositoryConfig, tmp_path: Path) -> None:
    reference, text = another_key_file(tmp_path)
    before = opened(cfg)
    before.put_seal(seal_of())
    add_slots(before, parse_secret(text, "x"), NOW, label="safe")
    add_age(before, tmp_path)
    done = rotate(before, cfg, NOW - timedelta(days=9000))  # whatever the clock says
    assert {(s.locked_by, s.label) for s in done.slots} == {("key-file", ""), ("age", "Ana")}
    assert [s.label for s in done.left_out] == ["safe"]
    after = opened(cfg)
    assert after.keys is not None
    assert after.keys.ids == (before.record.key_id, done.slots[0].key_id)
    assert after.read_seal(made.manifest("movies").key) == seal_of()
    (file,) = tmp_path.rglob("seal.json")
    file.unlink()
    after.put_seal(seal_of())
    assert opened(cfg).read_seal(made.manifest("movies").key) == seal_of()
    with pytest.raises(KeyMissing):
        before.read_seal(made.manifest("movies").key)
    # who was left out reads what the old key opens, and writes nothing more with it: it may have
    # been stolen
    theirs = cfg.model_copy(update={"key": reference})
    assert opened(theirs).keys.ids == before.keys.ids  # type: ignore[union-attr]
    with pytest.raises(KeyWrong, match=f"was replaced by {done.slots[0].key_id}"):
        opened(theirs).put_seal(made.seal(made.manifest("users")))
    with pytest.raises(KeyWrong, match="was replaced by"):
        rotate(opened(theirs), theirs, NOW)
    (added,) = add_slots(after, parse_secret(text, "x"), NOW, label="safe")
    assert added.key_id == after.keys.ids[-1]
    assert add_slots(after, parse_secret(text, "x"), NOW, label="safe") == ()
    assert opened(theirs).keys.ids == after.keys.ids  # type: ignore[union-attr]
    newcomer, text = another_key_file(tmp_path, "a newcomer's")
    assert len(add_slots(after, parse_secret(text, "x"), NOW, label="")) == 2
    theirs = cfg.model_copy(update={"key": newcomer})
    assert opened(theirs).keys.ids == after.keys.ids  # type: ignore[union-attr]
    with_age = {"key": f"file:{tmp_path / 'age'}"}
    for secret in ({}, with_age):
        unnamed = cfg.model_copy(update={**secret, "key_id": None})
        assert opened(unnamed).read_seal(made.manifest("movies").key) == seal_of()
        assert_only_read(unnamed, "which master key is ours", f'"{before.record.key_id}"')
    for named in after.keys.ids:
        ours = opened(cfg.model_copy(update=with_age | {"key_id": named}))
        assert ours.keys is not None
        assert ours.keys.ids == after.keys.ids


def assert_only_read(cfg: RepositoryConfig, why: str, hint: str) -> None:
    """Whatever is written or deleted there is refused, with the same line."""
    there = opened(cfg)
    assert there.only_read is not None
    _, text = another_key_file(Path(cfg.key.removeprefix("file:")).parent, "a fourth one")  # type: ignore[union-attr]
    for write in (
        lambda: there.put_seal(made.seal(made.manifest("users"))),
        lambda: rotate(there, cfg, NOW),
        lambda: add_slots(there, parse_secret(text, "x"), NOW, label=""),
        lambda: remove_slot(there, cfg, "20260101T000000Z-000000", execute=True),
        lambda: export_text(there.keys),  # type: ignore[arg-type]
    ):
        with pytest.raises(KeyMissing, match=why) as said:
            write()
        assert hint in said.value.hint
    row = check_keys("vault", cfg, there)
    assert row.state == "failed"
    assert hint in (row.next_step or "")


def test_two_keys_that_follow_one_write_nothing_until_one_is_named(
    cfg: RepositoryConfig,
) -> None:
    """So it is when somebody stole a key before its rotation, and vouches for one of his own."""
    before = opened(cfg)
    before.put_seal(seal_of())
    ours, his = (rotate(before, cfg, NOW).slots[0].key_id for _ in range(2))
    forked = opened(cfg)
    assert forked.read_seal(made.manifest("movies").key) == seal_of()
    for write in (
        lambda: forked.put_seal(made.seal(made.manifest("users"))),
        lambda: rotate(forked, cfg, NOW),
    ):
        with pytest.raises(KeyWrong, match="one of them may be made by a thief") as said:
            write()
        assert ours in said.value.message
        assert his in said.value.message
    assert check_keys("vault", cfg, forked).state == "failed"
    named = opened(cfg.model_copy(update={"key_id": ours}))
    assert named.keys is not None
    assert named.keys.newest.id.hex() == ours
    assert named.read_seal(made.manifest("movies").key) == seal_of()
    named.put_seal(made.seal(made.manifest("users")))
    rotate(named, cfg, NOW)
    assert opened(cfg.model_copy(update={"key_id": ours})).keys.newest.id.hex() not in (ours, his)  # type: ignore[union-attr]


def test_an_old_key_does_not_come_back_when_the_newest_is_named(
    cfg: RepositoryConfig, tmp_path: Path
) -> None:
    first = opened(cfg)
    first.put_seal(seal_of())
    add_age(first, tmp_path)
    newest = rotate(first, cfg, NOW).slots[0].key_id
    shutil.rmtree(tmp_path / "vault" / "keys" / newest)
    named = cfg.model_copy(update={"key_id": newest})
    assert opened(named).read_seal(made.manifest("movies").key) == seal_of()
    assert_only_read(named, f"nothing ties that to key {newest}", "put its id as `key_id`")
    # what an age identity opens, anybody may have locked: it is not even read
    with pytest.raises(KeyWrong, match=f"nothing ties that to key {newest}"):
        opened(named.model_copy(update={"key": f"file:{tmp_path / 'age'}"}))


@pytest.mark.parametrize("named", ["the first key", "none"])
def test_what_our_secret_opens_is_read_though_a_key_between_is_lost(
    cfg: RepositoryConfig, tmp_path: Path, named: str
) -> None:
    """The configuration is of before two rotations, and the slots of the first are gone."""
    between = rotate(opened(cfg), cfg, NOW).slots[0].key_id
    newest = rotate(opened(cfg), cfg, NOW).slots[0].key_id
    opened(cfg).put_seal(seal_of())
    shutil.rmtree(tmp_path / "vault" / "keys" / between)
    old = cfg if named == "the first key" else cfg.model_copy(update={"key_id": None})
    assert opened(old).read_seal(made.manifest("movies").key) == seal_of()
    with pytest.raises(KeyMissing, match=newest if named == "the first key" else "is ours"):
        opened(old).put_seal(made.seal(made.manifest("users")))
    opened(cfg.model_copy(update={"key_id": newest})).put_seal(made.seal(made.manifest("users")))


def test_a_configuration_without_the_lost_keys_reads(cfg: RepositoryConfig, tmp_path: Path) -> None:
    lost = rotate(opened(cfg), cfg, NOW).slots[0].key_id
    opened(cfg).put_seal(made.seal(made.manifest("users")))
    shutil.rmtree(tmp_path / "vault" / "keys" / lost)
    third = rotate(opened(cfg), cfg, NOW).slots[0].key_id
    known = cfg.model_copy(update={"key_id": third, "lost_keys": (lost,)})
    opened(known).put_seal(seal_of())
    for old in (
        known.model_copy(update={"lost_keys": ()}),
        known.model_copy(update={"lost_keys": (), "key_id": cfg.key_id}),
        known.model_copy(update={"lost_keys": (), "key_id": None}),
        known.model_copy(update={"key_id": lost}),
    ):
        there = opened(old)
        assert there.read_seal(made.manifest("movies").key) == seal_of()
        with pytest.raises(KeyMissing):
            there.read_seal(made.manifest("users").key)
        with pytest.raises(KeyMissing):
            there.put_seal(made.seal(made.manifest("third")))


def add_age(found: Repository, folder: Path) -> None:
    """Lock the keys for an age identity, which is in a file there."""
    identity = pyrage.x25519.Identity.generate()
    (folder / "age").write_text(str(identity))
    add_slots(found, str(identity.to_public()), NOW, label="Ana")


def test_where_something_has_a_key_that_no_slot_opens_nothing_is_encrypted(
    cfg: RepositoryConfig, tmp_path: Path
) -> None:
    """So it looks when a thief of the old key took away the slots of the one that replaced it."""
    newest = rotate(opened(cfg), cfg, NOW).slots[0].key_id
    opened(cfg).put_seal(seal_of())
    slots = tmp_path / "vault" / "keys" / newest
    slots.rename(tmp_path / "slots")
    rolled_back = opened(cfg)
    with pytest.raises(KeyMissing):
        rolled_back.read_seal(made.manifest("movies").key)
    with pytest.raises(KeyWrong, match=f"encrypted with key {newest}, which no slot") as said:
        rolled_back.put_seal(made.seal(made.manifest("users")))
    assert f'lost_keys: ["{newest}"]' in said.value.hint
    # it is really lost: another one follows, and the lost one is known to be
    third = rotate(opened(cfg), cfg, NOW).slots[0].key_id
    known = cfg.model_copy(update={"key_id": third, "lost_keys": (newest,)})
    goes_on = opened(known)
    with pytest.raises(KeyMissing):
        goes_on.read_seal(made.manifest("movies").key)
    goes_on.put_seal(made.seal(made.manifest("users")))
    # and it was not: its slots are back
    shutil.rmtree(tmp_path / "vault" / "keys" / third)
    (tmp_path / "slots").rename(slots)
    assert opened(cfg).read_seal(made.manifest("movies").key) == seal_of()


def test_a_flipped_bit_is_no_unknown_key(cfg: RepositoryConfig, tmp_path: Path) -> None:
    found = opened(cfg)
    found.put_seal(seal_of())
    (file,) = tmp_path.rglob("seal.json")
    box = bytearray(file.read_bytes())
    box[-75] ^= 1  # of the key id
    file.write_bytes(box)
    with pytest.raises(BoxDamaged):
        found.read_seal(made.manifest("movies").key)
    found.put_seal(made.seal(made.manifest("users")))


def test_a_copy_whose_seal_is_of_another_key_is_not_called_bad(
    cfg: RepositoryConfig, tmp_path: Path
) -> None:
    reference, text = another_key_file(tmp_path)
    found = opened(cfg)
    add_slots(found, parse_secret(text, "x"), NOW, label="safe")
    rotate(found, cfg, NOW)
    manifest = made.manifest("movies")
    opened(cfg).put_manifest_bytes(manifest.key, manifest.to_bytes())
    opened(cfg).put_seal(made.seal(manifest))

    def state(of: RepositoryConfig) -> tuple[str, int]:
        catalog = read_catalog([opened(of)], cluster="prod")
        return catalog.backups[0].copies[0].state, len(catalog.unreadable)

    good = state(cfg)
    theirs = cfg.model_copy(update={"key": reference})
    assert good[1] == 0
    assert state(theirs) == (good[0], 1)  # told as unreadable


def test_an_export_opens_it_when_every_slot_is_gone(cfg: RepositoryConfig, tmp_path: Path) -> None:
    found = opened(cfg)
    found.put_seal(seal_of())
    rotate(found, cfg, NOW)
    keys = opened(cfg).keys
    assert keys is not None
    (tmp_path / "exported").write_text(export_text(keys))
    shutil.rmtree(tmp_path / "vault" / "keys")
    with pytest.raises(KeyWrong, match="there are none"):
        opened(cfg)
    saved = cfg.model_copy(update={"key": f"file:{tmp_path / 'exported'}"})
    assert opened(saved).read_seal(made.manifest("movies").key) == seal_of()
    with pytest.raises(PlanRefused, match="nobody could open"):
        rotate(opened(saved), saved, NOW)
    _, text = another_key_file(tmp_path)
    add_slots(opened(saved), parse_secret(text, "x"), NOW, label="again")
    again = cfg.model_copy(update={"key": f"file:{tmp_path / 'other.key'}"})
    ring = opened(again).keys
    assert ring is not None
    assert ring.ids == keys.ids


def test_a_key_that_a_stranger_locked_for_us_is_never_used(
    cfg: RepositoryConfig, tmp_path: Path
) -> None:
    identity = pyrage.x25519.Identity.generate()
    (tmp_path / "age").write_text(str(identity))
    found = opened(cfg)
    add_slots(found, str(identity.to_public()), NOW, label="")
    his = make_slot(MasterKey.generate(), str(identity.to_public()), NOW + timedelta(days=1))
    found.store.create(f"keys/{his.key_id}/{his.slot_id}.json", his.to_bytes())
    ours = cfg.model_copy(update={"key": f"file:{tmp_path / 'age'}", "key_id": found.record.key_id})
    assert opened(ours).keys.ids == found.keys.ids  # type: ignore[union-attr]


def test_a_slot_that_cannot_be_read_is_told_and_the_others_open(
    cfg: RepositoryConfig, tmp_path: Path
) -> None:
    found = opened(cfg)
    _, text = another_key_file(tmp_path)
    (slot,) = add_slots(found, parse_secret(text, "x"), NOW, label="")
    file = tmp_path / "vault" / "keys" / slot.key_id / f"{slot.slot_id}.json"
    file.write_bytes(file.read_bytes()[:100])
    assert opened(cfg).keys is not None
    assert [u.path for u in read_slots(found).unreadable] == [
        str(file.relative_to(tmp_path / "vault"))
    ]
    with pytest.raises(KeyMissing, match=slot.slot_id):
        opened(cfg.model_copy(update={"key": None}))


@pytest.mark.parametrize("tell", [repr, str, lambda c: c.model_dump_json()])
def test_the_configuration_has_the_reference_only(
    cfg: RepositoryConfig, tmp_path: Path, tell: Callable[[RepositoryConfig], str]
) -> None:
    text = (tmp_path / "vault.key").read_text().strip()
    assert text not in tell(cfg)
    assert text not in repr(opened(cfg))


def test_an_opened_repository_is_not_handed_to_another_process(cfg: RepositoryConfig) -> None:
    import pickle

    with pytest.raises(TypeError):
        pickle.dumps(opened(cfg).keys)


def test_a_creation_that_was_cut_short_is_repeated(cfg: RepositoryConfig, tmp_path: Path) -> None:
    """The slot of the first try stays and opens with the same secret; its key is never used."""
    first = opened(cfg).keys
    (tmp_path / "vault" / "repository.json").unlink()
    made_id = create_repository(cfg, NOW, kind="chunked", encrypt=True)
    again = pinned(cfg.model_copy(update={"id": made_id}))
    second = opened(again).keys
    assert first is not None
    assert second is not None
    assert second.ids == (*first.ids, again.key_id)
    assert second.ids != first.ids
    assert len(read_slots(opened(again)).records) == 2


def test_a_prefix_that_was_copied_opens_elsewhere(cfg: RepositoryConfig, tmp_path: Path) -> None:
    opened(cfg).put_seal(seal_of())
    shutil.copytree(tmp_path / "vault", tmp_path / "copy")
    there = cfg.model_copy(update={"url": f"file://{tmp_path / 'copy'}"})
    copied = open_repository(there, stall_timeout=PATIENCE)
    assert copied.read_seal(made.manifest("movies").key) == seal_of()


def test_a_passphrase_from_the_environment_opens_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QDR_TEST_PASSPHRASE", "correct horse battery staple")
    cfg = RepositoryConfig(name="v", url=str(tmp_path / "v"), domain="d")
    made_cfg = encrypted_config(cfg, "env:QDR_TEST_PASSPHRASE", NOW)
    assert opened(made_cfg).keys is not None
    assert b"horse" not in written_below(tmp_path)
    monkeypatch.setenv("QDR_TEST_PASSPHRASE", "correct horse battery stapler")
    with pytest.raises(KeyWrong, match=r"passphrase of 2026-11-30") as said:
        opened(made_cfg)
    assert "horse" not in str(said.value)
