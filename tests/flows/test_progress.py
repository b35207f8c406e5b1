"""Large transfers show how far they are; nothing waits for that."""

from __future__ import annotations

import pytest

from qdrant_dr.jobs.run.progress import watched
from tasks import progress
from tests.support.prefect import PrefectServer

BLOCKS = [b"x" * 100] * 4


def artifacts(server: PrefectServer) -> list[dict[str, object]]:
    body = {"artifacts": {"type": {"any_": ["progress"]}}}
    found: list[dict[str, object]] = server.call("POST", "/artifacts/filter", body)
    return found


@pytest.mark.prefect
def test_a_large_unit_has_a_bar(in_process: PrefectServer, monkeypatch: pytest.MonkeyPatch) -> None:
    from prefect import flow

    monkeypatch.setattr(progress, "LARGE", 400)

    @flow
    def harness() -> None:
        with progress.shown("capture movies"):
            assert list(watched(BLOCKS, 400)) == BLOCKS
        with progress.shown("capture tiny"):
            assert list(watched(BLOCKS, 399)) == BLOCKS

    harness()
    (found,) = artifacts(in_process)
    assert found["data"] == 100.0
    assert found["description"] == "capture movies, 400 B"


def test_without_a_server_the_bytes_pass(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(progress, "LARGE", 400)
    with progress.shown("capture movies"):
        assert list(watched(BLOCKS, 400)) == BLOCKS
    assert "not shown any more" in caplog.text


def test_nobody_watches_by_default() -> None:
    assert list(watched(BLOCKS, 400)) == BLOCKS
