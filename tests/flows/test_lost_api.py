"""The Prefect server dies in the middle of a backup; the backup does not."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.prefect import prefect_server, spawn
from tests.support.servers import sandbox_server
from tests.support.waiting import eventually
from tests.support.world import make_world, seed

pytestmark = [pytest.mark.prefect, pytest.mark.timeout(170)]

FLOW = "import sys; from flows.backup import backup; backup(config=sys.argv[1])"


def test_manifests_are_committed_without_the_server(tmp_path: Path) -> None:
    with (
        prefect_server(tmp_path / "prefect") as server,
        sandbox_server(tmp_path / "source") as source,
    ):
        seed(source.url, "movies", points=300)
        seed(source.url, "users", points=50)
        made = make_world(tmp_path, source.url)
        slow = made.file.read_text().replace(
            "domain: disk-one", "domain: disk-one\n  bandwidth: 200KiB/s"
        )
        made.file.write_text(slow)
        flow = spawn("-c", FLOW, made.reference, log=tmp_path / "flow.log", env=server.env)
        try:
            eventually(
                lambda: list(made.folders["one"].glob("backups/**/snapshot.json")), within=60
            )
            assert not made.manifests("one"), "the server must die in the middle"
            server.child.kill()
            eventually(lambda: made.ends("one"), within=90)
            flow.process.wait(timeout=90)
        finally:
            flow.kill()
        log = flow.log.read_text()
        for name in made.folders:
            assert {m.collection for m in made.manifests(name)} == {"movies", "users"}, log
        (end,) = made.ends("two")
        assert end.verdict == "ok", end.reasons
        assert {(o.unit, o.verdict) for o in end.outcomes} >= {("capture", "ok"), ("verify", "ok")}
        assert "is not announced" in log
