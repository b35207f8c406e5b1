"""Drills as games: what is lost is not touched, and the record says what would have been kept.

On the sandbox, or on a real server where `QDRANT_BIN` is set.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from qdrant_dr import configfile
from qdrant_dr.cli import main
from qdrant_dr.errors import PlanRefused, TargetNotDisposable, UsageError
from qdrant_dr.jobs.drill.job import recorded
from qdrant_dr.jobs.drill.objectives import missed_under
from qdrant_dr.jobs.drill.scenario import (
    apply_scenario,
    refuse_impossible,
    standing_under,
    unused,
    usable,
    words,
)
from qdrant_dr.jobs.drill.sign import ended_run
from qdrant_dr.jobs.run.run import begin, utc_now
from qdrant_dr.records import Drilled, RunEnd
from tests.support import records as r
from tests.support.driving import do, outcomes
from tests.support.records import NOW, days, hours
from tests.support.servers import qdrant_server, sandbox_server
from tests.support.world import World, make_world, seed

new_server = qdrant_server if "QDRANT_BIN" in os.environ else sandbox_server
KIND = "server" if "QDRANT_BIN" in os.environ else "sandbox"


@contextmanager
def listener() -> Iterator[tuple[str, list[int]]]:
    """An address that takes every connection and counts it; nothing is ever answered."""
    calls: list[int] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def take() -> None:
            while True:
                try:
                    taken, _ = server.accept()
                except OSError:
                    return
                calls.append(1)
                taken.close()

        thread = threading.Thread(target=take, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}", calls
        server.shutdown(socket.SHUT_RDWR)
    thread.join(10)


@pytest.fixture(scope="module")
def backed_up(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two collections in three repositories, of which two are in one failure domain."""
    folder = tmp_path_factory.mktemp("games")
    with new_server(folder / "source") as source:
        for name in ("movies", "users"):
            seed(source.url, name, points=60)
        world = make_world(folder / "world", source.url, repositories=("one", "two", "far"))
        rewrite(world, domains={"two": "disk-one"}, copies={"quorum": 2, "domains": 2})
        assert main(["-q", "-c", world.reference, "backup"]) == 0
    return folder / "world"


def rewrite(world: World, *, domains: dict[str, str] | None = None, **sections: Any) -> None:
    body = yaml.safe_load(world.file.read_text()) | sections
    for repository in body["repositories"]:
        repository["domain"] = (domains or {}).get(repository["name"], repository["domain"])
    world.file.write_text(yaml.safe_dump(body))


@pytest.fixture
def world(backed_up: Path, tmp_path: Path) -> World:
    """A copy of it in the same place, so that its proofs count; the source is dead by now."""
    kept = tmp_path / "kept"
    shutil.copytree(backed_up, kept)
    yield World(backed_up / "qdrant-dr.yaml", {n: backed_up / n for n in ("one", "two", "far")})  # type: ignore[misc]
    shutil.rmtree(backed_up)
    shutil.copytree(kept, backed_up)


def games(end: RunEnd) -> list[Drilled]:
    return [o.detail for o in outcomes(end, "drill") if isinstance(o.detail, Drilled)]


def tree(folder: Path) -> dict[str, int]:
    return {str(p): p.stat().st_mtime_ns for p in folder.rglob("*")}


class TestWhatIsLeft:
    def test_a_lost_cloud_is_its_whole_domain_and_the_cluster(self, world: World) -> None:
        config = configfile.load(world.reference)
        left = apply_scenario(config, "lost-cloud:two")
        assert [r.name for r in left.repositories] == ["far"]
        assert unused(config, "lost-cloud:two") == ("one", "two")
        assert usable(config, "lost-cloud:two") == ("far",)
        assert (left.cluster.nodes, left.cluster.api_key) == ((), None)

    def test_a_lost_node_is_the_cluster_alone(self, world: World) -> None:
        config = configfile.load(world.reference)
        left = apply_scenario(config, "lost-node")
        assert left.repositories == config.repositories
        assert left.cluster.nodes == ()

    @pytest.mark.parametrize("scenario", ["lost-collection", "no-prefect", None])
    def test_the_others_take_nothing_away(self, world: World, scenario: str | None) -> None:
        config = configfile.load(world.reference)
        assert apply_scenario(config, scenario) == config
        assert unused(config, scenario) == ()

    @pytest.mark.parametrize(
        ("scenario", "hint"),
        [
            ("lost-nodes", "lost-node"),
            ("lost-cloud", "lost-cloud:one"),
            ("lost-cloud:fer", "lost-cloud:far"),
            ("lost-node:one", "lost-node"),
            ("lost-cloud:NAME", "lost-cloud:one"),
        ],
    )
    def test_other_words_are_refused(self, world: World, scenario: str, hint: str) -> None:
        with pytest.raises(UsageError) as refused:
            apply_scenario(configfile.load(world.reference), scenario)
        assert hint in refused.value.hint

    def test_one_domain_for_all_leaves_nothing(self, world: World) -> None:
        rewrite(world, domains={"far": "disk-one"}, copies={"quorum": 2, "domains": 1})
        before = {name: tree(folder) for name, folder in world.folders.items()}
        with pytest.raises(PlanRefused, match="nothing is left"):
            apply_scenario(configfile.load(world.reference), "lost-cloud:one")
        assert main(["-q", "-c", world.reference, "drill", "--scenario", "lost-cloud:one"]) == 4
        assert {name: tree(folder) for name, folder in world.folders.items()} == before

    def test_a_scratch_that_is_the_lost_cluster_is_refused(self, world: World) -> None:
        config = configfile.load(world.reference)
        port = config.cluster.nodes[0].rpartition(":")[2]
        scratch = {"url": f"http://localhost:{port}", "disposable": True}
        rewrite(world, drill={"engine": "server", "scratch": scratch})
        config = configfile.load(world.reference)
        with pytest.raises(TargetNotDisposable, match="is a node of cluster"):
            refuse_impossible(config, "lost-node", engine="server")
        end = do(world, "drill", scenario="lost-node")
        assert end.error is not None
        assert end.error.code == "target-not-disposable"

    def test_every_scenario_has_words(self) -> None:
        assert words("lost-cloud:one", ("one", "two")) == (
            "one, two not opened, nothing asked of the cluster"
        )
        assert words("lost-node") == "nothing asked of the cluster"


class TestPlayed:
    def test_nothing_of_a_lost_cloud_is_opened_or_written(self, world: World) -> None:
        for name in ("one", "two"):  # gone: opening either would make the run degraded
            world.folders[name].rename(world.folders[name].with_suffix(".away"))
        end = do(world, "drill", engine="edge", scenario="lost-cloud:one")
        assert end.verdict == "ok", end.reasons
        assert [r.name for r in end.repositories] == ["far"]
        assert {o.repository for o in end.outcomes} == {"far"}
        assert {d.scenario.name for d in games(end) if d.scenario} == {"lost-cloud:one"}
        assert not world.folders["one"].exists()
        assert not world.folders["two"].exists()
        assert len(games(end)) == 2
        for found in (d.scenario for d in games(end)):
            assert found is not None
            assert (found.unused, found.copies_left, found.domains_left) == (("one", "two"), 1, 1)
            assert found.newest_proven_us is not None
            assert found.newest_proven_us < timedelta(hours=1).total_seconds() * 1e6

    def test_records_of_it_stay_as_they_were_from_the_command_line(self, world: World) -> None:
        before = {name: tree(world.folders[name]) for name in ("one", "two")}
        command = ["-q", "-c", world.reference, "drill", "movies", "--engine", "edge"]
        assert main([*command, "--scenario", "lost-cloud:two"]) == 0
        assert {name: tree(world.folders[name]) for name in ("one", "two")} == before
        end = world.ends("far")[-1]
        assert end.start.parameters["scenario"] == "lost-cloud:two"
        assert end.start.config_sha256 == configfile.load(world.reference).sha256

    def test_nothing_is_asked_of_a_lost_cluster(self, world: World, tmp_path: Path) -> None:
        with listener() as (url, calls), new_server(tmp_path / "scratch") as scratch:
            cluster = {"name": "shop", "nodes": [url]}
            target = {"url": scratch.url, "disposable": True}
            rewrite(world, cluster=cluster, drill={"engine": "server", "scratch": target})
            end = do(world, "drill", scenario="lost-node")
            assert calls == []
            assert end.verdict == "ok", end.reasons
            # every place of both collections, one after another on one scratch
            assert len(games(end)) == 6
            assert {d.target_kind for d in games(end)} == {KIND}
            assert do(world, "drill", collection="movies").verdict == "ok"
            assert calls, "without a scenario the cluster is asked whether the scratch is it"

    def test_a_collection_that_was_only_in_the_lost_cloud_is_not_forgotten(
        self, world: World
    ) -> None:
        for folder in ("backups", "proofs"):
            (gone,) = (world.folders["far"] / folder / "shop").glob("users-*")
            shutil.rmtree(gone)
        end = do(world, "drill", engine="edge", scenario="lost-cloud:one")
        assert end.verdict == "failed"
        assert [o.collection for o in end.outcomes] == ["movies"]
        assert any(
            "under lost-cloud:one no sealed, sound copy of users" in why for why in end.reasons
        )

    def test_a_missed_recovery_point_fails_the_game(self, world: World) -> None:
        rewrite(world, objectives={"rpo": "0.001s"})
        end = do(world, "drill", engine="edge", scenario="lost-collection", collection="movies")
        assert end.verdict == "failed"
        (why,) = end.reasons
        assert why.startswith("under lost-collection the newest proven backup of movies is ")

    def test_the_budget_of_a_game_keeps_no_promise(self, world: World) -> None:
        """What waits for the next run would be as lost as what was drilled."""
        rewrite(world, objectives={"rpo": "0.001s"})
        end = do(world, "drill", engine="edge", scenario="lost-node", pick="latest")
        assert len(end.outcomes) == 1
        assert {why.partition(" of ")[2].split()[0] for why in end.reasons} == {"movies", "users"}

    def test_a_scratch_that_is_a_peer_of_the_lost_cluster_is_refused(self, world: World) -> None:
        scratch = {"url": "http://localhost:1", "disposable": True}
        cluster = yaml.safe_load(world.file.read_text())["cluster"]
        rewrite(
            world,
            cluster=cluster | {"peers": {"1": "http://127.0.0.1:1"}},
            drill={"engine": "server", "scratch": scratch},
        )
        with pytest.raises(TargetNotDisposable, match="is a node of cluster"):
            refuse_impossible(configfile.load(world.reference), "lost-node", engine="server")

    def test_drills_of_another_cluster_in_the_same_repositories_are_not_ours(
        self, world: World
    ) -> None:
        config = configfile.load(world.reference)
        other = config.cluster.model_copy(update={"name": "other"})
        mine = begin(config, "drill")
        theirs = begin(config.model_copy(update={"cluster": other}), "drill")
        for run in (mine, theirs):
            run.finish(config, outcomes=())
        found = {e.start.run_id for e in begin(config, "drill").past_ends(config, utc_now())}
        assert mine.run_id in found
        assert theirs.run_id not in found
        with pytest.raises(UsageError, match="is of cluster 'other'"):
            ended_run(begin(config, "sign"), theirs.run_id)
        assert ended_run(begin(config, "sign"), mine.run_id).start.run_id == mine.run_id

    def test_a_dry_run_says_what_it_would_drill_and_changes_nothing(self, world: World) -> None:
        before = {name: tree(folder) for name, folder in world.folders.items()}
        end = do(world, "drill", scenario="lost-cloud:far", dry_run=True)
        assert {(o.repository, o.verdict) for o in end.outcomes} == {
            ("one", "skipped"), ("two", "skipped"),
        }  # fmt: skip
        assert {name: tree(folder) for name, folder in world.folders.items()} == before


class TestWithoutPrefect:
    def play(self, world: World, code: str = "", **environment: str) -> Any:
        program = (
            f"{code}\nimport sys\nfrom qdrant_dr.cli import main\n"
            "ended = main(['--json', *sys.argv[1:]])\n"
            "assert 'prefect' not in sys.modules or ended == 4, 'prefect was imported'\n"
            "raise SystemExit(ended)"
        )
        path = os.pathsep.join(filter(None, sys.path))
        done = subprocess.run(
            [sys.executable, "-c", program, "-c", world.reference, "drill", "movies",
             "--engine", "edge", "--scenario", "no-prefect"],
            capture_output=True, text=True, timeout=120, check=False,
            env={**os.environ, **environment, "PYTHONPATH": path},
        )  # fmt: skip
        return done.returncode, json.loads(done.stdout)

    def test_nothing_of_it_is_loaded_or_asked(self, world: World) -> None:
        with listener() as (url, calls):
            code, said = self.play(world, PREFECT_API_URL=f"{url}/api")
            assert calls == []
        assert code == 0, said
        (row,) = said["rows"]
        assert "no-prefect: nothing of Prefect was loaded or asked" in row["remark"]

    def test_a_secret_that_only_prefect_knows_makes_it_degraded(self, world: World) -> None:
        body = yaml.safe_load(world.file.read_text())
        key = "secret:only-a-block-has-it"
        elsewhere = {"endpoint_url": "http://127.0.0.1:1", "key": key, "secret": key}
        body["repositories"][0] |= {"url": "s3://bucket/dr", "options": elsewhere}
        world.file.write_text(yaml.safe_dump(body))
        code, said = self.play(world)
        assert code == 3
        assert any("only-a-block-has-it" in e["message"] for e in said["errors"])

    def test_in_a_process_with_prefect_it_is_refused(self, world: World) -> None:
        code, said = self.play(world, code="import prefect")
        assert code == 4
        (error,) = said["errors"]
        assert "run `qdrant-dr drill --scenario no-prefect` in a shell" in error["hint"]
        assert world.ends("one")[-1].verdict == "failed"


class TestRecorded:
    """What is left of the promises, from records alone."""

    old, new = r.manifest(at=NOW - days(2)), r.manifest(at=NOW - hours(2))

    def standing(self, restored: str | None = None, **proofs: Any) -> Any:
        held = r.catalog({"aws": [self.old, self.new], "gcp": [self.old, self.new]}, **proofs)
        return standing_under("lost-node", (), held.backups, r.config(), restored=restored, now=NOW)

    def test_only_what_is_proven_counts(self) -> None:
        both = [r.seal(self.old), r.seal(self.new)]
        none = self.standing(seals=both)
        assert (none.newest_proven_us, none.copies_left, none.domains_left) == (None, 0, 0)
        proofs = [r.proof(self.old, where) for where in ("aws", "gcp")]
        old = self.standing(seals=both, proofs=proofs)
        assert old.newest_proven_us == days(2).total_seconds() * 1e6
        assert (old.copies_left, old.domains_left) == (2, 2)

    def test_a_backup_that_came_back_equal_is_proven(self) -> None:
        both = [r.seal(self.old), r.seal(self.new)]
        back = self.standing(self.new.backup_id, seals=both, proofs=[r.proof(self.old)])
        assert back.newest_proven_us == hours(2).total_seconds() * 1e6

    def test_each_collection_is_blamed_once(self) -> None:
        config = r.config(objectives={"rpo": "1h"})
        held = r.catalog({"aws": [self.new], "gcp": [self.new]}, seals=[r.seal(self.new)])
        done = [r.drilled(self.new), r.drilled(self.new, detail={"fingerprint_equal": False})]
        told = recorded(config, "lost-node", (), done, held.backups, now=NOW)
        assert [d.detail.scenario.newest_proven_us is None for d in told] == [False, True]
        assert missed_under(config, told) == ["under lost-node no backup of movies is proven"]
        assert missed_under(config, told[:1]) == [
            "under lost-node the newest proven backup of movies is 2 h old, promised 1 h"
        ]
        assert recorded(config, None, (), done, held.backups, now=NOW) == done
