"""What lies on this machine: nobody else's folder is used, and what is no file is not read."""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path

import pytest

from qdrant_dr.disk import NoFile, TooLarge, is_own_folder, own_folder, read_regular
from qdrant_dr.errors import FolderUnsafe

SETTING = "`capture.spool.path`"


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("mask", [0o000, 0o002, 0o077])
def test_a_new_folder_is_for_its_owner_whatever_the_umask(tmp_path: Path, mask: int) -> None:
    before = os.umask(mask)
    try:
        own_folder(tmp_path / "spool", SETTING)
    finally:
        os.umask(before)
    assert mode(tmp_path / "spool") == 0o700


def test_what_others_may_read_or_add_to_is_used_as_it_is(tmp_path: Path) -> None:
    for there in (0o755, 0o750, 0o1777, 0o1770):
        tmp_path.chmod(there)
        own_folder(tmp_path, SETTING, lambda name: False)
        assert mode(tmp_path) == there


def test_one_with_nothing_but_ours_in_it_is_closed_to_others(tmp_path: Path) -> None:
    (tmp_path / "qdr-one").mkdir()
    for there in (0o777, 0o775, 0o2775):
        tmp_path.chmod(there)
        own_folder(tmp_path, SETTING, lambda name: name.startswith("qdr-"))
        assert mode(tmp_path) == there & ~0o022


def test_one_that_is_shared_is_refused_with_the_command(tmp_path: Path) -> None:
    (tmp_path / "of a colleague").touch()
    tmp_path.chmod(0o777)
    with pytest.raises(FolderUnsafe, match="other users may write") as refused:
        own_folder(tmp_path, SETTING, lambda name: name.startswith("qdr-"))
    assert f"chmod go-w {tmp_path}" in refused.value.hint
    assert SETTING in refused.value.hint
    assert mode(tmp_path) == 0o777


def test_one_of_another_user_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    us = os.getuid()
    if us == 0:
        os.chown(tmp_path, 4242, 4242)
    else:
        monkeypatch.setattr(os, "getuid", lambda: us + 1)
    with pytest.raises(FolderUnsafe, match="belongs to another user") as refused:
        own_folder(tmp_path, SETTING)
    assert "chown" in refused.value.hint


@pytest.mark.skipif(os.getuid() != 0, reason="only root can be root")
def test_a_volume_that_root_gave_to_our_group_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So Kubernetes mounts one for `fsGroup`; where everybody may write, a folder below does."""
    monkeypatch.setattr(os, "getuid", lambda: 10001)
    (tmp_path / "lost+found").mkdir()
    tmp_path.chmod(0o2775)
    own_folder(tmp_path, SETTING, lambda name: False)
    assert mode(tmp_path) == 0o2775
    tmp_path.chmod(0o777)
    with pytest.raises(FolderUnsafe, match="other users may write") as refused:
        own_folder(tmp_path, SETTING, lambda name: False)
    assert "a folder below it" in refused.value.hint


@pytest.mark.skipif(os.getuid() != 0, reason="only root can make a link of another user")
def test_where_a_link_of_another_user_leads_is_not_believed(tmp_path: Path) -> None:
    (tmp_path / "true").mkdir(mode=0o700)
    link = tmp_path / "spool"
    link.symlink_to("true")
    own_folder(link, SETTING)
    os.lchown(link, 4242, 4242)
    with pytest.raises(FolderUnsafe, match="another user"):
        own_folder(link, SETTING)


def test_a_link_or_a_file_is_no_folder_of_ours(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("folder")
    (tmp_path / "file").touch()
    names = ("folder", "link", "file", "none")
    assert [n for n in names if is_own_folder(tmp_path / n)] == ["folder"]


def test_what_is_no_file_is_not_read_and_nobody_waits_for_it(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "folder").mkdir()
    (tmp_path / "to fifo").symlink_to("fifo")
    (tmp_path / "device").symlink_to("/dev/zero")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "socket"))
        for name, kind in (
            ("fifo", "a FIFO"),
            ("folder", "a folder"),
            ("to fifo", "a FIFO"),
            ("device", "a device"),
            ("socket", "a socket"),
        ):
            with pytest.raises(NoFile) as refused:
                read_regular(tmp_path / name, 10)
            assert refused.value.strerror == kind


def test_a_link_is_followed_only_where_that_is_asked(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"data")
    (tmp_path / "link").symlink_to("file")
    assert read_regular(tmp_path / "link", 10) == b"data"
    with pytest.raises(NoFile) as refused:
        read_regular(tmp_path / "link", 10, follow=False)
    assert refused.value.strerror == "a link"
    with pytest.raises(FileNotFoundError):
        read_regular(tmp_path / "none", 10)


def test_no_more_is_read_than_is_allowed(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"x" * 10)
    assert read_regular(file, 10) == b"x" * 10
    with pytest.raises(TooLarge):
        read_regular(file, 9)
    with file.open("r+b") as out:
        out.truncate(2**40)  # sparse: to read it would take a terabyte
    with pytest.raises(TooLarge) as refused:
        read_regular(file, 2**20)
    assert refused.value.strerror == f"{2**40} bytes"
