"""What a deployment needs of the Prefect API is set up once, and again without a change."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from deployments.register import QUEUES, register
from qdrant_dr.errors import UsageError
from tests.support.prefect import PrefectServer
from tests.support.world import World

pytestmark = pytest.mark.prefect


def known(server: PrefectServer) -> dict[str, dict[str, Any]]:
    found = server.call("POST", "/automations/filter", {})
    return {a["name"]: a for a in found}


def test_setup_twice_changes_nothing_more(
    in_process: PrefectServer, world: Callable[..., World]
) -> None:
    made = world(objectives={"rpo": "26h"})
    first = register(made.reference, "pool-one", save_as="prod")
    # a run makes the limits, too; all clusters of a server share the automations without a name
    new = [line for line in first if not line.startswith("concurrency")]
    new = [line for line in new if not line.startswith("automation") or "-shop" in line]
    assert {line.rpartition(": ")[2] for line in new} == {"created"}
    before = known(in_process)
    assert set(before) >= {
        "qdr-deadman-shop", "qdr-unwatched-shop", "qdr-findings-shop", "qdr-did-not-look",
        "qdr-ended-badly", "qdr-late", "qdr-approval", "qdr-zombie",
    }  # fmt: skip
    again = register(made.reference, "pool-one", save_as="prod")
    assert len(again) == len(first)
    assert {line.rpartition(": ")[2] for line in again} == {"unchanged"}
    after = known(in_process)
    # an update would have restarted the window of the switch
    assert {n: a["updated"] for n, a in after.items()} == {
        n: a["updated"] for n, a in before.items()
    }


def test_a_new_objective_changes_the_switch_and_nothing_else(
    in_process: PrefectServer, world: Callable[..., World]
) -> None:
    made = world(objectives={"rpo": "26h"})
    register(made.reference, "pool-two")
    off = known(in_process)["qdr-deadman-shop"]["id"]
    in_process.call("PATCH", f"/automations/{off}", {"enabled": False})
    made.file.write_text(made.file.read_text().replace("rpo: 26h", "rpo: 6h"))
    said = register(made.reference, "pool-two")
    assert [line for line in said if line.endswith("updated")] == [
        "automation qdr-deadman-shop: updated"
    ]
    switch = known(in_process)["qdr-deadman-shop"]
    assert switch["trigger"]["within"] == timedelta(hours=6).total_seconds()
    assert switch["enabled"] is False  # an operator's choice


def test_a_block_can_be_the_configuration(
    in_process: PrefectServer, world: Callable[..., World]
) -> None:
    register(world().reference, "pool-three", save_as="from-a-block")
    said = register("block:from-a-block", "pool-three")
    assert any("deadman" in line for line in said)
    with pytest.raises(UsageError):
        register("block:from-a-block", "pool-never", save_as="again")
    pools = in_process.call("POST", "/work_pools/filter", {})
    assert "pool-never" not in {pool["name"] for pool in pools}


def test_a_notification_block_that_is_not_there_is_named(
    in_process: PrefectServer, world: Callable[..., World]
) -> None:
    made = world().reference
    for named in ("slack-webhook/ops", "slack-webhook", "ops/"):
        with pytest.raises(UsageError, match=f"no notification block {named}"):
            register(made, "pool-four", notify=named)
    pools = in_process.call("POST", "/work_pools/filter", {})
    assert "pool-four" not in {pool["name"] for pool in pools}


def test_urgent_runs_start_first_when_runs_must_wait(
    in_process: PrefectServer, world: Callable[..., World]
) -> None:
    call = in_process.call
    call("POST", "/work_pools/", {"name": "pool-queues", "type": "process"})
    made = world().reference
    register(made, "pool-queues")
    queues = call("POST", "/work_pools/pool-queues/queues/filter", {})
    order = [q["name"] for q in sorted(queues, key=lambda q: q["priority"])]
    assert order == [*QUEUES, "default"]
    flow = call("POST", "/flows/", {"name": "waits"})["id"]
    due = datetime.now(UTC) - timedelta(minutes=9)
    deployed = []
    for minute, queue in enumerate(reversed(QUEUES)):  # the most urgent one is due last
        body = {"name": queue, "flow_id": flow, "work_pool_name": "pool-queues"}
        deployed.append(call("POST", "/deployments/", body | {"work_queue_name": queue})["id"])
        when = (due + timedelta(minutes=minute)).isoformat()
        state = {"type": "SCHEDULED", "state_details": {"scheduled_time": when}}
        call(
            "POST", f"/deployments/{deployed[-1]}/create_flow_run", {"state": state, "name": queue}
        )
    try:
        asked = {"limit": 2, "scheduled_before": datetime.now(UTC).isoformat()}
        handed = call("POST", "/work_pools/pool-queues/get_scheduled_flow_runs", asked)
        assert [h["flow_run"]["name"] for h in handed] == ["restore", "backup"]
        restore = next(q for q in queues if q["name"] == "restore")["id"]
        call("PATCH", "/work_pools/pool-queues/queues/restore", {"priority": 4})
        assert "work queue restore: unchanged" in register(made, "pool-queues")
        assert call("GET", f"/work_queues/{restore}")["priority"] == 4  # an operator's choice
    finally:
        for deployment in deployed:
            call("DELETE", f"/deployments/{deployment}")


def test_an_announced_finding_is_not_announced_again(
    in_process: PrefectServer, world: Callable[..., World]
) -> None:
    call = in_process.call
    kind = next(
        t for t in call("POST", "/block_types/filter", {}) if t["slug"] == "custom-webhook"
    )  # fmt: skip
    schemas = call("POST", "/block_schemas/filter",
                   {"block_schemas": {"block_type_id": {"any_": [kind["id"]]}}})  # fmt: skip
    body = {"name": "told", "block_type_id": kind["id"], "block_schema_id": schemas[0]["id"],
            "data": {"name": "told", "url": "http://127.0.0.1:9/"}}  # fmt: skip
    block = call("POST", "/block_documents/", body)["id"]
    made = world().reference
    register(made, "pool-told", notify="custom-webhook/told")
    for notify, told in ((None, [block]), ("none", [])):
        said = register(made, "pool-told", notify=notify)
        did = {line.rpartition(": ")[2] for line in said if line.startswith("automation")}
        assert ("updated" in did) is (notify == "none")
        (deadman,) = call("POST", "/automations/filter",
                          {"automations": {"name": {"any_": ["qdr-deadman-shop"]}}})  # fmt: skip
        assert [
            a["block_document_id"] for a in deadman["actions"] if a["type"] != "do-nothing"
        ] == told
