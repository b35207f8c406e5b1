"""The Prefect server dies in the middle of a backup; the backup does not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.prefect import PrefectServer, prefect_server, spawn
from tests.support.waiting import eventually
from tests.support.world import World

pytestmark = [pytest.mark.prefect, pytest.mark.timeout(170)]

FLOW = "import sys; from flows.backup import backup; backup(config=sys.argv[1])"


def test_manifests_are_committed_without_the_server(
    prefect_api: PrefectServer, world: Callable[..., World], tmp_path: Path
) -> None:
    made = world()
    with prefect_server(tmp_path / "prefect", like=prefect_api) as server:
        slow = made.file.read_text().replace(
            "domain: disk-one", "domain: disk-one\n  bandwidth: 20KiB/s"
        )
        made.file.write_text(slow)
        flow = spawn("-c", FLOW, made.reference, log=tmp_path / "flow.log", env=server.env)
        try:
            eventually(lambda: list(made.folders["one"].glob("backups/**/intent.json")), within=60)
            assert not made.manifests("one"), "the server must die in the middle"
            server.child.kill()
            eventually(lambda: made.ends("two"), within=90)
            # not its exit: Prefect spends a second and more on each event that it cannot send
            eventually(lambda: "is not announced" in flow.log.read_text(), within=60)
        finally:
            flow.kill()
        log = flow.log.read_text()
        for name in made.folders:
            assert {m.collection for m in made.manifests(name)} == {"movies", "users"}, log
        (end,) = made.ends("two")
        assert end.verdict == "ok", end.reasons
        assert {(o.unit, o.verdict) for o in end.outcomes} >= {("capture", "ok"), ("verify", "ok")}
