"""Time stamps beside entries: by a time server that is `openssl ts`."""

from __future__ import annotations

import hashlib
import shutil
from datetime import timedelta
from pathlib import Path

import pytest

from qdrant_dr.evidence.check import Check
from qdrant_dr.evidence.ledger_reader import Line
from qdrant_dr.evidence.time_stamps import TimeStamps
from qdrant_dr.jobs.run.timestamp import ask_for_time
from qdrant_dr.records.ledger import LedgerEntry
from qdrant_dr.signing.timestamps import read_reply
from tests.signing.test_timestamps import server
from tests.support.ledgers import Ledger

__all__ = ["server"]

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")


@pytest.fixture
def entry(tmp_path: Path) -> LedgerEntry:
    return Ledger(tmp_path / "one", None).append()


@pytest.fixture
def stamped(entry: LedgerEntry, server: tuple[str, Path]) -> tuple[LedgerEntry, bytes]:
    """An entry of just now, and a stamp of it."""
    at = read_reply(ask_for_time(server[0], b"what time is it?")).at
    now = entry.model_copy(update={"at": at})
    return now, ask_for_time(server[0], now.to_bytes())


def judged(entry: LedgerEntry, token: bytes | None) -> Check | None:
    data = entry.to_bytes()
    line = Line(1, "", data, hashlib.sha256(data).hexdigest(), entry, token=token)
    stamps = TimeStamps()
    stamps.add(line)
    return stamps.check()


def state(check: Check | None) -> str | None:
    return check and check.state


def test_whose_a_stamp_is_is_left_to_openssl(stamped: tuple[LedgerEntry, bytes]) -> None:
    check = judged(*stamped)
    assert check is not None
    assert check.state == "not checked"
    assert "openssl ts -verify" in (check.next_command or "")
    assert judged(stamped[0], None) is None


def test_a_stamp_of_something_else_or_of_another_time_is_seen(
    stamped: tuple[LedgerEntry, bytes], server: tuple[str, Path]
) -> None:
    entry, token = stamped
    other = entry.model_copy(update={"job": "verify"})
    assert state(judged(other, token)) == "failed"
    assert state(judged(entry, b"no stamp")) == "failed"
    for shift, wanted in ((timedelta(days=2), "failed"), (timedelta(days=-2), "doubt")):
        moved = entry.model_copy(update={"at": entry.at + shift})
        assert state(judged(moved, ask_for_time(server[0], moved.to_bytes()))) == wanted
