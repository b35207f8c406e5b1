"""What a deployment needs of the Prefect API is set up once, and again without a change."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from deployments.register import register
from qdrant_dr.errors import UsageError
from tests.support.prefect import PrefectServer
from tests.support.world import World

pytestmark = pytest.mark.prefect


def known(server: PrefectServer) -> dict[str, dict[str, Any]]:
    found = server.call("POST", "/automations/filter", {})
    return {a["name"]: a for a in found}


def test_twice_is_once(in_process: PrefectServer, world: Callable[..., World]) -> None:
    made = world(objectives={"rpo": "26h"})
    first = register(made.reference, "pool-one", save_as="prod")
    assert [line.rpartition(": ")[2] for line in first] == [
        "created", "set", "created", *["created"] * 4
    ]  # fmt: skip
    before = known(in_process)
    assert set(before) >= {"qdr-deadman-shop", "qdr-ended-badly", "qdr-late", "qdr-zombie"}
    again = register(made.reference, "pool-one", save_as="prod")
    assert [line.rpartition(": ")[2] for line in again] == [
        "unchanged", "set", "unchanged", *["unchanged"] * 4
    ]  # fmt: skip
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
        register("block:from-a-block", "pool-three", save_as="again")


def test_a_notification_block_that_is_not_there_is_named(
    in_process: PrefectServer, world: Callable[..., World]
) -> None:
    with pytest.raises(UsageError, match="slack-webhook/ops"):
        register(world().reference, "pool-four", notify="slack-webhook/ops")
