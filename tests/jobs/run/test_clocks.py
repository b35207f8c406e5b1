"""No clock is believed alone: apart from one another, nothing goes, and a run says so."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from qdrant_dr import configfile
from qdrant_dr.cluster import ClockOffset
from qdrant_dr.dispatch.threads import in_threads
from qdrant_dr.jobs.expire import expire_copy as one_copy
from qdrant_dr.jobs.expire.hold import place_hold
from qdrant_dr.jobs.expire.job import expire
from qdrant_dr.jobs.expire.plan import ExpireRequest
from qdrant_dr.jobs.run import clocks
from qdrant_dr.jobs.run.catalogs import open_all
from qdrant_dr.jobs.run.clocks import Since, compare, store_clock
from qdrant_dr.jobs.run.run import Run, begin, utc_now
from qdrant_dr.jobs.run.units import ExpireUnit, SweepUnit, Unit
from qdrant_dr.records import Outcome, RunEnd
from qdrant_dr.repository import Stat
from qdrant_dr.stores.local import LocalStore
from tests.support.driving import do, outcomes
from tests.support.expiring import LITTLE, fill, left
from tests.support.replay import ReplaySource
from tests.support.world import World, make_world

LIMIT = timedelta(seconds=30)
NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
OFFSETS = st.integers(-400 * 86_400_000, 400 * 86_400_000)
CLOCK = st.builds(ClockOffset, OFFSETS | st.integers(-60_000, 60_000), st.integers(0, 2000))


@given(st.dictionaries(st.sampled_from("abcd"), CLOCK))
def test_clocks_apart_decide_nothing_and_others_by_the_slowest(
    told: dict[str, ClockOffset],
) -> None:
    found = compare(NOW, told, LIMIT)
    every = [ClockOffset(0, 0), *told.values()]
    assert all(found.earliest <= NOW + timedelta(milliseconds=c.offset_ms) for c in every)
    offsets = [c.offset_ms for c in every]
    span = timedelta(milliseconds=max(offsets) - min(offsets))
    if span > LIMIT + timedelta(seconds=4):  # more than all that is uncertain
        assert found.apart is not None
    if span <= LIMIT:
        assert found.apart is None


@pytest.mark.parametrize(("micro", "offset", "uncertainty"), [(0, 500, 1500), (250_000, 250, 1000)])
def test_a_store_that_keeps_whole_seconds_is_not_called_slow(
    micro: int, offset: int, uncertainty: int
) -> None:
    there = Stat("x", 1, NOW + timedelta(seconds=1, microseconds=micro))
    clock = store_clock(there, NOW, NOW + timedelta(seconds=2))
    assert (clock.offset_ms, clock.uncertainty_ms) == (offset, uncertainty)


def test_setting_the_clock_back_makes_nothing_younger(monkeypatch: pytest.MonkeyPatch) -> None:
    since = Since.then(utc_now())
    real = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: real + 100_000)
    monkeypatch.setattr(clocks, "utc_now", lambda: since.at - timedelta(days=2))
    assert since.now > since.at + timedelta(hours=27)
    monkeypatch.setattr(clocks, "utc_now", lambda: since.at + timedelta(days=9))
    assert since.now == since.at + timedelta(days=9)


# whole jobs, with one of three clocks off


@pytest.fixture
def source() -> Iterator[ReplaySource]:
    with ReplaySource(["basic"]) as source:
        yield source


@pytest.fixture
def world(source: ReplaySource, tmp_path: Path) -> World:
    return make_world(tmp_path, source.url, retention=LITTLE)


def set_off(
    which: str, by: timedelta, source: ReplaySource, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One clock is off by so much; of the worker: all the others are, in the other direction."""
    if which in ("node", "worker"):
        source.faults.clock_skew = by.total_seconds() * (1 if which == "node" else -1)
    if which == "node":
        return
    shift = by if which in ("store", "one store") else -by
    stat = LocalStore.stat

    def off(store: LocalStore, path: str) -> Stat | None:
        there = stat(store, path)
        if there is None or (which == "one store" and store.name == "one"):
            return there
        return replace(there, modified_at=there.modified_at + shift)

    monkeypatch.setattr(LocalStore, "stat", off)


def expired(world: World) -> tuple[RunEnd, list[Unit]]:
    """Its end, and what it would have deleted."""
    config = configfile.load(world.reference)
    asked: list[Unit] = []
    run = begin(config, "expire")

    def perform(units: object) -> list[Outcome]:
        asked.extend(units)  # type: ignore[arg-type]
        return []

    return expire(config, ExpireRequest(), run, perform), asked


@pytest.mark.parametrize("which", ["worker", "node", "store", "one store"])
@pytest.mark.parametrize("days", [-2, 2])
def test_expire_is_refused_and_deletes_nothing(
    world: World, source: ReplaySource, which: str, days: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(world, 4)
    set_off(which, timedelta(days=days), source, monkeypatch)
    end, asked = expired(world)
    assert (end.verdict, end.error and end.error.code) == ("failed", "plan-refused")
    assert end.error is not None
    assert end.error.message.startswith("nothing is deleted: ")
    assert "172800" in end.error.message.replace("172799", "172800").replace("172801", "172800")
    assert asked == []
    assert len(left(world)) == 4


def test_expire_by_a_store_that_took_no_record_of_it_is_refused(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(world, 4)
    monkeypatch.setattr("qdrant_dr.repository.Repository.began", lambda *_: None)
    end, asked = expired(world)
    assert asked == []
    assert end.error is not None
    assert "the clock of repository one cannot be compared" in end.error.message


def test_a_cluster_that_is_down_does_not_keep_expire_from_its_work(
    world: World, source: ReplaySource
) -> None:
    fill(world, 4)
    source.die()
    assert do(world, "expire").verdict == "ok"
    assert len(left(world)) == 2


def test_a_copy_goes_by_the_time_that_was_compared_and_by_no_other(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worker that does it may be another machine, with a clock of its own."""
    backups = fill(world, 4)
    now = utc_now()
    place_hold(
        open_all(configfile.load(world.reference))[0], backups[3].key, reason="legal",
        until=now + timedelta(days=1), by="ada", now=now,
    )  # fmt: skip
    config = configfile.load(world.reference)
    unit = ExpireUnit(
        key=backups[3].key, repository="one", decided_at=now, reason="planned before the hold"
    )
    monkeypatch.setattr(one_copy, "utc_now", lambda: utc_now() + timedelta(days=2))
    assert one_copy.expire_copy(config, unit, "20261122T120000Z-aaaaaa").verdict == "skipped"
    assert backups[3].backup_id in left(world)


@pytest.mark.parametrize("which", ["worker", "node", "store"])
def test_a_backup_is_made_and_sweeps_nothing(
    world: World, source: ReplaySource, which: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_off(which, timedelta(days=3), source, monkeypatch)
    end = do(world, "backup")
    assert end.verdict == "degraded", end.reasons
    assert outcomes(end, "sweep") == []
    assert any(reason.startswith("nothing was swept: ") for reason in end.reasons)
    assert len(world.manifests("one")) == 1


@pytest.mark.parametrize("days", [-3, 3])
def test_replicate_heals_and_sweeps_nothing(
    world: World, source: ReplaySource, days: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    (of,) = fill(world, 1)
    (world.folders["two"] / "backups" / of.key.folder / "manifest.json").unlink()
    set_off("one store", timedelta(days=days), source, monkeypatch)
    end = do(world, "replicate")
    assert any(reason.startswith("nothing was swept: ") for reason in end.reasons)
    assert outcomes(end, "sweep") == []
    assert len(world.manifests("two")) == 1


def test_within_the_bound_the_slowest_clock_decides(world: World, source: ReplaySource) -> None:
    source.faults.clock_skew = -20
    config = configfile.load(world.reference)
    run: Run = begin(config, "backup")
    found = clocks.clocks_of(config, run, clocks.ask_nodes(config))
    assert found.apart is None
    assert timedelta(seconds=15) < utc_now() - found.earliest < timedelta(seconds=35)
    units = [SweepUnit(repository="one", now=found.earliest)]
    assert in_threads(config, run.run_id)(units)[0].verdict == "ok"


@pytest.mark.parametrize("days", [-2, 2])
def test_a_hold_by_a_wrong_clock_is_made_and_said(
    world: World, source: ReplaySource, days: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until tomorrow, by a clock that is two days behind, is over already."""
    (of,) = fill(world, 1)
    set_off("store", timedelta(days=days), source, monkeypatch)
    repositories = open_all(configfile.load(world.reference))[0]
    now = utc_now()
    _, errors = place_hold(
        repositories, of.key, reason="legal", until=now + timedelta(days=1), by="ada", now=now
    )
    codes = {name: e.code for name, e in errors.items()}
    assert codes == {"one": "clock-skew", "two": "clock-skew"}
    assert list(world.folders["one"].glob("holds/**/*.json"))


# by the command line


@pytest.mark.skipif(shutil.which("faketime") is None, reason="needs faketime")
def test_a_worker_two_days_ahead_keeps_what_is_held_until_tomorrow(
    world: World, source: ReplaySource
) -> None:
    backups = fill(world, 4)
    body = yaml.safe_load(world.file.read_text())
    body["cluster"]["nodes"] = ["http://127.0.0.1:9"]  # the stores alone tell it
    world.file.write_text(yaml.safe_dump(body))
    now = utc_now()
    place_hold(
        open_all(configfile.load(world.reference))[0], backups[3].key, reason="legal",
        until=now + timedelta(days=1), by="ada", now=now,
    )  # fmt: skip
    words = ["faketime", "--exclude-monotonic", "-f", "+2d"]  # else timed waits are days long
    words += [sys.executable, "-m", "qdrant_dr.cli", "-c", world.reference]
    done = subprocess.run(
        [*words, "expire", "--execute"], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 4, done.stderr
    assert "nothing is deleted: this machine is" in done.stdout + done.stderr
    assert len(left(world)) == 4
