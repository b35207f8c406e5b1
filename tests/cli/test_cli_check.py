"""`check` really does it: against a node, keys and clocks that are wrong, and stores that lie."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from qdrant_dr.config import Config, RepositoryConfig
from qdrant_dr.errors import (
    BytesDiffer,
    ClockSkew,
    Conflict,
    DRError,
    NothingSelected,
    RepositoryDenied,
    RepositoryError,
    StoreOverwrites,
)
from qdrant_dr.jobs.check import CheckRow, check
from qdrant_dr.jobs.check.proof_engine import engine_row
from qdrant_dr.jobs.check.rows import Checked, degraded, failed, ok, skipped
from qdrant_dr.jobs.check.space import Size, check_space, estimate, expected_sizes
from qdrant_dr.jobs.check.store import (
    ROUNDS,
    _clock,
    _part,
    _race,
    _record,
    _second_process,
)
from qdrant_dr.repository import Repository, create_repository, open_repository
from qdrant_dr.stores.base import Sink, Stat
from qdrant_dr.stores.memory import MemoryStore
from tests.support.replay import ReplaySource


@pytest.fixture
def source() -> Iterator[ReplaySource]:
    with ReplaySource(["basic", "rich"], api_key="master", read_api_key="reader") as replayed:
        yield replayed


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MASTER", "master")
    monkeypatch.setenv("READER", "reader")
    monkeypatch.setenv("WRONG", "wrong")
    monkeypatch.setattr("qdrant_dr.cluster.node.READ_AGAIN_SECONDS", (0.01,))


def configured(folder: Path, *nodes: str, repositories: int = 1, **cluster: Any) -> Config:
    places = []
    for i in range(repositories):
        cfg = RepositoryConfig(name=f"r{i}", url=str(folder / f"r{i}"), domain=f"d{i}")
        places.append(cfg.model_copy(update={"id": create_repository(cfg, datetime.now(UTC))}))
    return Config.model_validate(
        {
            "format": 1,
            "cluster": {
                "name": "shop", "nodes": nodes, "api_key": "env:MASTER",
                "read_api_key": "env:READER", "timeouts": {"connect": "2s", "read": "5s"},
                "node_space": "10GiB", **cluster,
            },
            "repositories": [p.model_dump() for p in places],
            "capture": {"spool": {"path": str(folder / "spool"), "max": "1GiB"}},
        }
    )  # fmt: skip


def opened(config: Config) -> Repository:
    return open_repository(config.repositories[0], stall_timeout=timedelta(seconds=5))


def states(checked: Checked) -> dict[tuple[str, str], str]:
    return {(row.scope.partition(" ")[0], row.what): row.state for row in checked.rows}


def row_of(checked: Checked, scope: str, what: str) -> CheckRow:
    (row,) = [r for r in checked.rows if r.scope.startswith(scope) and r.what == what]
    return row


def test_a_healthy_world(tmp_path: Path, source: ReplaySource) -> None:
    heard: list[CheckRow] = []
    config = configured(tmp_path, source.url, repositories=2)
    checked = check(config, told=heard.append)
    assert (checked.verdict, checked.exit_code) == ("ok", 0), checked.rows
    # nobody signs, and no run has been there: that is said, and is nothing that a backup needs
    unproven = {(row.scope, row.what) for row in checked.rows if row.state != "ok"}
    ledgers = {("repository r0", "ledger"), ("repository r1", "ledger")}
    assert unproven == {("ledger", "signing key"), *ledgers}
    assert sorted(map(repr, heard)) == sorted(map(repr, checked.rows))
    assert row_of(checked, "node", "reach").found == "Qdrant 1.18.3"
    assert "edge 0.9" in row_of(checked, "node", "engine").found
    assert "writes were forbidden" in row_of(checked, "cluster", "read_api_key").found
    assert "4 races" in row_of(checked, "repository r1", "create-only").found
    assert not list((tmp_path / "r0").glob("probes/**/*"))
    assert source.snapshots("movies") == ()


def test_read_only_writes_nothing_and_says_what_is_not_proven(
    tmp_path: Path, source: ReplaySource
) -> None:
    config = configured(tmp_path, source.url)
    before = sorted(tmp_path.rglob("*"))
    checked = check(config, read_only=True)
    assert sorted(tmp_path.rglob("*")) == before
    unproven = {row.what for row in checked.rows if row.state == "skipped"}
    written = {"write", "create-only", "part", "second process", "clock", "delete"}
    assert unproven == {*written, "signing key", "ledger"}
    assert checked.verdict == "ok"


def test_a_dead_node_is_unreachable_and_the_rest_is_still_tried(
    tmp_path: Path, source: ReplaySource
) -> None:
    source.die()
    checked = check(configured(tmp_path, source.url))
    assert (checked.verdict, checked.exit_code) == ("failed", 5)
    assert row_of(checked, "node", "reach").code == "node-unreachable"
    assert row_of(checked, "repository", "write").state == "ok"
    assert row_of(checked, "space", "estimate").state == "skipped"


@pytest.mark.parametrize(
    ("keys", "what", "said"),
    [
        ({"api_key": "env:READER"}, "api_key", "env:READER may only read: no snapshot"),
        (
            {"read_api_key": "env:MASTER"},
            "read_api_key",
            "env:MASTER is no read-only key",
        ),
        ({"api_key": "env:WRONG"}, "api_key", "env:WRONG"),
        ({"read_api_key": "env:WRONG"}, "reach", "env:WRONG"),
        ({"api_key": "env:ABSENT"}, "keys", "environment variable ABSENT is not set"),
    ],
)
def test_a_key_that_may_do_something_else(
    keys: dict[str, str], what: str, said: str, tmp_path: Path, source: ReplaySource
) -> None:
    checked = check(configured(tmp_path, source.url, **keys), read_only=True)
    wrong = [row for row in checked.rows if row.state == "failed"]
    assert [row.what for row in wrong] == [what]
    assert said in wrong[0].found
    assert checked.exit_code == (2 if "ABSENT" in said else 1)
    assert not any(text in repr(checked) for text in ("'master'", "'reader'", "'wrong'"))


def test_a_clock_that_is_wrong(tmp_path: Path, source: ReplaySource) -> None:
    source.faults.clock_skew = -120
    checked = check(configured(tmp_path, source.url), read_only=True)
    row = row_of(checked, "node", "clock")
    assert (row.state, row.code) == ("failed", "clock-skew")
    assert "-1" in row.found


def test_a_server_that_the_engine_cannot_read(tmp_path: Path) -> None:
    root = {"title": "qdrant - vector search engine", "version": "1.31.0", "commit": "x"}
    with ReplaySource(["basic"], root=root) as newer:
        checked = check(
            configured(tmp_path, newer.url, api_key=None, read_api_key=None), read_only=True
        )
    row = row_of(checked, "node", "engine")
    assert (row.state, row.code) == ("failed", "engine-too-old")
    assert "proves nothing" in row.found
    assert engine_row("x", "not a version").state == "failed"


def test_what_is_expected_and_missing(tmp_path: Path, source: ReplaySource) -> None:
    config = configured(tmp_path, source.url)
    rules = config.collections.model_copy(update={"expect": ("movies", "gone")})
    checked = check(config.model_copy(update={"collections": rules}), read_only=True)
    row = row_of(checked, "cluster", "expected")
    assert "gone is expected and not on the cluster" in row.found


def test_a_repository_that_is_another_or_none(tmp_path: Path, source: ReplaySource) -> None:
    config = configured(tmp_path, source.url, repositories=2)
    (tmp_path / "r0" / "repository.json").unlink()
    checked = check(config)
    assert row_of(checked, "repository r0", "open").code == "repository-missing"
    assert row_of(checked, "repository r1", "delete").state == "ok"
    assert checked.exit_code == 1


def test_only_the_named_repository(tmp_path: Path, source: ReplaySource) -> None:
    config = configured(tmp_path, source.url, repositories=2)
    checked = check(config, repositories=["r1"], read_only=True)
    assert not [row for row in checked.rows if row.scope == "repository r0"]
    with pytest.raises(NothingSelected):
        check(config, repositories=["r2"])
    with pytest.raises(NothingSelected):
        check(config, repositories=[])


def test_a_spool_that_is_too_small(tmp_path: Path, source: ReplaySource) -> None:
    config = configured(tmp_path, source.url)
    spool = config.capture.spool.model_copy(update={"max": 1000})
    capture = config.capture.model_copy(update={"spool": spool})
    checked = check(config.model_copy(update={"capture": capture}), read_only=True)
    row = row_of(checked, "spool", "space")
    assert row.state == "degraded"
    assert "capture.spool.max" in (row.next_step or "")


class Careless(MemoryStore):
    """Overwrites: what S3 without conditional writes does."""

    def create(self, path: str, data: bytes) -> None:
        self.put(path, data)


class Late(MemoryStore):
    """Its clock is an hour behind."""

    def stat(self, path: str) -> Stat | None:
        there = super().stat(path)
        return there and Stat(path, there.size_bytes, there.modified_at - timedelta(hours=1))


class Rotten(MemoryStore):
    """Reads something else than was written."""

    def read(self, path: str) -> bytes:
        return super().read(path)[:-1] + b"?"


class Eager(MemoryStore):
    """Shows an object before its commit."""

    def sink(self, path: str, *, replace: bool = False, **options: Any) -> Sink:
        self.put(path, b"half")
        return super().sink(path, replace=True, **options)


@pytest.mark.parametrize(
    ("store", "attempt", "error"),
    [
        (Careless, _race, StoreOverwrites),
        (Rotten, _record, BytesDiffer),
        (Eager, _part, RepositoryError),
    ],
)
def test_stores_that_must_not_be_used(store: Any, attempt: Any, error: type[DRError]) -> None:
    assert attempt(MemoryStore("good", f"good-{error.code}"), "probes/x")
    with pytest.raises(error):
        attempt(store("bad", f"bad-{error.code}"), "probes/x")


class Slow(MemoryStore):
    """Looks, then writes: two at once both win, and a later third does not."""

    def create(self, path: str, data: bytes) -> None:
        if self.stat(path) is not None:
            raise Conflict(path)
        time.sleep(0.2)
        self.put(path, data)


def test_a_lost_race_is_reported_while_its_names_exist() -> None:
    store = Slow("slow", "slow-race")
    for _ in range(ROUNDS + 2):
        with pytest.raises(StoreOverwrites):
            _race(store, "probes/x")
    for probe in store.find("probes"):
        store.delete(probe.path)
    assert "one winner each" in _race(MemoryStore("good", "slow-race"), "probes/x")


def test_a_store_whose_clock_is_wrong() -> None:
    limit = timedelta(seconds=30)
    assert "from ours" in _clock(MemoryStore("good", "clock-good"), "probes/x", limit)
    with pytest.raises(ClockSkew, match="-3600"):
        _clock(Late("bad", "clock-bad"), "probes/x", limit)


def test_a_second_process_that_sees_something_else(tmp_path: Path) -> None:
    from qdrant_dr.repository.open_store import open_store

    cfg = RepositoryConfig(name="a", url=str(tmp_path / "a"), domain="d")
    store = open_store(cfg, stall_timeout=timedelta(seconds=5), make=True)
    store.create("probes/x/one", b"1")
    assert _second_process(cfg, store, "probes/x") == "lists the same 1 objects"
    other = cfg.model_copy(update={"url": str(tmp_path / "b")})
    (tmp_path / "b").mkdir()
    with pytest.raises(DRError, match="we list 1 objects, a second process 0"):
        _second_process(other, store, "probes/x")
    absent = cfg.model_copy(update={"url": str(tmp_path / "absent")})
    with pytest.raises(RepositoryError, match="could not list it"):
        _second_process(absent, store, "probes/x")


def test_space_is_estimated_from_the_last_backup_else_from_the_points() -> None:
    info = {"config": {"params": {"vectors": {"size": 128, "distance": "Dot"}}}}
    named = {"config": {"params": {"vectors": {"a": {"size": 4, "datatype": "uint8"}}}}}
    assert estimate(info, 1_000_000, 1) > 1_000_000 * 128 * 4
    assert estimate(info, 0, 2) == 2 * estimate(info, 0, 1)
    assert estimate(named, 10, 1) < estimate(info, 10, 1)
    assert expected_sizes([], {}) == {}


@pytest.mark.parametrize(
    ("sizes", "free", "state"),
    [
        ({"a": Size(100)}, 1000, "ok"),
        ({"a": Size(100)}, 150, "degraded"),
        ({"a": Size(100)}, 99, "failed"),
        ({"a": Size(10**12, guessed=True)}, 10**6, "degraded"),
        ({"a": Size(10**6, guessed=True)}, 15 * 10**5, "ok"),  # the second next is a guess of one
        ({"a": Size(10**12, guessed=True)}, 100, "failed"),  # full, whatever is guessed
        ({"a": Size(10**12, guessed=True), "b": Size(10**6)}, 10**6, "failed"),
    ],
)
def test_a_guess_of_a_first_backup_fails_no_check(
    sizes: dict[str, Size], free: int, state: str, tmp_path: Path
) -> None:
    config = configured(tmp_path, "http://127.0.0.1:1").model_copy()
    store = MemoryStore("r0", f"room-{state}-{free}")
    store.free_bytes = lambda: free  # type: ignore[method-assign]
    place = replace(opened(config), store=store)
    row = next(iter(check_space(config, sizes, [place])))
    assert row.state == state, row
    assert ("guessed" in row.found) == any(s.guessed for s in sizes.values())


@pytest.mark.parametrize(
    ("written", "free", "state", "guessed"),
    [
        ({"a": 10**4}, 10**6, "ok", False),  # an archive would not fit: 10**8
        ({"a": 10**4}, 2 * 10**4, "degraded", False),
        ({"a": 10**4}, 10**4, "failed", False),
        ({}, 10**9, "ok", True),
        ({}, 10**6, "degraded", True),  # nobody knows how small it becomes
        (None, 10**6, "failed", False),
    ],
)
def test_a_chunked_repository_needs_what_the_last_backup_wrote_there(
    written: dict[str, int] | None, free: int, state: str, guessed: bool, tmp_path: Path
) -> None:
    config = configured(tmp_path, "http://127.0.0.1:1").model_copy()
    store = MemoryStore("r0", f"blocks-{state}-{free}-{written}")
    store.free_bytes = lambda: free  # type: ignore[method-assign]
    place = replace(opened(config), store=store)
    known = {} if written is None else {place.name: written}
    row = next(iter(check_space(config, {"a": Size(10**8)}, [place], known)))
    assert row.state == state, row
    assert ("guessed, without a backup there" in row.found) == guessed


def test_the_strictest_row_decides() -> None:
    fine, hint = ok("a", "b", "c"), degraded("a", "b", "c", "d")
    refused = failed("a", "b", RepositoryDenied("no"))
    nothing = skipped("a", "b", "c")
    assert Checked((fine, nothing)).verdict == "ok"
    assert Checked((fine, hint)).exit_code == 3
    assert Checked((fine, hint, refused)).exit_code == 1
    assert Checked((nothing,)).verdict == "failed"
    assert Checked(()).verdict == "failed"


def test_the_command(tmp_path: Path, source: ReplaySource, qdr: Any) -> None:
    config = configured(tmp_path, source.url)
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(config.model_dump(mode="json")))
    said = qdr("check", "-c", "c.yaml", "--json")
    assert (said.code, said.json["verdict"]) == (0, "ok")
    assert {"scope", "what", "state", "found", "next_step", "code"} == set(said.json["rows"][0])
    assert list((tmp_path / "r0").glob(f"runs/**/{said.json['run_id']}.end.json"))
    source.faults.clock_skew = 3600
    wrong = qdr("check", "-c", "c.yaml", "--read-only")
    assert wrong.code == 1
    assert wrong.out.splitlines()[1].startswith("failed")
    assert "HINT: by hand: synchronise the clocks" in wrong.err
