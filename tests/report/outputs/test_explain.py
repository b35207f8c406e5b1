"""Every figure of a real report leads to records, their digests as stored, and signed entries."""

from __future__ import annotations

import hashlib
import json
import shutil
from datetime import timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from qdrant_dr import configfile, layout
from qdrant_dr.cli import main
from qdrant_dr.errors import NothingSelected, UsageError
from qdrant_dr.jobs.run.catalogs import open_all
from qdrant_dr.records import RunEnd
from qdrant_dr.report.evidence.gather import gather
from qdrant_dr.report.findings.assessment import Assessment
from qdrant_dr.report.frames.build import build_rows
from qdrant_dr.report.frames.explain import SUMMARY, explain
from qdrant_dr.report.frames.provenance import (
    CONFIGURED,
    NARROWED,
    Made,
    is_configured,
    path_of,
    records_of,
)
from qdrant_dr.report.frames.schema import BY_NAME, FRAMES
from qdrant_dr.report.outputs.locate import Places, locate
from qdrant_dr.report.page.html import tiles
from tests.support.driving import do
from tests.support.replay import ReplaySource
from tests.support.report_ledgers import after_all, signing_world
from tests.support.world import World

PERIOD = timedelta(days=30)
FROM_NO_RECORD = {"repository-unreadable", "foreign-objects", "domains-shared"}
"""Findings about what stores and the configuration say."""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """Two repositories after a backup, a reviewed drill and a verification, all signed."""
    folder = tmp_path_factory.mktemp("explain")
    with ReplaySource(["basic"]) as source:
        made = signing_world(folder, source.url)
        assert do(made, "backup").verdict == "ok"
    drilled = do(made, "drill", engine="edge")
    assert main(["-q", "-c", made.reference, "sign", drilled.start.run_id,
                 "--as", "Ana", "--key", str(folder / "ana")]) == 0  # fmt: skip
    do(made, "verify")
    return made


@pytest.fixture(scope="module")
def found(world: World) -> tuple[Assessment, dict[str, list[Made]], Places]:
    config = configfile.load(world.reference)
    opened, _ = open_all(config)
    assessment = Assessment.of(gather(config, after_all(world), PERIOD))
    rows = build_rows(assessment)
    every = [r for f in FRAMES for c in f.columns for m in rows[f.name]
             for r in records_of(f.name, c.name, m)]  # fmt: skip
    return assessment, rows, locate(every, opened)


Found = tuple[Assessment, dict[str, list[Made]], Places]


def test_every_cell_of_every_frame_leads_to_records_as_stored(world: World, found: Found) -> None:
    _, rows, places = found
    walked = 0
    for frame in FRAMES:
        for made in rows[frame.name]:
            for column in (c.name for c in frame.columns):
                records = records_of(frame.name, column, made)
                if is_configured(frame.name, column):
                    assert records == ()
                    continue
                if frame.name == "findings" and made.row["code"] in FROM_NO_RECORD:
                    continue
                if frame.name == "controls" and not made.row["computed_from"]:
                    continue
                if frame.name == "controls" and made.row["figures"].startswith("there was no"):
                    continue  # a frame without rows
                assert records, (frame.name, column, made.row)
                for record in records:
                    where = places.of(record)
                    assert where
                    for located in where:
                        data = (world.folders[located.repository] / located.path).read_bytes()
                        assert located.sha256 == hashlib.sha256(data).hexdigest() == record.sha256
                walked += 1
    assert walked > 300
    assert places.errors == {}


def test_every_record_is_named_by_a_signed_entry(world: World, found: Found) -> None:
    assessment, _, places = found
    assert [(s.state, s.breaks, s.signers) for s in assessment.ledgers] == [
        ("signed", (), ("worker@example.com",))
    ] * 2
    for located in (at for each in places.by_path.values() for at in each):
        if layout.entry_number(located.path) is not None:
            continue
        assert located.entry is not None, located.path
        entry = json.loads(
            (world.folders[located.repository] / layout.ledger_entry(located.entry)).read_bytes()
        )
        named = {(w["path"], w["sha256"]) for w in (*entry["records"], *entry["found"])}
        assert (located.path, located.sha256) in named


def test_every_figure_of_the_summary_is_explained(found: Found) -> None:
    assessment, rows, _ = found
    shown = [tile.figure for tile in tiles(assessment, ZoneInfo("UTC"))]
    assert shown == list(SUMMARY)
    for figure in shown:
        cells = explain(figure, rows)
        assert cells
        assert all(cell.records or cell.configured for cell in cells)


def test_a_narrow_column_has_its_own_records_only(found: Found) -> None:
    _, rows, _ = found
    (newest,) = explain("collections.newest_captured_at", rows)
    (status,) = explain("collections.status", rows)
    assert {path_of(r) for r in newest.records} < {path_of(r) for r in status.records}
    assert any("/runs/" in f"/{path_of(r)}" for r in status.records)
    assert all(path_of(r).startswith(("backups/", "proofs/")) for r in newest.records)


def test_tables_of_columns_name_columns() -> None:
    for table in (CONFIGURED, NARROWED):
        for name, columns in table.items():
            assert set(columns) <= {c.name for c in BY_NAME[name].columns}


def test_what_a_figure_may_be(found: Found) -> None:
    _, rows, _ = found
    name = rows["collections"][0].row["collection"]
    assert [c.column for c in explain(f"collections.rpo:{name}", rows)] == [
        "rpo_seconds", "rpo_objective_seconds",
    ]  # fmt: skip
    assert [c.key[2] for c in explain(f"copies.proven:{name},two", rows)] == ["two"]
    assert [c.key for c in explain("controls.state:CP-9", rows)] == [("NIST SP 800-53", "CP-9")]
    for wrong in ("nothing", "copies", "movies.rpo", "copies.nothing"):
        with pytest.raises(UsageError):
            explain(wrong, rows)
    with pytest.raises(NothingSelected, match="called 'nobody'"):
        explain("collections.rpo:nobody", rows)


def test_the_command_lists_them_and_writes_nothing(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(str(p) for p in world.file.parent.rglob("*"))
    assert main(["--json", "-c", world.reference, "report", "--explain", "rpo"]) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert [r["figure"].partition(":")[0] for r in rows] == [
        "collections.rpo_seconds", "collections.rpo_objective_seconds",
    ]  # fmt: skip
    assert {r["repository"] for r in rows[0]["records"]} == {"one", "two"}
    assert all(r["entry"] for r in rows[0]["records"])
    assert rows[1] == rows[1] | {"configured": True, "records": []}
    assert main(["-c", world.reference, "report", "--explain", "protected"]) == 0
    out = capsys.readouterr().out
    assert rows[0]["records"][0]["sha256"] in out
    assert sorted(str(p) for p in world.file.parent.rglob("*")) == before


def test_a_record_that_was_changed_since_is_named_by_no_entry(world: World, tmp_path: Path) -> None:
    """Rewritten as carefully as you like: its own digest is right, the ledger's is not."""
    config = configfile.load(world.reference)
    kept = world.folders["two"]
    shutil.copytree(kept, tmp_path / "kept")
    try:
        end = min(kept.glob("runs/**/*.end.json"))
        forged = RunEnd.from_bytes(end.read_bytes(), where="").model_copy(
            update={"remarks": ("forged",)}
        )
        end.write_bytes(forged.to_bytes())
        opened, _ = open_all(config)
        places = locate([forged], opened)
        by = {at.repository: at.entry for at in places.of(forged)}
        assert by["one"] is not None
        assert by["two"] is None
    finally:
        shutil.rmtree(kept)
        shutil.copytree(tmp_path / "kept", kept)


def test_a_report_writes_the_controls_as_a_table_and_for_importers(world: World) -> None:
    code = main(["-q", "-c", world.reference, "report", "--format", "csv,oscal"])
    assert code in (0, 3)
    (folder,) = (world.file.parent / "reports" / "shop").iterdir()
    assert "AU-10" in (folder / "controls.csv").read_text()
    oscal = json.loads((folder / "controls.oscal.json").read_text())["assessment-results"]
    heads = [r for r in oscal["back-matter"]["resources"] if "rlinks" in r]
    assert [h["rlinks"][0]["href"].partition("/")[0] for h in heads] == ["one", "two"]
    for head in heads:
        name, _, path = head["rlinks"][0]["href"].partition("/")
        digest = hashlib.sha256((world.folders[name] / path).read_bytes()).hexdigest()
        assert head["rlinks"][0]["hashes"][0]["value"] == digest
