"""Looks (`status`, `watch`, `report`) fetch a record once: few requests, and the same evidence."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from benchmarks.history import NAMES
from benchmarks.looks import COLD, WARM, configuration, counted, emulator
from qdrant_dr.config import Config
from qdrant_dr.jobs.run.catalogs import open_all
from qdrant_dr.jobs.run.run import utc_now
from qdrant_dr.jobs.run.units import ReportUnit, WatchUnit
from qdrant_dr.report.evidence.evidence import Evidence
from qdrant_dr.report.evidence.gather import gather
from qdrant_dr.report.job import compile_report
from qdrant_dr.report.watch.job import find_problems
from qdrant_dr.repository import Repository
from tests.support.stores import free_port

THOROUGH = bool(os.environ.get("QDR_THOROUGH"))

PERIOD = timedelta(days=30)
BACKUPS, COLLECTIONS = 3, 2
BUNDLED = 16
"""So many that manifests, seals, proofs and runs are worth bundles of their own."""


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with emulator(BACKUPS, COLLECTIONS) as running:
        yield running


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "qdrant-dr"


def test_a_second_watch_and_a_report_cost_few_requests(
    url: str, cache: Path, tmp_path: Path
) -> None:
    silent = {"name": "prod", "nodes": [f"http://127.0.0.1:{free_port()}"]}
    config = configuration(
        url, cluster=silent, report={"url": f"file://{tmp_path}/pages"},
        capture={"spool": {"path": str(tmp_path / "spool")}},
    )  # fmt: skip
    with counted() as first:
        find_problems(config, WatchUnit(now=utc_now()))
    records = BACKUPS * (2 + 2 + 2 * 2)  # manifest, seal, proofs, starts and ends of two runs
    assert first["GET"] >= records * len(NAMES)
    with counted() as again:
        found = find_problems(config, WatchUnit(now=utc_now()))
    assert again.total() <= WARM
    assert found.verdict == "failed"
    assert {f.code for f in found.detail.findings} >= {"cluster-unseen"}  # type: ignore[union-attr]
    with counted() as reported:
        made = compile_report(config, ReportUnit(as_of=utc_now(), period=PERIOD, formats=("csv",)))
    assert reported.total() <= WARM
    assert made.detail is not None
    assert len(list(cache.glob("*.sqlite"))) == len(NAMES)


def test_a_first_look_takes_records_from_bundles(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a machine that was never there; the first one leaves the bundles."""
    backups = 200 if THOROUGH else BUNDLED
    silent = {"name": "prod", "nodes": [f"http://127.0.0.1:{free_port()}"]}
    with emulator(backups) as url:
        config = configuration(
            url, cluster=silent, capture={"spool": {"path": str(tmp_path / "spool")}}
        )
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "one"))
        with counted() as first:
            find_problems(config, WatchUnit(now=utc_now(), bundle=True))
        assert first["GET"] >= backups * 8 * len(NAMES)
        now = utc_now()
        told = _said(config, now, remember=True)
        for home in (str(tmp_path / "two"), "/proc/nowhere"):
            monkeypatch.setenv("XDG_CACHE_HOME", home)
            with counted() as cold:
                assert _said(config, now, remember=True) == told
            assert cold.total() <= (COLD if THOROUGH else WARM + 3 * 3 * len(NAMES))
            assert cold["PUT"] == 0
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "two"))
        with counted() as again:
            find_problems(config, WatchUnit(now=utc_now(), bundle=True))
        assert again.total() <= WARM


@dataclass(frozen=True)
class Change:
    """Something done to one repository by whoever may write to it."""

    what: str
    repository: str
    nth: int


CHANGES = st.lists(
    st.builds(
        Change,
        st.sampled_from(["delete", "replace", "swap", "foreign", "restore"]),
        st.sampled_from(NAMES),
        st.integers(0, 10_000),
    ),
    max_size=4,
)
CACHES = st.sampled_from(["kept", "gone", "cut", "another's", "stale", "forged", "without a place"])


@settings(
    max_examples=100 if THOROUGH else 2, deadline=None, derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)  # fmt: skip
@given(st.lists(st.tuples(CHANGES, CACHES), min_size=1, max_size=2))
def test_remembered_and_fetched_evidence_are_equal(
    url: str, cache: Path, steps: list[tuple[list[Change], str]]
) -> None:
    """Whatever happens to the objects, and to the file that remembers them."""
    config = configuration(url)
    shutil.rmtree(cache, ignore_errors=True)
    now = datetime.now(UTC)
    gather(config, now, PERIOD, remember=True)
    opened, _ = open_all(config)
    undo: list[tuple[Repository, str, bytes | None]] = []
    try:
        for changes, then in steps:
            for change in changes:
                undo += _apply(change, opened[change.repository], undo)
            _spoil(cache, then)
            assert _said(config, now, remember=True) == _said(config, now, remember=False)
    finally:
        for repository, path, data in reversed(undo):
            _put(repository, path, data)


def _said(config: Config, now: datetime, *, remember: bool) -> Any:
    found: Evidence = gather(config, now, PERIOD, remember=remember)
    unreadable = [(u.repository, u.path, type(u.error), u.error.message) for u in found.unreadable]
    catalog = [(u.repository, u.path, u.error.message) for u in found.catalog.unreadable]
    return (
        found.catalog.repositories,
        [(b.manifest, b.seal, b.copies, str(b.conflict), b.witness) for b in found.catalog.backups],
        found.catalog.unfinished,
        found.catalog.lost,
        unreadable,
        catalog,
        found.strangers,
        found.run_starts,
        found.run_ends,
        found.runs_missed,
        found.acknowledgements,
    )


def _apply(
    change: Change, repository: Repository, before: list[tuple[Repository, str, bytes | None]]
) -> list[tuple[Repository, str, bytes | None]]:
    store = repository.store
    records = [
        s.path for top in ("backups", "proofs", "runs") for s in store.find(top)
        if s.path.endswith(".json")
    ]  # fmt: skip
    path, other = (records[n % len(records)] for n in (change.nth, change.nth * 7 + 1))
    if change.what == "restore":
        if not before:
            return []
        where, path, data = before[-1]
        then = where.store.read(path) if where.store.stat(path) else None
        _put(where, path, data)
        return [(where, path, then)]
    if change.what == "foreign":
        path = f"runs/notes-{change.nth}.txt"
        _put(repository, path, b"not ours")
        return [(repository, path, None)]
    was = store.read(path)
    if change.what == "delete":
        _put(repository, path, None)
    elif change.what == "replace":  # of the same size
        at = change.nth % len(was)
        _put(repository, path, was[:at] + bytes([was[at] ^ 1]) + was[at + 1 :])
    else:
        _put(repository, path, store.read(other))
    return [(repository, path, was)]


def _put(repository: Repository, path: str, data: bytes | None) -> None:
    if data is None:
        repository.store.delete(path)
        return
    sink = repository.store.sink(path, replace=True)
    sink.write(data)
    sink.commit()


def _spoil(cache: Path, how: str) -> None:
    """Do something to the files that remember."""
    files = sorted(cache.glob("*.sqlite")) if cache.is_dir() else []
    if how == "gone":
        shutil.rmtree(cache, ignore_errors=True)
    elif how == "without a place":
        shutil.rmtree(cache, ignore_errors=True)
        cache.parent.mkdir(exist_ok=True)
        cache.write_text("no folder")
    elif how == "kept" and cache.is_file():
        cache.unlink()
    elif how == "cut":
        for file in files:
            file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    elif how == "another's":  # what each remembers of another place
        bodies = [file.read_bytes() for file in files]
        for file, body in zip(files, [*bodies[1:], *bodies[:1]], strict=True):
            file.write_bytes(body)
    elif how in ("stale", "forged"):
        sql = {
            "stale": "UPDATE records SET read_at = read_at - 31 * 86400",
            "forged": "UPDATE records SET data = CAST('{}' AS BLOB)",
        }[how]
        for file in files:
            with sqlite3.connect(file) as opened:
                opened.execute(sql)
            opened.close()
