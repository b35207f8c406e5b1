"""Copies that a rule moved to Glacier or Azure Archive: told, passed over, brought back."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from qdrant_dr import configfile, layout
from qdrant_dr.cli.byhand import bring_back
from qdrant_dr.config import RepositoryConfig
from qdrant_dr.dispatch.threads import in_threads
from qdrant_dr.jobs.check.archive import check_archive
from qdrant_dr.jobs.restore.job import RestoreRequest, plans_of
from qdrant_dr.jobs.run.catalogs import open_all
from qdrant_dr.jobs.run.run import begin, utc_now
from qdrant_dr.jobs.startup_archive.job import StartupRequest, startup
from qdrant_dr.records.repository import Layout
from qdrant_dr.report.evidence.gather import gather
from qdrant_dr.report.finding import Problem
from qdrant_dr.report.findings.assessment import Assessment
from qdrant_dr.repository import Backup, Catalog, create_repository, read_catalog
from tests.support.driving import do, outcomes
from tests.support.replay import ReplaySource
from tests.support.servers import Server, sandbox_server
from tests.support.stores import PLACES, Place, freeze, thaw
from tests.support.world import World, make_world

MOVIES = "movies@latest"


THOROUGH = pytest.mark.skipif(
    not os.environ.get("QDR_THOROUGH"),
    reason="what Azure says is in the store's contract: QDR_THOROUGH=1 runs the jobs on it, too",
)


@pytest.fixture(scope="module", params=["s3", pytest.param("azure", marks=THOROUGH)])
def place(request: pytest.FixtureRequest) -> Iterator[Place]:
    with PLACES[request.param]() as found:
        yield found


@pytest.fixture(scope="module")
def proven(place: Place, tmp_path_factory: pytest.TempPathFactory) -> World:
    return proven_in(place, tmp_path_factory.mktemp("archived"), "plain")


def proven_in(place: Place, tmp_path: Path, kept: Layout) -> World:
    """A proven backup of movies with a copy on a disk and one in a bucket; both are wanted."""
    with ReplaySource(["basic"]) as source:
        made = make_world(tmp_path / "world", source.url, repositories=("disk",))
        options = dict(place.options)
        for name in ("key", "secret", "connection_string"):  # plain text is refused
            if name in options:
                (tmp_path / name).write_text(options[name])
                options[name] = f"file:{tmp_path / name}"
        bucket = {"name": "bucket", "url": place.config().url, "domain": "cloud",
                  "options": options}  # fmt: skip
        body = yaml.safe_load(made.file.read_text())
        body["repositories"].append(bucket)
        made.file.write_text(yaml.safe_dump(body))
        bucket["id"] = create_repository(repository(made), utc_now(), kind=kept)
        body["copies"] |= {"quorum": 2, "domains": 2}
        made.file.write_text(yaml.safe_dump(body))
        end = do(made, "backup")
        assert end.verdict == "ok", end.reasons
        end = do(made, "verify")
        assert end.verdict == "ok", end.reasons
    return made


@pytest.fixture
def world(proven: World) -> Iterator[World]:
    """The same for each test, which may move what is in the bucket, and change the file."""
    file = proven.file.read_text()
    yield proven
    proven.file.write_text(file)
    bring_all_back(proven)


@pytest.fixture
def frozen(world: World) -> World:
    """With the part in the bucket moved to an archive."""
    for path in stored(world, ".snapshot"):
        freeze(repository(world), path)
    return world


def bring_all_back(world: World) -> None:
    opened, failed = open_all(configfile.load(world.file))
    assert "bucket" in opened, failed
    for there in opened["bucket"].store.find("backups"):
        if there.storage.archived:
            thaw(repository(world), there.path)


@contextmanager
def without_the_disk(world: World) -> Iterator[None]:
    """The copy on the disk has lost its data."""
    (part,) = world.parts("disk")
    aside = part.with_suffix(".aside")
    part.rename(world.folders["disk"].parent / aside.name)
    try:
        yield
    finally:
        (world.folders["disk"].parent / aside.name).replace(part)


def repository(world: World) -> RepositoryConfig:
    found = configfile.load(world.file).repository("bucket")
    assert found is not None
    return found


def agree(world: World, time: str = "12h") -> None:
    """Say how long the bucket takes to bring a copy back."""
    body = yaml.safe_load(world.file.read_text())
    body["repositories"][1]["archive_restore_time"] = time
    world.file.write_text(yaml.safe_dump(body))


def stored(world: World, end: str) -> list[str]:
    store = open_all(configfile.load(world.file))[0]["bucket"].store
    return [s.path for s in store.find("backups") if s.path.endswith(end)]


def catalog(world: World) -> Catalog:
    opened, _ = open_all(configfile.load(world.file))
    return read_catalog(list(opened.values()), cluster="shop")


def backup(world: World) -> Backup:
    (found,) = catalog(world).backups
    return found


def told(world: World) -> dict[str, Problem]:
    """What `status` finds, by code."""
    config = configfile.load(world.file)
    assessed = Assessment.of(gather(config, utc_now(), timedelta(days=30)))
    return {p.code: p for p in assessed.problems if p.severity != "notice"}


def standing(world: World) -> str:
    config = configfile.load(world.file)
    (found,) = Assessment.of(gather(config, utc_now(), timedelta(days=30))).standings
    return found.status


def test_an_archived_copy_is_told_and_counts_for_nothing(world: World) -> None:
    assert standing(world) == "protected"
    for path in stored(world, ".snapshot"):
        freeze(repository(world), path)
    copy = backup(world).copy("bucket")
    assert (copy.state, copy.lacks) == ("archived", ())
    found = told(world)
    assert standing(world) == "degraded"
    assert "1 of 2 copies" in found["below-quorum"].what
    assert "1 archived" in found["below-quorum"].what
    assert found["copies-archived"].scope == "movies in bucket"
    for code in ("below-quorum", "copies-archived"):  # replicate or verify would lead in a circle
        assert "qdrant-dr show movies@" in found[code].next_command
    assert "copy-damaged" not in found
    bring_all_back(world)
    assert standing(world) == "protected"


def test_said_how_long_it_takes_it_counts_and_a_promise_it_breaks_is_told(frozen: World) -> None:
    agree(frozen, "30m")
    assert standing(frozen) == "protected"
    assert "copies-archived" not in told(frozen)
    with without_the_disk(frozen):
        assert "rto-missed" not in told(frozen)
        agree(frozen, "12h")
        assert "bringing one back takes 12 h" in told(frozen)["rto-missed"].what


def test_verify_skips_it_with_the_reason_and_is_not_green(frozen: World) -> None:
    end = do(frozen, "verify")
    assert end.verdict == "degraded", end.reasons
    assert any("bucket was not verified: archived" in r for r in end.reasons)
    by = {o.repository: o for o in outcomes(end, "verify")}
    assert (by["disk"].verdict, by["bucket"].verdict) == ("ok", "skipped")
    assert "archived" in by["bucket"].notes[0]
    alone = do(frozen, "verify", repositories=["bucket"])
    assert alone.verdict == "failed", "nothing that was looked at is no pass"
    agree(frozen)
    assert do(frozen, "verify").verdict == "ok"
    assert do(frozen, "verify", repositories=["bucket"]).verdict == "failed"
    assert backup(frozen).copy("bucket").state == "archived", "no failed proof was written"


def test_a_drill_takes_another_copy_or_says_why_not(frozen: World) -> None:
    end = do(frozen, "drill", engine="edge")
    assert end.verdict == "ok", end.reasons
    by = {o.repository: o for o in outcomes(end, "drill")}
    assert (by["disk"].verdict, by["bucket"].verdict) == ("ok", "skipped")
    assert "archived" in by["bucket"].notes[0]
    refused = do(frozen, "drill", engine="edge", repository="bucket")
    assert refused.verdict == "failed"
    assert refused.error is not None
    assert "archived" in refused.error.message
    assert "qdrant-dr show movies@" in refused.error.hint


def test_replicate_neither_heals_it_nor_heals_from_it(frozen: World) -> None:
    whole = do(frozen, "replicate")
    assert whole.verdict == "ok", whole.reasons
    assert outcomes(whole, "heal") == []
    with without_the_disk(frozen):
        end = do(frozen, "replicate")
        assert end.verdict == "failed"
        assert any("bucket holds one in an archive" in r for r in end.reasons), end.reasons
        bring_all_back(frozen)
        end = do(frozen, "replicate")
        assert end.verdict == "ok", end.reasons


def test_records_in_an_archive_are_not_corrupt_and_not_gone(world: World) -> None:
    for end in ("manifest.json", "seal.json"):
        for path in stored(world, end):
            freeze(repository(world), path)
    known = catalog(world)
    copy = known.backups[0].copy("bucket")
    assert (copy.state, copy.committed) == ("archived", False)
    assert [a.file for a in copy.archived] == ["manifest.json", "seal.json"]
    assert not known.complete
    assert {u.error.code for u in known.unreadable} == {"object-archived"}
    assert known.lost == ()
    assert known.backups[0].witness == "named"
    found = told(world)
    assert "object-archived" in found["records-unreadable"].what
    assert not {"copy-damaged", "backup-lost", "copies-absent", "unwitnessed"} & found.keys()
    assert do(world, "expire", dry_run=False).verdict == "failed", "nothing goes on a guess"


def test_records_that_lie_in_an_archive_everywhere_are_no_lost_backup(world: World) -> None:
    for path in (*stored(world, "manifest.json"), *stored(world, "seal.json")):
        freeze(repository(world), path)
    backups = world.folders["disk"] / "backups"
    backups.rename(backups.with_name("aside"))
    try:
        known = catalog(world)
    finally:
        backups.with_name("aside").rename(backups)
    assert known.backups == ()
    assert known.lost == (), "it may lie in what cannot be read"
    assert known.unfinished == (), "nothing of it is swept"
    assert not known.complete


@pytest.fixture
def target(tmp_path: Path) -> Iterator[Server]:
    with sandbox_server(tmp_path / "target") as server:
        yield server


def bring(world: World, url: str, **request: Any) -> Any:
    return do(world, "restore", backups=[MOVIES], to=url, **{"dry_run": False, **request})


def test_a_restore_passes_it_over_and_alone_it_is_refused(frozen: World, target: Server) -> None:
    alone = bring(frozen, target.url, repository="bucket")
    assert alone.verdict == "failed"
    assert alone.error is not None
    assert alone.error.code == "plan-refused"
    assert "archived" in alone.error.message
    tool = {"s3": "restore-object", "az": "set-tier"}[repository(frozen).url.partition(":")[0]]
    assert tool in alone.error.message
    end = bring(frozen, target.url)
    assert end.verdict == "ok", end.reasons
    (outcome,) = outcomes(end, "restore")
    assert outcome.repository == "disk"


def test_the_time_to_bring_it_back_is_in_the_forecast(frozen: World, target: Server) -> None:
    agree(frozen, "12h")
    config = configfile.load(frozen.file)
    seconds = {}
    for where in (None, "bucket"):
        request = RestoreRequest(backups=(MOVIES,), to=target.url, repository=where)
        (plan,) = plans_of(config, request, begin(config, "restore", parameters={"dry_run": True}))
        assert plan.possible is (where is None)
        seconds[where] = plan.seconds
        if where is None:
            assert any("disk, else bucket (archived)" in str(step) for step in plan.steps)
            assert any("bucket is archived" in warning for warning in plan.warnings)
        else:
            assert "12 h to bring it back" in plan.estimate
    assert seconds["bucket"] == pytest.approx(seconds[None] + 12 * 3600)


def test_the_start_up_archive_is_made_of_what_can_be_read(frozen: World, tmp_path: Path) -> None:
    def into(out: str) -> Any:
        config = configfile.load(frozen.file)
        run = begin(config, "startup")
        request = StartupRequest(backups=None, out=str(tmp_path / out))
        return startup(config, request, run, in_threads(config, run.run_id))

    assert into("one.snapshot").verdict == "ok"
    agree(frozen)
    with without_the_disk(frozen):
        refused = into("two.snapshot")
    assert refused.verdict == "failed"
    assert refused.error is not None
    assert refused.error.code == "object-archived"


def test_the_commands_that_bring_it_back_name_its_objects(frozen: World, place: Place) -> None:
    found = backup(frozen)
    lines = bring_back(configfile.load(frozen.file), found)
    (path,) = (layout.in_backup(found.key, p.file) for p in found.manifest.parts)
    assert lines[0].startswith("# bucket: archived")
    assert path in lines[1]
    assert {"s3": "aws s3api restore-object", "azure": "az storage blob set-tier"}[place.kind] in (
        lines[1]
    )
    bring_all_back(frozen)
    assert bring_back(configfile.load(frozen.file), backup(frozen)) == []


def test_check_tells_of_what_lies_in_an_archive(frozen: World) -> None:
    def rows() -> list[tuple[str, str]]:
        opened, _ = open_all(configfile.load(frozen.file))
        return [
            (row.what, row.state)
            for row in check_archive(repository(frozen), opened["bucket"])
            if row.what == "archive"
        ]

    assert rows() == [("archive", "degraded")]
    agree(frozen)
    assert rows() == [("archive", "ok")]
    freeze(repository(frozen), stored(frozen, "seal.json")[0])
    assert rows() == [("archive", "degraded")], "records are never to be there"


def test_a_ledger_in_an_archive_is_unreadable_and_not_broken(world: World) -> None:
    """Its last entry, too, which the next run has to follow."""
    opened, _ = open_all(configfile.load(world.file))
    store = opened["bucket"].store
    entries = [s.path for s in store.find(layout.EVIDENCE) if s.path.endswith(".json")]
    for path in (entries[0], entries[-1]):
        freeze(repository(world), path)
        try:
            found = told(world)
            assert "ledger-unreadable" in found, found
            assert found["ledger-unreadable"].scope == "bucket"
            assert not {"ledger-broken", "ledger-behind"} & found.keys()
        finally:
            thaw(repository(world), path)
    assert not [code for code in told(world) if code.startswith("ledger")]


@pytest.mark.parametrize("folder", [layout.EVIDENCE, layout.RUNS, layout.PROOFS])
def test_whatever_must_be_readable_at_any_time_is_told(world: World, folder: str) -> None:
    """Whatever time was agreed on: a ledger that nobody can read proves nothing for hours."""
    agree(world)
    opened, _ = open_all(configfile.load(world.file))
    path = opened["bucket"].store.find(folder)[0].path
    freeze(repository(world), path)
    try:
        (row,) = (
            r for r in check_archive(repository(world), opened["bucket"]) if r.what == "archive"
        )
        assert (row.state, path in row.found) == ("degraded", True), row
    finally:
        thaw(repository(world), path)


def test_a_pack_in_an_archive_is_a_copy_that_cannot_be_read(place: Place, tmp_path: Path) -> None:
    """A rule that moves what is large takes the packs, and leaves every record and recipe."""
    world = proven_in(place, tmp_path, "chunked")
    assert standing(world) == "protected"
    opened, _ = open_all(configfile.load(world.file))
    packs = [s.path for s in opened["bucket"].store.find(layout.PACKS)]
    for path in packs:
        freeze(repository(world), path)
    copy = backup(world).copy("bucket")
    assert (copy.state, [a.path for a in copy.archived]) == ("archived", packs)
    assert standing(world) == "degraded"
    assert "copies-archived" in told(world)
    (row,) = (r for r in check_archive(repository(world), opened["bucket"]) if r.what == "archive")
    assert row.state == "degraded"
    assert packs[0] in bring_back(configfile.load(world.file), backup(world))[1]
    assert do(world, "verify").verdict == "degraded"
    agree(world)
    assert standing(world) == "protected"
    for path in packs:
        thaw(repository(world), path)
    assert backup(world).copy("bucket").state == "present"


def test_it_is_expired_like_any_other(frozen: World) -> None:
    first = backup(frozen).key
    with ReplaySource(["basic"]) as source:
        body = yaml.safe_load(frozen.file.read_text())
        body["cluster"]["nodes"] = [source.url]
        none = {
            "last": 1,
            "daily": 0,
            "weekly": 0,
            "monthly": 0,
            "floor": 1,
            "grace": "1s",
            "share": 1.0,
        }
        body["retention"] = none
        frozen.file.write_text(yaml.safe_dump(body))
        assert do(frozen, "backup").verdict == "ok"
        do(frozen, "verify")  # the newest proven in a repository stays there
        end = do(frozen, "expire", dry_run=False)
    assert end.verdict == "ok", end.reasons
    assert first not in {b.key for b in catalog(frozen).backups}
    assert not [p for p in stored(frozen, "") if first.backup_id in p]
