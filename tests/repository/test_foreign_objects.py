"""No set of strangers changes what backups are, or lets anything go that would have stayed."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qdrant_dr import layout
from qdrant_dr.errors import DRError, RepositoryDenied
from qdrant_dr.repository import Stranger, read_catalog, stranger_remarks, strangers_in_words
from qdrant_dr.repository.retention import plan_expire
from qdrant_dr.stores.ignored_files import is_known
from qdrant_dr.stores.local import LocalStore
from tests.support import records as made
from tests.support.records import NOW, days
from tests.support.retention import PROVEN, backup_at, catalog, policy
from tests.support.stores import repository_on_disk

STEPS = st.text(
    st.characters(exclude_characters="/", exclude_categories=()), min_size=1, max_size=12
)
OURS = [
    "repository.json",
    "backups/prod/movies-0a1b2c3d/20261122T101530Z-7f3a9c/manifest.json",
    "backups/prod/movies-0a1b2c3d/20261122T101530Z-7f3a9c/seal.json",
    "backups/prod/movies-0a1b2c3d/20261122T101530Z-7f3a9c/intent-2.json",
    "backups/prod/movies-0a1b2c3d/20261122T101530Z-7f3a9c/shard-0.snapshot",
    "proofs/prod/movies-0a1b2c3d/20261122T101530Z-7f3a9c/20261122T101530Z-7f3a9c.json",
    "holds/prod/movies-0a1b2c3d/20261122T101530Z-7f3a9c/20261122T101530Z-7f3a9c.json",
    "expired/prod/movies-0a1b2c3d/20261122T101530Z-7f3a9c/20261122T101530Z-7f3a9c.json",
    "runs/2026/11/20261122T101530Z-7f3a9c.start.json",
    "runs/2026/11/20261122T101530Z-7f3a9c.end.json",
    "watches/prod/2026/11/20261122T101530Z-7f3a9c.json",
    "acknowledged/prod/20261122T101530Z-7f3a9c.json",
    "bundles/backups/prod/0123456789abcdef0123456789abcdef.bundle",
    "bundles/runs/2026-11/0123456789abcdef0123456789abcdef.bundle",
]


def test_what_we_write_is_ours() -> None:
    of = made.manifest()
    at = layout.time_of(of.backup_id)
    written = [
        *(
            layout.in_backup(of.key, f)
            for f in ("manifest.json", "intent-3.json", of.parts[0].file)
        ),
        layout.proof(of.key, layout.new_id(at)),
        layout.hold(of.key, layout.new_id(at)),
        layout.expired(of.key, of.run_id),
        layout.acknowledgement("prod", layout.new_id(at)),
        layout.run_start(of.run_id, at),
        layout.run_end(of.run_id, at),
        layout.watch("prod", of.run_id, at),
    ]
    for path in (*written, *OURS):
        assert layout.is_ours(path), path
        assert not is_known(path)
        assert all(layout.may_hold_ours(str(p)) for p in list(Path(path).parents)[:-1])


@given(st.sampled_from(OURS), st.integers(0, 5), STEPS)
def test_a_name_that_differs_in_one_step_is_not_ours_or_is_one_we_could_write(
    path: str, at: int, step: str
) -> None:
    steps = path.split("/")
    steps[at % len(steps)] = step
    changed = "/".join(steps)
    if layout.is_ours(changed):
        assert changed.isascii()
        assert not is_known(changed)


@given(
    st.lists(st.tuples(st.integers(0, 40), st.booleans()), min_size=1, max_size=8),
    st.lists(st.tuples(st.integers(0, 7), STEPS), max_size=8),
)
def test_foreign_files_keep_only_the_copies_beside_them(
    history: list[tuple[int, bool]], beside: list[tuple[int, str]]
) -> None:
    backups = [backup_at(NOW - days(n), proven=proven) for n, proven in history]
    clean = catalog(backups)
    folders = [b.key.folder for b in clean.backups]
    strangers = tuple(
        Stranger("aws", f"backups/{folders[n % len(folders)]}/{step}") for n, step in beside
    )

    def plan(of: object) -> tuple[set[object], set[object]]:
        made_plan = plan_expire(
            of,
            lambda *_: policy(last=1),
            proven=PROVEN,
            holds=(),
            now=NOW,  # type: ignore[arg-type]
        )
        assert made_plan.refused is None
        return {e.key for e in made_plan.goes}, {s.key for s in made_plan.stays if s.stopped}

    goes, _ = plan(clean)
    still, stopped = plan(replace(clean, strangers=strangers))
    touched = {b.key for b in clean.backups if any(b.key.folder in s.path for s in strangers)}
    assert still == goes - touched
    assert stopped == goes & touched


@given(st.lists(st.text(), max_size=6))
def test_what_is_told_of_them_is_one_line_whatever_they_are_called(paths: list[str]) -> None:
    strangers = [Stranger("one", path) for path in paths]
    for line in (*stranger_remarks(strangers), strangers_in_words(paths)):
        assert line.isprintable()
        line.encode()


def test_a_folder_nobody_may_enter_hides_nothing_unless_it_may_hold_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository = repository_on_disk(tmp_path / "one", "one")
    of = made.manifest()
    repository.put_manifest_bytes(of.key, of.to_bytes())
    top = tmp_path / "one/backups/prod"
    real = os.scandir
    closed: set[str] = set()

    def scandir(path: str) -> object:
        if Path(path).name in closed:
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)  # root may enter anything
    for name in ("lost+found", "private"):
        (top / name).mkdir()
        closed.add(name)
    found = read_catalog([repository], cluster="prod")
    assert [s.path for s in found.strangers] == ["backups/prod/private"]
    assert len(found.backups) == 1
    assert found.complete
    closed.add(of.key.folder.split("/")[1])
    with pytest.raises(RepositoryDenied):
        repository.find_backups("prod")
    assert not read_catalog([repository], cluster="prod").complete


def test_only_a_temporary_file_of_our_own_is_an_open_upload(tmp_path: Path) -> None:
    store = LocalStore("one", tmp_path, make=True)
    for name in (".DS_Store", ".nfs000000000000000100000001", ".x", ".a.b.1f2e3d4", ".._.1f2e3d4c"):
        (tmp_path / "a").mkdir(exist_ok=True)
        (tmp_path / "a" / name).write_bytes(b"?")
    assert store.open_uploads("a") == []
    sink = store.sink("a/b.snapshot")
    assert [u.path for u in store.open_uploads("a")] == ["a/b.snapshot"]
    sink.abort()


def test_an_object_that_cannot_lose_its_second_name_is_there_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An append-only folder (`chattr +a`): a link is made, the temporary name stays."""
    store = LocalStore("one", tmp_path, make=True)

    def refused(self: Path, missing_ok: bool = False) -> None:
        raise PermissionError(1, "Operation not permitted", str(self))

    with monkeypatch.context() as patched:
        patched.setattr(Path, "unlink", refused)
        store.create("a/b.json", b"1")
        with pytest.raises(DRError):
            store.delete("a/b.json")
    assert store.read("a/b.json") == b"1"
    assert [s.path for s in store.find("a")] == ["a/b.json"]
