"""The public API: what `import qdrant_dr` gives, and how evidence is gathered from repositories."""

from __future__ import annotations

import shutil
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

import qdrant_dr
from qdrant_dr import layout
from qdrant_dr.api import open_config, utc
from qdrant_dr.config import Config, RepositoryConfig
from qdrant_dr.errors import NothingSelected
from qdrant_dr.report import Assessment, gather
from qdrant_dr.report.frames.build import build_frames
from qdrant_dr.report.watch.acknowledge import findings_now
from qdrant_dr.repository import create_repository, open_repository
from tests.support import records as r
from tests.support.records import NOW, days, hours
from tests.support.report_ledgers import chain
from tests.support.worlds import said


@pytest.fixture
def config(tmp_path: Path) -> Config:
    """Two repositories on disk, each with the same backup, proof and runs."""
    places = []
    for name in ("aws", "gcp"):
        place = {"name": name, "url": f"file://{tmp_path}/{name}", "domain": f"domain-{name}"}
        place["id"] = create_repository(RepositoryConfig.model_validate(place), NOW)
        places.append(place)
    made = r.config(repositories=places)
    m = r.manifest(size_bytes=64)
    for place in made.repositories:
        repository = open_repository(place, stall_timeout=timedelta(seconds=5))
        sink = repository.part_sink(m.key, m.parts[0].file)
        sink.write(b"x" * 64)
        sink.commit()
        repository.commit(m)
        repository.put_seal(r.seal(m))
        repository.add_proof(r.proof(m, repository_id=repository.id, location=repository.location))
        end = r.run_end(seen=(r.seen("movies"),), outcomes=(r.captured(m),))
        repository.write_run_start(end.start)
        repository.write_run_end(end)
        repository.write_run_start(r.run_start("verify", NOW - days(20)))
    return made


def test_frames_of_a_configuration(config: Config) -> None:
    got = qdrant_dr.open(config).frames(as_of=NOW, period_days=30)
    assert list(got["collections"]["status"]) == ["protected"]
    assert list(got["copies"]["state"]) == ["present", "present"]
    assert list(got["copies"]["stored_bytes"]) != [0, 0]
    assert list(got["runs"]["error_code"].fillna("")) == ["no-end", ""]
    assert len(got["backups"]) == 1


def test_runs_before_the_period_are_read_for_what_objectives_ask(config: Config) -> None:
    evidence = gather(config, NOW, timedelta(days=1))
    assert [s.job for s in evidence.crashed] == ["verify"]
    assert list(qdrant_dr.open(config).frames(as_of=NOW, period_days=1)["runs"]["kind"]) == [
        "backup"
    ]


def test_a_repository_that_is_gone_or_another_is_told(config: Config, tmp_path: Path) -> None:
    shutil.rmtree(tmp_path / "gcp")
    gone = gather(config, NOW, days(30))
    assert [e.error.code for e in gone.unreachable if e.error] == ["repository-missing"]
    assert ("critical", "gcp") in [s[:2] for s in said(gone)]
    shutil.copytree(tmp_path / "aws", tmp_path / "gcp")
    other = gather(config, NOW, days(30))
    assert [e.error.code for e in other.unreachable if e.error] == ["repository-mismatch"]


def test_an_unreadable_record_is_told(config: Config, tmp_path: Path) -> None:
    for kind in ("proofs", "runs"):
        path = next((tmp_path / "aws" / kind).rglob("*.json"))
        path.write_bytes(path.read_bytes()[:-9])
    evidence = gather(config, NOW, days(30))
    assert {u.error.code for u in evidence.unreadable} == {"record-damaged"}
    assert len(evidence.unreadable) == 2
    assert any("2 records could not be read" in what for _, _, what in said(evidence))


def test_nobody_forgets_the_ledgers(config: Config) -> None:
    """An entry that somebody replaced is a finding for whoever gathers; who leaves ledgers
    out says so, and gets no frame: its controls would look complete."""
    repository = open_repository(config.repositories[0], stall_timeout=timedelta(seconds=5))
    first, second, third = chain("aws")
    for number, entry in enumerate((first, third, second, third), 1):  # 2 does not follow 1
        own = entry.entry.model_copy(update={"number": number, "repository_id": repository.id})
        repository.store.create(layout.ledger_entry(number), own.to_bytes())
    now = datetime.now(UTC) + timedelta(hours=1)
    whole = Assessment.of(gather(config, now, days(30)))
    assert ("ledger-broken", "aws") in [(p.code, p.scope) for p in whole.problems]
    assert list(build_frames(whole)["ledger"]["state"]) == ["broken", "none"]
    named = findings_now(config, {repository.name: repository}, now)
    assert ("ledger-broken", "aws") in [(f.code, f.scope) for f in named]
    without = Assessment.of(gather(config, now, days(30), ledgers=False))
    with pytest.raises(ValueError, match="has no ledgers"):
        build_frames(without)


def test_one_repository_cannot_attest_two_copies(config: Config) -> None:
    alone = open_config(config, repositories=["aws"]).evidence(as_of=NOW)
    assert any("1 of 2 copies" in what for _, _, what in said(alone))


@pytest.mark.parametrize("names", [[], ["azure"]])
def test_no_or_unknown_repositories_are_refused(config: Config, names: list[str]) -> None:
    with pytest.raises(NothingSelected):
        open_config(config, repositories=names)


def test_raw_records_are_the_files(config: Config, tmp_path: Path) -> None:
    raw = qdrant_dr.open(config).raw_records()
    assert raw.errors == {}
    assert {x.repository for x in raw.records} == set(raw.locations) == {"aws", "gcp"}
    for record in raw.records:
        assert (tmp_path / record.repository / record.path).read_bytes() == record.data
    assert len(raw.records) == 12
    shutil.rmtree(tmp_path / "aws")
    assert list(qdrant_dr.open(config).raw_records().errors) == ["aws"]


def test_times_have_zones() -> None:
    with pytest.raises(ValueError, match="time zone"):
        utc(datetime(2026, 11, 22))  # noqa: DTZ001 - that is the point
    assert utc(NOW).tzinfo is UTC
    assert utc(None) - datetime.now(UTC) < hours(1)


def test_the_package_starts_without_pandas() -> None:
    code = "import sys, qdrant_dr; print(qdrant_dr.__version__, 'pandas' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60,
        cwd=Path(__file__).parents[2],
    )  # fmt: skip
    assert done.stdout.split() == [qdrant_dr.__version__, "False"]
    with pytest.raises(AttributeError):
        _ = qdrant_dr.nothing
