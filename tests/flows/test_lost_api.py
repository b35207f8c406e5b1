"""The Prefect server dies in the middle of a deployed backup; the backup does not."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import psutil
import pytest
from prefect import settings as s
from prefect.client.orchestration import get_client

from deployments.automations import automations
from qdrant_dr import configfile
from tests.support.deployed import ask_for_run, deploy, ended, run_of, worker
from tests.support.prefect import PrefectServer, prefect_server
from tests.support.waiting import eventually
from tests.support.world import World

pytestmark = [pytest.mark.prefect, pytest.mark.timeout(600)]

OFTEN = {"PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30"}


def test_a_backup_is_committed_without_the_server_and_its_run_is_found_dead(
    prefect_api: PrefectServer, world: Callable[..., World], tmp_path: Path
) -> None:
    """Manifests, proofs and the end are on record and the process ends; the server that starts
    again marks the run, has its slots back, and the next run of the same worker is fine."""
    made = world()
    quick = made.file.read_text()
    made.file.write_text(quick.replace("domain: disk-one", "domain: disk-one\n  bandwidth: 6KiB/s"))
    with prefect_server(tmp_path / "prefect", like=prefect_api) as server:
        nightly = deploy(server, tmp_path, {"lost": (made.reference, "lost")})["lost"]
        mark_zombies_of(server, made)
        with worker(server, "lost", tmp_path / "worker.log", OFTEN) as running:
            run = ask_for_run(server, nightly)
            eventually(lambda: list(made.folders["one"].glob("backups/**/intent.json")), within=240)
            eventually(lambda: signs_of_life(server), within=60)
            assert not made.manifests("one"), "the server must die in the middle"
            flows = running.flows()
            server.child.kill()
            (end, *_) = eventually(lambda: made.ends("two"), within=180)
            log = running.log.read_text()
            for name in made.folders:
                assert {m.collection for m in made.manifests(name)} == {"movies", "users"}, log
            assert end.verdict == "ok", end.reasons
            done = {(o.unit, o.verdict) for o in end.outcomes}
            assert done >= {("capture", "ok"), ("verify", "ok")}
            # Prefect spends a second and more on each event that it cannot send
            _, alive = psutil.wait_procs(flows, timeout=300)
            assert not alive, log
            server.start()
            assert run_of(server, run)["state_name"] == "Running", "nobody could tell it"
            made.file.write_text(quick)
            assert ended(server, run)["state_name"] == "Crashed"
            again = ended(server, ask_for_run(server, nightly))
            assert again["state_name"] == "Completed", running.log.read_text()
            eventually(lambda: taken(server), until=lambda held: not held, within=180)


def mark_zombies_of(server: PrefectServer, made: World) -> None:
    """The automation with a short window."""
    config = configfile.load(made.reference)
    short = automations(config, None, heartbeat=timedelta(seconds=20))
    with (
        s.temporary_settings({s.PREFECT_API_URL: server.api}),
        get_client(sync_client=True) as client,
    ):
        client.create_automation(next(a for a in short if a.name == "qdr-zombie"))


def signs_of_life(server: PrefectServer) -> int:
    """Runs whose next heartbeat its automation waits for: it remembers that over a restart."""
    with closing(sqlite3.connect(f"file:{server.database}?mode=ro", uri=True)) as database:
        (count,) = database.execute("select count(*) from automation_bucket").fetchone()
    return int(count)


def taken(server: PrefectServer) -> list[str]:
    """Limits that somebody holds a slot of."""
    found = server.call("POST", "/v2/concurrency_limits/filter", {"limit": 200})
    return [limit["name"] for limit in found if limit["active_slots"]]
