"""The ledger on every store: dense, chained, never forked, and cheap to go on."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from qdrant_dr import layout
from qdrant_dr.errors import Conflict, LedgerBroken, RepositoryUnreachable
from qdrant_dr.records.ledger import FIRST, LedgerEntry, Written
from qdrant_dr.repository import Repository
from qdrant_dr.repository.ledger import append_entry, read_entry, read_head
from qdrant_dr.repository.ledger_head import LedgerHead
from qdrant_dr.repository.ledger_memory import LedgerMemory
from qdrant_dr.signing.ssh_keys import new_key
from tests.support.stores import Place, repository_in
from tests.support.thorough import THOROUGH

KEY = new_key()


class Counting:
    """A store that counts its requests, and may lose the answer to one."""

    def __init__(self, store: Any) -> None:
        self._store, self.asked = store, Counter[str]()
        self.lose: Callable[[str, str], bool] = lambda *_: False

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._store, name)
        if not callable(method):
            return method

        def asked(path: str, *args: Any) -> Any:
            self.asked[name] += 1
            done = method(path, *args)
            if self.lose(name, path):
                raise RepositoryUnreachable("no answer in time")
            return done

        return asked


@pytest.fixture
def repository(place: Place) -> Repository:
    return repository_in(place.config(), datetime(2026, 1, 1, tzinfo=UTC))


def entry_of(repository: Repository, job: str = "backup") -> Callable[[LedgerHead], LedgerEntry]:
    def after(head: LedgerHead) -> LedgerEntry:
        return LedgerEntry(
            repository_id=repository.id, location=repository.location, number=head.number + 1,
            previous=head.sha256, previous_stored_at=head.stored_at, at=datetime.now(UTC),
            cluster="prod", run_id=None, job=job, signer=KEY.public.fingerprint,
            records=(Written(path="repository.json", sha256="0" * 64, size_bytes=1),),
        )  # fmt: skip

    return after


def appended(repository: Repository, times: int = 1, head: LedgerHead | None = None) -> LedgerHead:
    head = head or read_head(repository)
    for _ in range(times):
        _, head = append_entry(repository, head, entry_of(repository), KEY)
    return head


def checked(repository: Repository) -> list[LedgerEntry]:
    """All entries: dense, each with the hash of the one before, each signed."""
    files = repository.store.find(layout.EVIDENCE)
    numbers = [n for s in files if (n := layout.entry_number(s.path)) is not None]
    assert numbers == list(range(1, len(numbers) + 1))
    assert len(files) == 2 * len(numbers)
    previous, entries = FIRST, []
    for number in numbers:
        data = repository.store.read(layout.ledger_entry(number))
        entries.append(LedgerEntry.from_bytes(data, where=str(number)))
        assert entries[-1].previous == previous
        previous = hashlib.sha256(data).hexdigest()
    return entries


def test_a_new_machine_finds_the_end(repository: Repository) -> None:
    assert read_head(repository) == LedgerHead()
    head = appended(repository, 3)
    found = read_head(repository)
    assert (found.number, found.sha256, found.unsigned) == (3, head.sha256, 0)
    assert found.doubts == ()
    assert len(checked(repository)) == 3


def test_an_end_is_found_across_folders(repository: Repository) -> None:
    last = layout.ENTRIES_PER_FOLDER - 1
    head = LedgerHead(number=last - 1, sha256="a" * 64)
    for number in range(last, last + 3):
        _, head = append_entry(repository, head, entry_of(repository), KEY)
        assert head.number == number
        assert read_head(repository).number == number
    old = LedgerHead(number=last, sha256=read_entry(repository, last).sha256)
    memory = LedgerMemory(Path(os.environ["HOME"]) / f"ledger-{repository.id}", repository.id)
    assert memory.head() is None
    memory.remember(replace(head, number=old.number, sha256=old.sha256))
    known = memory.head()
    assert read_head(repository, known).number == last + 2


def test_going_on_costs_three_requests(repository: Repository, tmp_path: Path) -> None:
    memory = LedgerMemory(tmp_path, repository.id)
    memory.remember(appended(repository))
    counting = Counting(repository.store)
    there = replace(repository, store=counting)
    for _ in range(3):
        counting.asked.clear()
        head = read_head(there, memory.head())
        _, after = append_entry(there, head, entry_of(there), KEY)
        memory.remember(after)
        kept = counting.asked.pop("read", 0)
        assert counting.asked == {"find": 1, "create": 2}
        # a store that lists no MD5 is read once more
        assert kept == (0 if repository.location.protocol in ("s3", "gs", "az") else 1)
    assert [e.previous_stored_at is None for e in checked(repository)] == [
        True,
        False,
        False,
        False,
    ]


def test_who_loses_the_race_builds_on_the_winner(repository: Repository) -> None:
    stale = read_head(repository)
    appended(repository, 2)
    _, head = append_entry(repository, stale, entry_of(repository, "verify"), KEY)
    assert head.number == 3
    entries = checked(repository)
    assert [e.job for e in entries] == ["backup", "backup", "verify"]
    assert entries[2].previous_stored_at is not None
    assert head.doubts == ()


def test_a_lost_answer_is_no_second_entry(repository: Repository) -> None:
    counting = Counting(repository.store)
    there = replace(repository, store=counting)
    lost: set[str] = set()

    def lose(name: str, path: str) -> bool:
        if name != "create" or path in lost:
            return False
        lost.add(path)
        return True

    counting.lose = lose
    appended(there, 2)
    assert len(lost) == 4
    assert len(checked(repository)) == 2


def test_an_entry_that_follows_something_else_is_told(repository: Repository) -> None:
    stale = read_head(repository)
    appended(repository)
    forged = entry_of(repository)(LedgerHead(number=1, sha256="b" * 64))
    repository.store.create(layout.ledger_entry(2), forged.to_bytes())
    _, head = append_entry(repository, stale, entry_of(repository), KEY)
    assert head.number == 3
    (doubt,) = head.doubts
    assert isinstance(doubt, LedgerBroken)
    assert "does not follow" in doubt.message


def test_an_unsigned_end_is_counted_and_covered(repository: Repository) -> None:
    for _ in range(2):
        append_entry(repository, read_head(repository), entry_of(repository), None)
    assert read_head(repository).unsigned == 2
    assert appended(repository).unsigned == 0
    assert read_head(repository).unsigned == 0


def test_an_entry_is_never_replaced(repository: Repository) -> None:
    appended(repository)
    with pytest.raises(Conflict):
        repository.store.create(layout.ledger_entry(1), b"{}")


RACER = """
import sys
from datetime import timedelta
from qdrant_dr.config import RepositoryConfig
from qdrant_dr.repository import open_repository
from tests.contract.test_ledger import appended
repository = open_repository(
    RepositoryConfig.model_validate_json(sys.argv[1]), stall_timeout=timedelta(seconds=60)
)
for _ in range(int(sys.argv[2])):
    appended(repository)
"""


def test_racing_writers_never_fork_it(place: Place) -> None:
    place.need("processes")
    writers, times = (8, 20) if THOROUGH else (4, 4)
    cfg = place.config()
    repository = repository_in(cfg)
    given = cfg.model_copy(update={"id": repository.id}).model_dump_json()
    racers = [
        subprocess.Popen([sys.executable, "-c", RACER, given, str(times)]) for _ in range(writers)
    ]
    assert [racer.wait(170) for racer in racers] == [0] * writers
    assert len(checked(repository)) == writers * times
