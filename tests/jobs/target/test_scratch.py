"""Scratch folders do not outlive their owner, however it dies."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from qdrant_dr.errors import FolderUnsafe, PlanRefused, StorageFull
from qdrant_dr.jobs.check.space import Size, check_space
from qdrant_dr.jobs.restore import journal as restore_journal
from qdrant_dr.jobs.restore.journal import journal_of, unfinished
from qdrant_dr.jobs.run import call_journal as calls
from qdrant_dr.jobs.run import undelivered
from qdrant_dr.jobs.run.call_journal import CallJournal
from qdrant_dr.jobs.run.scratch_dir import (
    JOURNALS,
    LOCK,
    NEW,
    PREFIX,
    abandoned,
    dead_folders,
    empty_scratch,
    own_spool,
    remove_scratch,
    scratch_folder,
    sweep_scratch,
)
from qdrant_dr.jobs.run.undelivered import deliver, keep_for
from qdrant_dr.jobs.sweep.left_snapshots import _forget_dead as forget_dead
from qdrant_dr.records import Intent
from tests.support import records as made
from tests.support.stores import repository_on_disk

HOLD = """
import sys, time
from qdrant_dr.jobs.run.scratch_dir import scratch_folder
with scratch_folder(sys.argv[1], sys.argv[2]) as folder:
    (folder / "data").write_bytes(b"x" * 1000)
    print("ready", flush=True)
    time.sleep(60)
"""


def hold_and_kill(spool: Path, name: str) -> None:
    owner = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(spool), name], stdout=subprocess.PIPE, text=True
    )
    assert owner.stdout is not None
    assert owner.stdout.readline() == "ready\n"
    os.kill(owner.pid, signal.SIGKILL)
    owner.wait()
    owner.stdout.close()


def test_is_removed_at_the_end(tmp_path: Path) -> None:
    with scratch_folder(tmp_path, "one") as folder:
        (folder / "x").write_text("y")
        assert abandoned(tmp_path, "one") is False
    assert list(tmp_path.iterdir()) == []
    assert abandoned(tmp_path, "one") is None


def test_is_removed_when_its_block_raises(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), scratch_folder(tmp_path, "one"):
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


def test_a_killed_owner_leaves_a_folder_that_the_next_sweeps(tmp_path: Path) -> None:
    hold_and_kill(tmp_path, "dead")
    assert abandoned(tmp_path, "dead") is True
    with scratch_folder(tmp_path, "next") as folder:
        assert [p.name for p in tmp_path.iterdir()] == [folder.name]


def test_a_capture_is_swept_only_by_who_looks_after_its_snapshot(tmp_path: Path) -> None:
    hold_and_kill(tmp_path, "capture-7")
    assert sweep_scratch(tmp_path) == ()
    assert abandoned(tmp_path, "capture-7") is True
    remove_scratch(tmp_path, "capture-7")
    assert list(tmp_path.iterdir()) == []


def test_living_owners_are_never_swept(tmp_path: Path) -> None:
    """Many owners at once: each makes, fills and reads its folder while all others sweep."""
    lost: list[str] = []

    def own(name: str) -> None:
        for turn in range(20):
            with scratch_folder(tmp_path, f"{name}-{turn}") as folder:
                (folder / "data").write_text(name)
                time.sleep(0.001)
                if not (folder / "data").exists():
                    lost.append(f"{name}-{turn}")

    threads = [threading.Thread(target=own, args=(f"t{n}",)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert lost == []
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    refused = pytest.raises(StorageFull, match="no scratch space at ")
    with refused, scratch_folder(tmp_path / "file" / "below", "x"):
        pass


# a spool in which others write, as below /tmp


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    folder = tmp_path / "victim"
    folder.mkdir()
    (folder / "treasure").write_text("gold")
    return folder


@pytest.fixture
def spool(tmp_path: Path) -> Path:
    folder = tmp_path / "spool"
    folder.mkdir()
    folder.chmod(0o1777)
    return folder


@pytest.mark.parametrize("name", ["capture-7", "drill-7", "proof-7"])
def test_a_link_is_never_followed(spool: Path, victim: Path, name: str) -> None:
    for at in (spool / f"{PREFIX}{name}", spool / f"{NEW}x"):
        at.symlink_to(victim)
    assert dead_folders(spool, name.partition("-")[0]) == ()
    assert abandoned(spool, name) is None
    assert sweep_scratch(spool) == ()
    empty_scratch(spool, name)
    remove_scratch(spool, name)
    assert (victim / "treasure").read_text() == "gold"


def test_a_link_within_a_folder_of_ours_is_removed_itself(spool: Path, victim: Path) -> None:
    hold_and_kill(spool, "capture-7")
    inside = spool / f"{PREFIX}capture-7"
    (inside / "link").symlink_to(victim)
    (inside / "below").mkdir()
    (inside / "below" / "link").symlink_to(victim)
    empty_scratch(spool, "capture-7")
    assert [p.name for p in inside.iterdir()] == [LOCK]
    assert abandoned(spool, "capture-7") is True
    assert (victim / "treasure").exists()


def test_stray_files_and_folders_are_no_defect_of_ours(spool: Path) -> None:
    strays = {f"{PREFIX}drill-file", f"{PREFIX}capture-file", f"{NEW}file", "lost+found", "notes"}
    for name in strays:
        (spool / name).write_text("mine")
    os.mkfifo(spool / f"{PREFIX}proof-fifo")
    assert (dead_folders(spool, "drill"), dead_folders(spool, "capture")) == ((), ())
    with scratch_folder(spool, "one"):
        pass
    assert {p.name for p in spool.iterdir()} == {*strays, f"{PREFIX}proof-fifo"}


def test_a_folder_with_no_id_in_its_name_ends_no_sweep(spool: Path) -> None:
    (spool / f"{PREFIX}capture-by-hand").mkdir()
    assert dead_folders(spool, "capture") == ("capture-by-hand",)
    forget_dead(str(spool), "http://a:6333", [], made.NOW)
    assert (spool / f"{PREFIX}capture-by-hand").is_dir()


@pytest.mark.skipif(os.getuid() != 0, reason="only root can make a folder of another user")
def test_what_another_user_left_is_not_touched(spool: Path) -> None:
    for name in ("capture-7", "proof-7"):
        hold_and_kill(spool, name)
        os.chown(spool / f"{PREFIX}{name}", 4242, 4242)
    assert dead_folders(spool, "capture") == ()
    assert sweep_scratch(spool) == ()
    assert abandoned(spool, "capture-7") is None
    assert len(list(spool.iterdir())) == 2


def test_a_spool_that_others_may_change_is_refused(tmp_path: Path) -> None:
    (tmp_path / "somebody's").touch()
    tmp_path.chmod(0o777)
    with pytest.raises(FolderUnsafe, match="other users may write"), scratch_folder(tmp_path, "x"):
        pass
    with (
        pytest.raises(FolderUnsafe, match="other users may write"),
        journal_of(tmp_path, "http://t:6333", "movies"),
    ):
        pass


def test_a_journal_in_a_folder_of_others_is_not_believed(spool: Path) -> None:
    (spool / JOURNALS).mkdir()
    (spool / JOURNALS / "x").touch()
    with journal_of(spool, "http://t:6333", "movies"):
        pass
    (path,) = {restore_journal._path(spool, "http://t:6333", "movies")}
    path.symlink_to("/etc/passwd")
    with pytest.raises(PlanRefused, match=r"cannot be read: .* a link"):
        unfinished(spool, "http://t:6333", "movies")
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(PlanRefused, match="a FIFO"):
        unfinished(spool, "http://t:6333", "movies")
    if os.getuid() == 0:
        os.chown(spool / JOURNALS, 4242, 4242)
        with pytest.raises(FolderUnsafe, match="another user"):
            unfinished(spool, "http://t:6333", "movies")


def test_check_tells_of_an_unsafe_spool_and_changes_nothing(tmp_path: Path) -> None:
    spool = tmp_path / "spool"
    config = made.config(capture={"spool": {"path": str(spool)}})

    def row() -> tuple[str, str]:
        (found,) = [r for r in check_space(config, {"movies": Size(1)}, []) if r.scope == "spool"]
        return found.state, found.found

    assert row()[0] == "ok"
    assert not spool.exists()
    spool.mkdir()
    (spool / "a stranger's").touch()
    spool.chmod(0o777)
    state, said = row()
    assert (state, "other users may write" in said) == ("failed", True)


# other folders in the spool that are believed later


@pytest.fixture
def waiting(spool: Path, tmp_path: Path) -> Callable[[], list[str]]:
    """A run's end waits for a repository; what was delivered to it."""
    repository = repository_on_disk(tmp_path / "one")
    keep_for(spool, [repository.id], made.run_end())

    def delivered() -> list[str]:
        deliver(spool, {"one": repository})
        return [p.name for p in (tmp_path / "one").glob("runs/**/*.end.json")]

    return delivered


def plant(spool: Path) -> Path:
    """The end of a run of somebody else beside the one that waits."""
    (folder,) = (spool / undelivered.FOLDER).iterdir()
    end = made.run_end(made.run_start("expire"))
    file = folder / f"{end.start.run_id}.end.json"
    file.write_bytes(end.to_bytes())
    return file


def test_undelivered_records_are_delivered_later(
    waiting: Callable[[], list[str]], spool: Path
) -> None:
    plant(spool)
    assert len(waiting()) == 2
    assert list(spool.glob(f"{undelivered.FOLDER}/*/*")) == []


@pytest.mark.parametrize("where", ["", "*"])
def test_nothing_is_delivered_from_where_others_write(
    waiting: Callable[[], list[str]], spool: Path, where: str
) -> None:
    (folder,) = (spool / undelivered.FOLDER).glob(where) if where else [spool / undelivered.FOLDER]
    folder.chmod(0o777)
    plant(spool)
    assert waiting() == []
    keep_for(spool, [next((spool / undelivered.FOLDER).iterdir()).name], made.run_end())
    folder.chmod(0o700)
    assert len(waiting()) == 2


def test_a_link_is_not_delivered_and_a_pipe_not_waited_for(
    waiting: Callable[[], list[str]], spool: Path, tmp_path: Path
) -> None:
    file = plant(spool)
    (tmp_path / "elsewhere").write_bytes(file.read_bytes())
    file.unlink()
    file.symlink_to(tmp_path / "elsewhere")
    os.mkfifo(file.with_name("20260101T000000Z-abcdef.end.json"))
    assert len(waiting()) == 1
    assert (tmp_path / "elsewhere").exists()


def test_every_folder_that_we_keep_there_is_known_as_ours(spool: Path) -> None:
    """Else a spool with one in it would be refused under a loose umask."""
    keep_for(spool, ["0" * 8], made.run_end())
    intent = Intent(
        run_id="20261122T101530Z-aaaaaa", backup_id="20261122T101530Z-7f3a9c", cluster="prod",
        collection="movies", node="http://a:6333", started_at=made.NOW, listed_before=(),
        tool_version="0",
    )  # fmt: skip
    CallJournal(spool).intend(1, intent)
    with journal_of(spool, "http://t:6333", "movies") as journal, scratch_folder(spool, "x"):
        assert journal.found is None
        spool.chmod(0o775)
        assert own_spool(spool) == spool
    assert stat.S_IMODE(spool.stat().st_mode) == 0o755
    assert {p.name for p in spool.iterdir()} == {JOURNALS, calls.FOLDER, undelivered.FOLDER}
