"""A flow run that is cancelled ends soon, says so on record, and leaves nothing half-listed."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.prefect import PrefectServer, spawn
from tests.support.waiting import eventually
from tests.support.world import World

pytestmark = [pytest.mark.prefect, pytest.mark.timeout(170)]

FLOW = "import sys; from flows.backup import backup; backup(config=sys.argv[1])"


def test_a_cancelled_backup_has_an_end(
    prefect_api: PrefectServer, world: Callable[..., World], tmp_path: Path
) -> None:
    made = world()
    slow = made.file.read_text().replace(
        "domain: disk-one", "domain: disk-one\n  bandwidth: 20KiB/s"
    )
    made.file.write_text(slow)
    flow = spawn("-c", FLOW, made.reference, log=tmp_path / "flow.log", env=prefect_api.env)
    try:
        eventually(lambda: list(made.folders["one"].glob("backups/**/intent.json")), within=60)
        os.kill(flow.process.pid, signal.SIGTERM)  # what a worker sends to cancel a run
        flow.process.wait(timeout=60)
    finally:
        flow.kill()
    (end,) = made.ends("two")
    assert end.verdict == "failed"
    assert end.error is not None, flow.log.read_text()
    assert end.error.code == "interrupted"
    # what was in its last block when the signal came may have been committed: then it is whole
    whole = {m.size_bytes for m in made.manifests("one")}
    assert {p.stat().st_size for p in made.parts("one")} == whole
    assert "Crashed" in flow.log.read_text()
