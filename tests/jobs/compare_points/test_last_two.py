"""What changed between the last two proven backups, as a run with its record."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
import yaml

from qdrant_dr import configfile
from qdrant_dr.cli import main
from qdrant_dr.records import Differed
from qdrant_dr.report import Assessment, gather
from qdrant_dr.report.frames.build import build_frames
from qdrant_dr.report.page.html import render
from tests.support.driving import do
from tests.support.servers import sandbox_server
from tests.support.world import World, make_world, seed


@pytest.fixture
def client(tmp_path: Path) -> Iterator[httpx.Client]:
    with (
        sandbox_server(tmp_path / "source") as server,
        httpx.Client(base_url=server.url, timeout=60, trust_env=False) as client,
    ):
        yield client


@pytest.fixture
def world(client: httpx.Client, tmp_path: Path) -> World:
    url = str(client.base_url).rstrip("/")
    return make_world(tmp_path / "world", url, chunked=("one",))


def delete(client: httpx.Client, ids: range) -> None:
    url = "/collections/movies/points/delete?wait=true"
    client.post(url, json={"points": [*ids]}).raise_for_status()


def run(world: World, capsys: pytest.CaptureFixture[str]) -> tuple[int, Differed | None, str]:
    code = main(["-c", world.reference, "diff", "--json"])
    body = json.loads(capsys.readouterr().out)
    end = world.ends("one")[-1]
    assert end.start.run_id == body["run_id"]
    details = [o.detail for o in end.outcomes]
    assert all(isinstance(d, Differed) for d in details)
    found = next((d for d in details if isinstance(d, Differed)), None)
    return code, found, " ".join(end.reasons + end.remarks)


def test_it_is_recorded_and_reported(
    client: httpx.Client, world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    seed(str(client.base_url).rstrip("/"), "movies", points=200)
    assert do(world, "backup", prove="content").verdict == "ok"
    code, found, said = run(world, capsys)
    assert (code, found) == (0, None)
    assert "movies: there are no two proven backups of one life yet" in said

    delete(client, range(20))
    assert do(world, "backup", prove="content").verdict == "ok"
    code, found, _ = run(world, capsys)
    assert found is not None
    gone = found.removed
    assert 19 <= gone <= 20  # seeded ids begin with 0 or 1
    assert (found.points_before, found.points_after) == (200, 200 - gone)
    assert (code, found.added, found.changed, found.share) == (0, 0, 0, gone / 200)
    assert found.before == world.manifests("one")[0].backup_id

    body = yaml.safe_load(world.file.read_text())
    world.file.write_text(yaml.safe_dump({**body, "objectives": {"drift_limit": 0.05}}))
    code, again, said = run(world, capsys)
    assert again == found
    assert code == 3
    assert "objectives.drift_limit is 5%" in said

    config = configfile.load(world.reference)
    assessment = Assessment.of(gather(config, datetime.now(UTC), timedelta(days=30)))
    page = render(assessment, build_frames(assessment)).decode()
    section = page.partition("What changed</h2>")[2].partition("</section>")[0]
    assert f"{gone} of 200 points of movies@{found.before} are gone" in section
