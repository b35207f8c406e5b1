"""Real runs of a real process worker, and what becomes of them when something dies.

One server, one source; each scenario has a deployment of its own, made from prefect.yaml. The run
that is killed goes first and its end is looked at last: the server needs a while to miss it.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import httpx
import psutil
import pytest
import yaml
from prefect import settings as s
from prefect.blocks.notifications import CustomWebhookNotificationBlock
from prefect.client.orchestration import get_client

from deployments.automations import automations
from deployments.register import register
from qdrant_dr import configfile
from qdrant_dr.records import Proved, Swept
from tests.support.deployed import ENDED, Worker, ask_for_run, deploy, ended, run_of, worker
from tests.support.prefect import PrefectServer
from tests.support.servers import sandbox_server
from tests.support.sink import Sink, http_sink
from tests.support.thorough import thorough
from tests.support.waiting import eventually
from tests.support.world import World, make_world, seed

pytestmark = [pytest.mark.prefect, pytest.mark.timeout(600)]

OFTEN = {"PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30"}
"""The least that Prefect takes."""
ALIVE = timedelta(seconds=20)
"""A third of what the short zombie automation waits: longer than a heartbeat, even a late one."""
SLOW = "3KiB/s"
"""A capture takes most of a minute, so that it can be met in its middle."""


@dataclass
class Site:
    """The server, the source, where alerts arrive, and a deployment and a world by scenario."""

    server: PrefectServer
    source: str
    sink: Sink
    folder: Path
    worlds: dict[str, World]
    deployments: dict[str, str]

    def start(self, scenario: str) -> str:
        """A run of it, once it writes to a repository. Its id."""
        run = ask_for_run(self.server, self.deployments[scenario])
        folder = self.worlds[scenario].folders["one"]
        before = set(folder.glob("backups/**/snapshot.json"))
        eventually(
            lambda: (
                set(folder.glob("backups/**/snapshot.json")) - before
                or run_of(self.server, run)["state_type"] in ENDED
            ),
            within=240,
            every=0.5,
        )
        assert run_of(self.server, run)["state_name"] == "Running"
        return run

    def left_on_the_source(self) -> list[str]:
        listed = httpx.get(f"{self.source}/collections/movies/snapshots", timeout=10).json()
        return [snapshot["name"] for snapshot in listed["result"]]

    def slots(self, scenario: str) -> dict[str, int]:
        """How many are taken: of the deployment, its cluster and its repositories."""
        deployment = self.deployments[scenario]
        names = {f"deployment:{deployment}", f"qdr-cluster-{scenario}"}
        names |= {f"qdr-repository-{name}" for name in self.worlds[scenario].folders}
        found = self.server.call("POST", "/v2/concurrency_limits/filter", {"limit": 200})
        return {c["name"]: c["active_slots"] for c in found if c["name"] in names}


def bandwidth(world: World, rate: str | None) -> None:
    """From the next run on, its first repository takes so many bytes."""
    body = yaml.safe_load(world.file.read_text())
    body["repositories"][0]["bandwidth"] = rate
    world.file.write_text(yaml.safe_dump(body))


@pytest.fixture(scope="module")
def site(prefect_api: PrefectServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """All scenarios deployed, automations registered, nothing running yet."""
    folder = tmp_path_factory.mktemp("real")
    for left in prefect_api.call("POST", "/automations/filter", {}):
        prefect_api.call("DELETE", f"/automations/{left['id']}")
    with sandbox_server(folder / "source") as source, http_sink() as sink:
        seed(source.url, "movies", points=300)
        worlds = {}
        for name in ("killed", "missed", "cancelled", "queued", "orphaned"):
            worlds[name] = make_world(
                folder / name, source.url,
                repositories=("one", f"two-{name}"),
                cluster={"name": name, "nodes": [source.url]},
            )  # fmt: skip
        pools = {name: "mortal" if name in ("killed", "missed") else "lasting" for name in worlds}
        wanted = {name: (world.reference, pools[name]) for name, world in worlds.items()}
        ids = deploy(prefect_api, folder, wanted)
        with s.temporary_settings({s.PREFECT_API_URL: prefect_api.api}):
            hook = CustomWebhookNotificationBlock(
                name="ops", url=sink.url, json_data={"subject": "{{subject}}", "body": "{{body}}"}
            )
            hook.save("ops", overwrite=True)
            register(worlds["killed"].reference, "mortal", notify="custom-webhook/ops")
            config = configfile.load(worlds["killed"].reference)
            short = {a.name: a for a in automations(config, None, heartbeat=ALIVE)}["qdr-zombie"]
            with get_client(sync_client=True) as client:
                client.create_automation(short.model_copy(update={"name": "short-zombie"}))
        yield Site(prefect_api, source.url, sink, folder, worlds, ids)


@pytest.fixture(scope="module")
def lasting(site: Site) -> Iterator[Worker]:
    """A worker that stays."""
    with worker(site.server, "lasting", site.folder / "lasting.log", OFTEN) as running:
        yield running


@pytest.fixture(scope="module")
def killed(site: Site, lasting: Worker) -> str:
    """A run that was killed with its worker in the middle of a transfer."""
    bandwidth(site.worlds["killed"], SLOW)
    with worker(site.server, "mortal", site.folder / "mortal.log", OFTEN) as running:
        run = site.start("killed")
        assert [n for n in site.slots("killed").values() if n], "it holds slots"
        running.kill()
    return run


def test_a_missed_run_is_told(site: Site, killed: str) -> None:
    """Its worker is gone when it is due: an alert arrives, with what to do."""
    late = ask_for_run(site.server, site.deployments["missed"])
    (alert,) = eventually(lambda: site.sink.about("late", late), within=240, every=1)
    assert run_of(site.server, late)["state_name"] == "Late"
    assert alert["subject"].startswith("Qdrant DR")
    assert "backup/missed" in alert["subject"], "a run that never began has no telling name yet"
    assert "prefect worker start --pool mortal" in alert["body"]
    assert f"/runs/flow-run/{late}" in alert["body"]


def test_a_cancelled_run_leaves_nothing_behind(site: Site, lasting: Worker) -> None:
    """As the button of the UI does it."""
    world = site.worlds["cancelled"]
    bandwidth(world, SLOW)
    others = set(site.left_on_the_source())
    run = site.start("cancelled")
    assert set(site.left_on_the_source()) - others
    body = {"state": {"type": "CANCELLING", "name": "Cancelling"}}
    site.server.call("POST", f"/flow_runs/{run}/set_state", body)
    gone = ended(site.server, run)
    assert gone["state_name"] == "Cancelled", lasting.log.read_text()
    for name, folder in world.folders.items():
        assert not world.manifests(name)
        assert not list(world.parts(name))
        assert not list(folder.glob("backups/**/.*")), "nor a piece of one"
        (end,) = world.ends(name)
        assert end.verdict == "failed"
        assert end.error is not None
        assert end.error.code == "interrupted"
    assert not set(site.left_on_the_source()) - others
    eventually(lambda: not any(site.slots("cancelled").values()), within=180, every=1)
    alert = eventually(lambda: site.sink.about("Cancelled", "cancelled"), within=180, every=1)
    assert "/runs/flow-run/" in alert[0]["body"]


def test_a_second_run_waits_for_the_first(site: Site, lasting: Worker) -> None:
    world = site.worlds["queued"]
    bandwidth(world, "24KiB/s")
    first = site.start("queued")
    second = ask_for_run(site.server, site.deployments["queued"])
    eventually(
        lambda: run_of(site.server, second)["state_name"],
        until=lambda name: name in ("AwaitingConcurrencySlot", "Running", "Completed"),
        within=180,
        every=1,
    )
    before, after = ended(site.server, first), ended(site.server, second)
    assert [before["state_name"], after["state_name"]] == ["Completed", "Completed"]
    assert after["start_time"] >= before["end_time"], "one after the other"
    for name in world.folders:
        assert len(world.manifests(name)) == 2
        assert [end.verdict for end in world.ends(name)] == ["ok", "ok"]


@thorough
def test_a_run_outlives_its_worker(site: Site, lasting: Worker) -> None:
    """The worker alone is killed, not its runs: they go on, and say themselves how they ended."""
    world = site.worlds["orphaned"]
    bandwidth(world, "12KiB/s")
    run = site.start("orphaned")
    flows = lasting.flows()
    os.kill(lasting.pid, signal.SIGKILL)
    try:
        after = ended(site.server, run)
    finally:
        for process in flows:
            with suppress(psutil.NoSuchProcess):
                process.kill()
    assert after["state_name"] == "Completed", after["state"]["message"]
    for name in world.folders:
        (end,) = world.ends(name)
        assert end.verdict == "ok"
        assert world.manifests(name)


def test_after_a_kill_the_next_run_is_clean(site: Site, killed: str) -> None:
    """The server misses the run and says so; slots are free; the next run sweeps, backs up, proves.

    Of what the killed run wrote nothing was a backup at any time.
    """
    dead = ended(site.server, killed)
    assert (dead["state_name"], dead["state"]["message"][:15]) == ("Crashed", "no sign of life")
    assert eventually(lambda: site.sink.about("Crashed", killed), within=180, every=1)
    eventually(lambda: not any(site.slots("killed").values()), within=240, every=1)
    world = site.worlds["killed"]
    unfinished = {file.parent for file in world.folders["one"].glob("backups/**/intent.json")}
    assert len(unfinished) == 1
    assert not any(world.manifests(name) or world.ends(name) for name in world.folders)
    (left,) = site.left_on_the_source()
    long_ago = time.time() - timedelta(hours=49).total_seconds()
    for name in world.folders:
        for file in world.folders[name].glob("backups/**/*"):
            os.utime(file, (long_ago, long_ago))  # as the next nights find it
    bandwidth(world, None)
    with worker(site.server, "mortal", site.folder / "again.log", OFTEN) as again:
        run = ask_for_run(site.server, site.deployments["killed"])
        after = ended(site.server, run)
    assert after["state_name"] == "Completed", again.log.read_text()
    for name in world.folders:
        (manifest,) = world.manifests(name)
        (end,) = world.ends(name)
        assert (end.verdict, manifest.run_id) == ("ok", end.start.run_id)
        proved = [o for o in end.outcomes if isinstance(o.detail, Proved)]
        assert {o.repository for o in proved} == set(world.folders)
        assert {o.detail.reached for o in proved} == {"bytes", "content"}
        swept = [thing for o in end.outcomes if isinstance(o.detail, Swept)
                 for thing in o.detail.removed]  # fmt: skip
        assert any(left in thing for thing in swept), "the snapshot that it left on the node"
        kept = {file.parent for file in world.folders[name].glob("backups/**/intent.json")}
        assert not kept & unfinished
    assert site.left_on_the_source() == []
