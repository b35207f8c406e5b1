"""A flow run that is cancelled ends soon, says so on record, and leaves nothing half-listed."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.prefect import Child, PrefectServer, spawn
from tests.support.thorough import thorough
from tests.support.waiting import eventually
from tests.support.world import World

pytestmark = [pytest.mark.prefect, pytest.mark.timeout(300)]

FLOW = "import sys; from flows.backup import backup; backup(config=sys.argv[1])"


def cancel(flow: Child) -> None:
    """What a worker sends to cancel a run; after thirty seconds it would be killed."""
    os.kill(flow.process.pid, signal.SIGTERM)
    flow.process.wait(timeout=90)


@thorough  # tests/flows/test_real_runs.py cancels one by its worker
def test_a_cancelled_backup_has_an_end(
    prefect_api: PrefectServer, world: Callable[..., World], tmp_path: Path
) -> None:
    made = world()
    slow = made.file.read_text().replace(
        "domain: disk-one", "domain: disk-one\n  bandwidth: 2KiB/s"
    )
    made.file.write_text(slow)
    flow = spawn("-c", FLOW, made.reference, log=tmp_path / "flow.log", env=prefect_api.env)
    try:
        eventually(lambda: list(made.folders["one"].glob("backups/**/snapshot.json")), within=120)
        cancel(flow)
    finally:
        flow.kill()
    (end,) = made.ends("two")
    assert end.verdict == "failed"
    assert end.error is not None, flow.log.read_text()
    assert end.error.code == "interrupted"
    for name, folder in made.folders.items():
        assert not made.manifests(name)
        assert not [*made.parts(name), *folder.glob("backups/**/.*")], "nor a piece of one"
    assert "Crashed" in flow.log.read_text()
    limits = prefect_api.call("POST", "/v2/concurrency_limits/filter", {"limit": 200})
    assert not [limit["name"] for limit in limits if limit["active_slots"]], "given back at once"


def test_a_run_cancelled_between_two_steps_has_an_end(
    prefect_api: PrefectServer, world: Callable[..., World], tmp_path: Path
) -> None:
    """The cluster does not answer: the flow itself waits, and none of its units."""
    with socket.create_server(("127.0.0.1", 0)) as mute:
        url = f"http://127.0.0.1:{mute.getsockname()[1]}"
        made = world(cluster={"name": "mute", "nodes": [url]})
        flow = spawn("-c", FLOW, made.reference, log=tmp_path / "flow.log", env=prefect_api.env)
        try:
            mute.settimeout(120)
            asked, _ = mute.accept()
            with asked:
                cancel(flow)
        finally:
            flow.kill()
    for name in made.folders:
        (end,) = made.ends(name)
        assert end.verdict == "failed"
        assert end.error is not None, flow.log.read_text()
        assert end.error.code == "interrupted"
    assert "Crashed" in flow.log.read_text()
