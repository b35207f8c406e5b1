"""`check` opens a slot of an encrypted repository, and warns when only one is left."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from qdrant_dr.jobs.check.keys import check_keys
from qdrant_dr.repository.keyrings import add_slots, rotate
from qdrant_dr.vault.key_secret import parse_secret
from qdrant_dr.vault.key_slots import export_text
from tests.support.encrypted import encrypted_on_disk, opened

NOW = datetime(2026, 11, 30, 18, tzinfo=UTC)
SCOPE = "repository vault"


def test_one_slot_is_a_warning_and_two_are_not(tmp_path: Path) -> None:
    cfg = encrypted_on_disk(tmp_path)
    row = check_keys(SCOPE, cfg, opened(cfg))
    assert row.state == "degraded"
    assert "key file of 2" in row.found
    assert "qdrant-dr key add vault" in str(row.next_step)
    add_slots(opened(cfg), parse_secret("cd" * 32, "x"), NOW, label="safe")
    row = check_keys(SCOPE, cfg, opened(cfg))
    assert (row.state, row.found.partition(": ")[2][:12]) == ("ok", "1 of 2 slots")
    rotate(opened(cfg), cfg, NOW)
    assert check_keys(SCOPE, cfg, opened(cfg)).state == "degraded"  # the new key has one


def test_an_export_without_a_slot_is_a_warning(tmp_path: Path) -> None:
    cfg = encrypted_on_disk(tmp_path)
    keys = opened(cfg).keys
    assert keys is not None
    (tmp_path / "exported").write_text(export_text(keys))
    exported = cfg.model_copy(update={"key": f"file:{tmp_path / 'exported'}"})
    row = check_keys(SCOPE, exported, opened(exported))
    assert row.state == "degraded"
    assert "0 of 1 slots" in row.found


def test_a_secret_that_is_gone_since_it_was_opened_fails(tmp_path: Path) -> None:
    cfg = encrypted_on_disk(tmp_path)
    found = opened(cfg)
    (tmp_path / "vault.key").unlink()
    row = check_keys(SCOPE, cfg, found)
    assert (row.state, row.code) == ("failed", "secret-missing")
