"""The Prefect server dies in the middle of a deployed backup; the backup does not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from tests.support.deployed import ask_for_run, deploy, ended, run_of, worker
from tests.support.prefect import PrefectServer, prefect_server, spawn
from tests.support.thorough import thorough
from tests.support.waiting import eventually
from tests.support.world import World

pytestmark = [pytest.mark.prefect, pytest.mark.timeout(900)]

FLOW = "import sys; from flows.backup import backup; backup(config=sys.argv[1])"


def slowed(made: World) -> str:
    """Let one repository be slow; the text as it was."""
    quick = made.file.read_text()
    slow = "domain: disk-one\n  bandwidth: 12KiB/s"
    made.file.write_text(quick.replace("domain: disk-one", slow))
    return quick


def is_committed(made: World, log: Path) -> None:
    """Manifests everywhere, proofs and the end on record."""
    (end, *_) = eventually(lambda: made.ends("two"), within=180)
    for name in made.folders:
        assert {m.collection for m in made.manifests(name)} == {"movies", "users"}, log.read_text()
    assert end.verdict == "ok", end.reasons
    assert {(o.unit, o.verdict) for o in end.outcomes} >= {("capture", "ok"), ("verify", "ok")}


def test_manifests_are_committed_without_the_server(
    prefect_api: PrefectServer, world: Callable[..., World], tmp_path: Path
) -> None:
    made = world()
    slowed(made)
    log = tmp_path / "flow.log"
    with prefect_server(tmp_path / "prefect", like=prefect_api.database) as server:
        flow = spawn("-c", FLOW, made.reference, log=log, env=server.env)
        try:
            eventually(lambda: list(made.folders["one"].glob("backups/**/intent.json")), within=120)
            assert not made.manifests("one"), "the server must die in the middle"
            server.child.kill()
            is_committed(made, log)
            # not its exit: Prefect spends a second and more on each event that it cannot send
            eventually(lambda: "is not announced" in log.read_text(), within=90)
        finally:
            flow.kill()


@thorough
def test_a_server_that_starts_again_is_behind_and_the_next_run_is_fine(
    prefect_api: PrefectServer, world: Callable[..., World], tmp_path: Path
) -> None:
    """The run's process ends by itself. The server could not be told: the run is shown Running (its
    automation forgets a sign of life a minute after its window); nothing waits for it, though."""
    made = world()
    quick = slowed(made)
    with prefect_server(tmp_path / "prefect", like=prefect_api.database) as server:
        nightly = deploy(server, tmp_path, {"lost": (made.reference, "lost")})["lost"]
        with worker(server, "lost", tmp_path / "worker.log") as running:
            run = ask_for_run(server, nightly)
            eventually(lambda: list(made.folders["one"].glob("backups/**/intent.json")), within=240)
            flows = running.flows()
            server.child.kill()
            is_committed(made, running.log)
            _, alive = psutil.wait_procs(flows, timeout=300)
            assert not alive, running.log.read_text()
        server.start()
        assert run_of(server, run)["state_name"] == "Running", "nobody could tell it"
        made.file.write_text(quick)
        # a worker gives up when its server is away for long; whoever supervises it starts another
        with worker(server, "lost", tmp_path / "another.log") as running:
            again = ended(server, ask_for_run(server, nightly), within=420)
            assert again["state_name"] == "Completed", running.log.read_text()
            eventually(lambda: taken(server), until=lambda held: not held, within=180)


def taken(server: PrefectServer) -> list[str]:
    """Limits that somebody holds a slot of."""
    found = server.call("POST", "/v2/concurrency_limits/filter", {"limit": 200})
    return [limit["name"] for limit in found if limit["active_slots"]]
