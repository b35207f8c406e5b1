"""A rewrite on purpose: told once, accepted by name, and every backup after it is calm."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

import qdrant_dr
from qdrant_dr.errors import UsageError
from qdrant_dr.records import Acknowledgement
from tests.support.servers import Server, sandbox_server
from tests.support.world import World, make_world, seed


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with sandbox_server(tmp_path_factory.mktemp("source")) as server:
        yield server


@pytest.fixture
def world(source: Server, tmp_path: Path) -> World:
    """Empty repositories, and a collection that was made anew."""
    httpx.delete(f"{source.url}/collections/movies", trust_env=False)
    seed(source.url, "movies", points=40)
    return make_world(tmp_path / "world", source.url)


def rewrite(source: Server, version: int) -> None:
    points = [
        {"id": n, "vector": [version, n, 1, 2, 3, 4, 5, 6], "payload": {"version": version}}
        for n in range(40)
    ]
    httpx.put(
        f"{source.url}/collections/movies/points?wait=true", json={"points": points},
        trust_env=False,
    ).raise_for_status()  # fmt: skip


def records(world: World, repository: str) -> list[Path]:
    return sorted(world.folders[repository].glob("acknowledged/shop/*.json"))


def test_a_rewrite_from_the_alarm_to_its_end(source: Server, world: World, qdr: Any) -> None:
    def run(*words: str) -> Any:
        return qdr(*words, "-c", world.reference, "--json")

    assert run("backup").code == 0
    assert run("watch", "--record").code == 0
    rewrite(source, 1)
    told = run("backup")
    assert told.code == 3
    assert "gone or different" in told.out
    first, suspect = (str(m.key) for m in world.manifests("one"))
    assert run("restore", "movies@latest-proven", "--to", source.url, "--as", "back").code == 4

    for _ in range(2):  # nothing changes any more
        assert run("backup").code == 0
    planned = run("restore", "movies@latest-proven", "--to", source.url, "--as", "back")
    assert planned.code == 0
    (warning,) = [w for w in planned.json["rows"][0]["warnings"] if "follows" in w]
    assert suspect in warning
    assert first in warning
    assert run("verify", suspect).code == 0, "the copy is what was sealed"

    came = qdr("watch", "--record", "-c", world.reference)
    assert came.code == 3
    assert f"new: warning: {suspect}: suspect" in came.err
    assert "new:" not in qdr("watch", "--record", "-c", world.reference).err
    status = run("status")
    assert (status.code, status.json["rows"][0]["status"]) == (3, "degraded")
    kept = run("expire")  # says which would go: the last before the rewrite is not among them
    assert first not in kept.out

    # for a time: quiet, and nothing else
    until = (datetime.now(UTC) + timedelta(days=2)).strftime("%Y-%m-%d")
    quiet = run("acknowledge", suspect, "--reason", "asked the team", "--until", until)
    assert quiet.code == 0, quiet.err
    assert len(records(world, "one")) == len(records(world, "two")) == 1
    over = qdr("watch", "--record", "-c", world.reference)
    assert over.code == 0
    assert "acknowledged by" in over.err
    assert "over:" not in over.err
    assert run("acknowledge", suspect, "--release", "--reason", "nobody knew").code == 0
    assert "new: warning" in qdr("watch", "--record", "-c", world.reference).err

    # for good
    accepted = run("acknowledge", "movies@latest", "--reason", "new embedding model")
    assert accepted.code == 0
    (row,) = run("acknowledge").json["rows"]
    assert (row["code"], row["reason"]) == ("suspect", "new embedding model")
    status = run("status")
    assert (status.code, status.json["rows"][0]["status"]) == (0, "protected")
    assert "new embedding model" in status.json["rows"][0]["acknowledged"][0]
    assert run("backup").code == 0
    shown = run("show", "movies@latest").json["rows"][0]
    assert (shown["follows"], shown["skipped"]) == (None, None)
    rewrite(source, 2)
    assert run("backup").code == 3, "the next one is another"


def test_a_record_in_one_bucket_only_orders_no_deletion(
    source: Server, world: World, qdr: Any
) -> None:
    def run(*words: str) -> Any:
        return qdr(*words, "-c", world.reference, "--json")

    assert run("backup").code == 0
    rewrite(source, 1)
    assert run("backup").code == 3
    suspect = str(world.manifests("one")[1].key)
    (world.folders["two"]).rename(world.folders["two"].with_name("away"))
    weak = run("acknowledge", suspect, "--reason", "was it you?")
    assert weak.code == 3
    assert any("1 of 2 repositories" in e["message"] for e in weak.json["errors"])
    world.folders["two"].with_name("away").rename(world.folders["two"])
    assert run("acknowledge").json["rows"] == []
    assert run("status").code == 3
    assert run("acknowledge", suspect, "--reason", "it was me").code == 0
    assert run("status").json["rows"][0]["status"] == "protected"
    shutil.rmtree(world.folders["one"] / "acknowledged")
    assert run("status").json["rows"][0]["status"] == "degraded"


def test_a_named_finding_must_exist(source: Server, world: World, qdr: Any) -> None:
    def run(*words: str) -> Any:
        return qdr(*words, "-c", world.reference, "--json")

    assert run("backup").code == 0
    for words, said in (
        (("acknowledge", "run-bad", "--reason", "known"), "no finding"),
        (("acknowledge", "rto-unmeasured", "--reason", "known"), "is a notice"),
        (("acknowledge", "movies@latest"), "needs a reason"),
        (("acknowledge", "movies@latest", "--reason", "x"), "needs a reason"),
        (("acknowledge", "--reason", "known"), "no finding or backup is named"),
        (("acknowledge", "movies@latest", "--reason", "known", "--until", "2d"), "not suspect"),
        (
            ("acknowledge", "movies@latest", "--reason", "known", "--until", "2001-01-01"),
            "in the past",
        ),
        (("acknowledge", "movies@latest", "--release", "--reason", "known"), "nothing acknow"),
    ):
        found = run(*words)
        assert found.code == 2, words
        assert said in found.json["errors"][0]["message"], words
    assert records(world, "one") == []
    assert run("backup", "moveis").code == 2
    assert run("status").code == 0, "a slip of the pen is no alarm"


def test_from_python(source: Server, world: World, qdr: Any) -> None:
    assert qdr("backup", "-c", world.reference).code == 0
    (part, *_) = world.parts("two")
    part.write_bytes(part.read_bytes()[:-1])
    assert qdr("verify", "-c", world.reference).code == 1
    recovery = qdrant_dr.open(world.reference)
    findings = recovery.frames()["findings"]
    assert set(findings["code"]) >= {"run-bad", "copy-damaged"}
    until = datetime.now(UTC) + timedelta(days=1)
    record, lost = recovery.acknowledge("run-bad", reason="disk replaced", until=until, by="Ana")
    assert isinstance(record, Acknowledgement)
    assert lost == {}
    with pytest.raises(UsageError, match="no finding"):
        recovery.acknowledge("run-bad:last backup run", reason="disk replaced")
    findings = recovery.frames()["findings"].set_index("code")
    assert findings.loc["run-bad", "acknowledged_by"] == "Ana"
    assert findings.loc["copy-damaged", "severity"] == "critical"
