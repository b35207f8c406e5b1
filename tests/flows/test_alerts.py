"""Every alert arrives: on a real server, for what really happens to runs."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from prefect.client.orchestration import get_client
from prefect.events import emit_event

from deployments.automations import TAG, WATCH_TAG, automations
from qdrant_dr import configfile
from tests.support.prefect import PrefectServer, drain
from tests.support.thorough import thorough
from tests.support.waiting import eventually
from tests.support.world import World

pytestmark = [pytest.mark.prefect, pytest.mark.timeout(240)]


@pytest.fixture
def alerts(
    in_process: PrefectServer, world: Callable[..., World]
) -> Callable[[str], list[dict[str, Any]]]:
    """The automations with short windows, and a way to ask how often one has fired."""
    config = configfile.load(world(objectives={"rpo": "10s"}).reference)
    ids = {}
    with get_client(sync_client=True) as client:
        short_windows = {
            "heartbeat": timedelta(seconds=5), "unwatched_after": timedelta(seconds=10)
        }  # fmt: skip
        for wanted in automations(config, None, **short_windows):
            short = wanted.model_copy(update={"name": f"short-{wanted.name}"})
            ids[wanted.name] = str(client.create_automation(short))

    def fired(name: str) -> list[dict[str, Any]]:
        drain()
        body = {
            "filter": {
                "event": {"name": ["prefect.automation.triggered"]},
                "resource": {"id": [f"prefect.automation.{ids[name]}"]},
                "occurred": {"since": (datetime.now(UTC) - timedelta(minutes=10)).isoformat()},
            }
        }
        found: list[dict[str, Any]] = in_process.call("POST", "/events/filter", body)["events"]
        return found

    return fired


def flow_run(server: PrefectServer, name: str, *, tag: str = TAG, **fields: Any) -> str:
    flow = server.call("POST", "/flows/", {"name": "backup"})["id"]
    body = {"flow_id": flow, "name": name, "tags": [tag], **fields}
    return str(server.call("POST", "/flow_runs/", body)["id"])


def set_state(server: PrefectServer, run: str, kind: str, name: str) -> None:
    body = {"state": {"type": kind, "name": name}, "force": True}
    server.call("POST", f"/flow_runs/{run}/set_state", body)


def test_every_alert_arrives(
    in_process: PrefectServer, alerts: Callable[[str], list[dict[str, Any]]]
) -> None:
    """Nothing ran: the switch fires. A run fails, one is degraded, one is late, one waits for
    approval, one's worker dies: each is announced; one that went well, and somebody else's, is
    not. Of the runs of `watch` one that could not look is, and one whose worker died is marked;
    what a red one found is told by its findings."""
    good = flow_run(in_process, "good")
    set_state(in_process, good, "COMPLETED", "Completed")
    others = in_process.call("POST", "/flows/", {"name": "theirs"})["id"]
    theirs = in_process.call("POST", "/flow_runs/", {"flow_id": others, "name": "theirs"})["id"]
    set_state(in_process, theirs, "FAILED", "Failed")
    set_state(in_process, flow_run(in_process, "bad"), "FAILED", "Failed")
    set_state(in_process, flow_run(in_process, "poor"), "COMPLETED", "Degraded")
    asks = flow_run(in_process, "asks")
    for kind, name in (("RUNNING", "Running"), ("PAUSED", "Paused")):
        set_state(in_process, asks, kind, name)
    due = (datetime.now(UTC) - timedelta(minutes=2)).isoformat()
    flow_run(
        in_process, "due",
        state={"type": "SCHEDULED", "state_details": {"scheduled_time": due}},
    )  # fmt: skip
    for name, kind in (("Red", "FAILED"), ("Degraded", "COMPLETED"), ("Cancelled", "CANCELLED")):
        set_state(in_process, flow_run(in_process, f"watch {name}", tag=WATCH_TAG), kind, name)
    set_state(in_process, flow_run(in_process, "blind", tag=WATCH_TAG), "FAILED", "Failed")
    dead, dead_watch = (flow_run(in_process, "dead", tag=tag) for tag in (TAG, WATCH_TAG))
    for run, tag in ((dead, TAG), (dead_watch, WATCH_TAG)):
        set_state(in_process, run, "RUNNING", "Running")
        emit_event(
            "prefect.flow-run.heartbeat",
            resource={"prefect.resource.id": f"prefect.flow-run.{run}"},
            related=[{"prefect.resource.id": f"prefect.tag.{tag}", "prefect.resource.role": "tag"}],
        )
    drain()

    def state(run: str) -> str:
        return str(in_process.call("GET", f"/flow_runs/{run}")["state_name"])

    eventually(lambda: alerts("qdr-deadman-shop"), within=90, every=0.5)
    eventually(lambda: len(alerts("qdr-ended-badly")) >= 2, within=60)
    eventually(lambda: alerts("qdr-late"), within=90, every=0.5)
    eventually(lambda: alerts("qdr-unwatched-shop"), within=90, every=0.5)
    eventually(lambda: state(dead) == state(dead_watch) == "Crashed", within=120, every=0.5)

    def about(name: str) -> set[str]:
        triggers = [event["payload"]["triggering_event"] for event in alerts(name)]
        return {str(t["resource"]["prefect.resource.name"]) for t in triggers}

    eventually(lambda: about("qdr-approval") == {"asks"}, within=60)
    assert {"bad", "poor"} <= about("qdr-ended-badly")
    assert not about("qdr-ended-badly") & {"good", "theirs", "blind"}
    assert not [n for n in about("qdr-ended-badly") if n.startswith("watch")]
    eventually(lambda: {"blind", "dead"} <= about("qdr-did-not-look"), within=60)
    assert not [n for n in about("qdr-did-not-look") if n.startswith("watch")]


@thorough
def test_the_switch_stays_silent_while_protected_events_come(
    in_process: PrefectServer, world: Callable[..., World]
) -> None:
    config = configfile.load(world(objectives={"rpo": "10s"}).reference)
    quiet = config.model_copy(
        update={"cluster": config.cluster.model_copy(update={"name": "calm"})}
    )
    switch = automations(quiet, None)[0]
    with get_client(sync_client=True) as client:
        made = client.create_automation(switch)

    def fired() -> int:
        body = {
            "filter": {
                "event": {"name": ["prefect.automation.triggered"]},
                "resource": {"id": [f"prefect.automation.{made}"]},
                "occurred": {"since": (datetime.now(UTC) - timedelta(minutes=10)).isoformat()},
            }
        }
        return len(in_process.call("POST", "/events/filter", body)["events"])

    began = datetime.now(UTC)

    def protected() -> bool:
        emit_event(
            "qdrant-dr.cluster.protected",
            resource={"prefect.resource.id": "qdrant-dr.cluster.calm"},
        )
        drain()
        assert fired() == 0
        return datetime.now(UTC) - began > timedelta(seconds=20)

    eventually(protected, within=90, every=2)
    eventually(fired, within=60, every=2)
