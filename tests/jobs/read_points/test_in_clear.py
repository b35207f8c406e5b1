"""Points of an encrypted backup that go to a clear place: said in the plan and in the record."""

from __future__ import annotations

from pathlib import Path

from qdrant_dr import configfile
from qdrant_dr.dispatch.threads import in_threads
from qdrant_dr.jobs.export.job import ExportRequest, export
from qdrant_dr.jobs.run.run import begin
from tests.support.driving import do
from tests.support.restored_points import bring, delete, make_collection, the_outcome
from tests.support.servers import sandbox_server
from tests.support.world import make_world


def test_it_is_said_where_points_lie_in_clear(tmp_path: Path) -> None:
    with sandbox_server(tmp_path / "server") as server:
        make_collection(server.url, 60)
        world = make_world(tmp_path / "world", server.url, encrypted=("two",))
        assert do(world, "backup").verdict == "ok"
        delete(server.url, range(1, 4))
        planned = bring(world, missing=True, dry_run=True)
        said = "one is not encrypted, two is"
        assert any(said in r for r in planned.remarks), planned.remarks
        assert any(said in n for n in the_outcome(bring(world, missing=True)).notes)
        config = configfile.load(world.reference)
        asked = ExportRequest(backup="movies@latest-proven", out=str(tmp_path / "out"))
        run = begin(config, "export", parameters=asked.model_dump())
        end = export(config, asked, run, in_threads(config, run.run_id))
        (outcome,) = end.outcomes
        assert outcome.verdict == "ok", outcome
        assert any("encrypted in two; the files of the export are not" in n for n in outcome.notes)
