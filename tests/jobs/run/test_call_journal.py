"""What this machine remembers of its calls is believed only if nobody else can have written it."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from qdrant_dr.jobs.run.call_journal import CallJournal
from qdrant_dr.records import Intent, ListedSnapshot, SnapshotAnswer
from tests.support import records as made


def intent(number: int = 0) -> Intent:
    return Intent(
        run_id="20261122T120000Z-aaaaaa", backup_id=f"20261122T120000Z-{number:06x}",
        cluster="shop", collection="movies", node="http://127.0.0.1:9", started_at=made.NOW,
        listed_before=(), tool_version="0.1.0", names_before=(),
    )  # fmt: skip


def answer(of: Intent, name: str = "movies-1.snapshot") -> SnapshotAnswer:
    snapshot = ListedSnapshot(name=name, size_bytes=1, checksum="0" * 64)
    return SnapshotAnswer(
        backup_id=of.backup_id, node=of.node, answered_at=made.NOW, snapshot=snapshot
    )


def test_a_call_is_known_until_it_is_forgotten(tmp_path: Path) -> None:
    journal, of = CallJournal(tmp_path / "spool"), intent()
    assert journal.calls() == ()
    assert not journal.knows(1, of, None)
    journal.intend(1, of)
    assert journal.knows(1, of, None)
    assert not journal.knows(1, of, answer(of))
    assert not journal.knows(2, of, None)
    journal.answered(1, answer(of))
    (call,) = CallJournal(tmp_path / "spool").calls()
    assert (call.number, call.intent, call.answer) == (1, of, answer(of))
    assert journal.knows(1, of, answer(of))
    assert not journal.knows(1, of, answer(of, "another.snapshot"))
    assert not journal.knows(1, of.model_copy(update={"node": "http://other:6333"}), None)
    journal.forget(of.backup_id, 1)
    assert journal.calls() == ()
    assert list((tmp_path / "spool").iterdir()) == []
    journal.forget(of.backup_id, 1)


def test_it_is_for_nobody_else_to_read_or_write(tmp_path: Path) -> None:
    CallJournal(tmp_path).intend(1, intent())
    folder = tmp_path / "calls"
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {f.stat().st_mode & 0o777 for f in folder.iterdir()} == {0o600}


def a_link_instead(folder: Path) -> None:
    folder.rename(folder.with_name("theirs"))
    folder.symlink_to(folder.with_name("theirs"))


def a_file_for_all(folder: Path) -> None:
    next(folder.iterdir()).chmod(0o666)


def a_link_to_a_file(folder: Path) -> None:
    file = next(folder.iterdir())
    file.rename(folder.parent / "theirs.json")
    file.symlink_to(folder.parent / "theirs.json")


def a_pipe(folder: Path) -> None:
    file = next(folder.iterdir())
    file.unlink()
    os.mkfifo(file)


def edited(folder: Path) -> None:
    file = next(folder.iterdir())
    file.write_bytes(file.read_bytes().replace(b"movies", b"orders"))


def endless(folder: Path) -> None:
    os.truncate(next(folder.iterdir()), 2**40)


@pytest.mark.parametrize(
    "tamper",
    [
        lambda folder: folder.chmod(0o777), a_link_instead, a_file_for_all, a_link_to_a_file,
        a_pipe, edited, endless,
    ],
)  # fmt: skip
def test_what_another_may_have_written_is_not_believed(tmp_path: Path, tamper: object) -> None:
    journal = CallJournal(tmp_path)
    journal.intend(1, intent())
    tamper(tmp_path / "calls")  # type: ignore[operator]
    assert journal.calls() == ()
    assert not journal.knows(1, intent(), None)


def test_of_another_user_it_is_not_believed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = CallJournal(tmp_path)
    journal.intend(1, intent())
    monkeypatch.setattr(os, "getuid", lambda: 4711)
    assert journal.calls() == ()
    assert not journal.knows(1, intent(), None)
    journal.intend(1, intent(7))
    monkeypatch.undo()
    assert len(journal.calls()) == 1


def test_where_nothing_can_be_written_a_capture_goes_on(tmp_path: Path) -> None:
    (tmp_path / "spool").write_text("a file")
    journal = CallJournal(tmp_path / "spool")
    journal.intend(1, intent())
    assert journal.calls() == ()


def test_many_captures_at_once_lose_nothing(tmp_path: Path) -> None:
    """Whoever forgets the last call removes the folder, in the middle of another's first."""
    lost: list[int] = []

    def capture(number: int) -> None:
        journal = CallJournal(tmp_path)
        for turn in range(15):
            of = intent(number * 1000 + turn)
            journal.intend(1, of)
            if not journal.knows(1, of, None):
                lost.append(number)
            journal.forget(of.backup_id, 1)

    threads = [threading.Thread(target=capture, args=(n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert lost == []
    assert list(tmp_path.iterdir()) == []
