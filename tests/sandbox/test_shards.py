"""Snapshots of one shard: layout, round trips, what is accepted and what is refused."""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import httpx
import pytest

from qdrant_dr.proof import prove
from tests.support.archives import backup
from tests.support.rest import (
    FIXTURES,
    Json,
    call,
    operation_numbers,
    recorded_points,
    scroll,
    snapshot,
    upload,
)
from tests.support.servers import qdrant_server
from tests.support.shards import of_shard
from tests.support.transcripts import Near

COSINE = {"vectors": {"size": 32, "distance": "Cosine"}}
ZEROS = "0" * 64


@pytest.fixture
def name(client: httpx.Client) -> str:
    return f"shard-{uuid4()}"


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    if "QDRANT_BIN" not in os.environ:
        pytest.skip("give QDRANT_BIN for a real server")
    headers = {"accept-encoding": "identity"}
    with (
        qdrant_server(tmp_path_factory.mktemp("real")) as server,
        httpx.Client(base_url=server.url, timeout=60, trust_env=False, headers=headers) as made,
    ):
        yield made


def shard_archive(client: httpx.Client, collection: str, kind: str) -> bytes:
    if kind == "streamed":
        response = client.get(f"/collections/{collection}/shards/0/snapshot")
        assert "content-length" not in response.headers
        return response.content
    path = f"/collections/{collection}/shards/0/snapshots"
    told = call(client, "POST", path)
    archive = client.get(f"{path}/{told['name']}").content
    assert hashlib.sha256(archive).hexdigest() == told["checksum"]
    return archive


def recover(client: httpx.Client, collection: str, archive: bytes, shard: int = 0) -> None:
    digest = hashlib.sha256(archive).hexdigest()
    path = f"/collections/{collection}/shards/{shard}/snapshots/upload"
    response = client.post(
        f"{path}?priority=snapshot&checksum={digest}", files={"snapshot": ("a", archive)}
    )
    assert response.status_code == 200, response.text
    assert response.json()["result"] is None


def shape(archive: bytes) -> list[tuple[bytes, str]]:
    """Types and names of the members, ids and operation numbers of this archive left out."""
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        found = [(member.type, member.name.split("/")) for member in tar]
    kept = []
    for kind, (top, *rest) in found:
        if top == "segments":
            kept.append((b"0", "segments/*.tar" if len(rest) == 1 else "segments/*/files"))
        else:
            kept.append((kind, "wal/closed-*" if rest else top))
    return list(dict.fromkeys(kept))


@pytest.mark.parametrize("kind", ["stored", "streamed"])
def test_a_shard_archive_has_the_layout_of_a_real_one(
    client: httpx.Client, name: str, kind: str
) -> None:
    upload(client, name, (FIXTURES / "basic" / "collection.snapshot").read_bytes())
    archive = shard_archive(client, name, kind)
    file = "shard-0" if kind == "stored" else "stream-0"
    theirs = (FIXTURES / "basic" / f"{file}.snapshot").read_bytes()
    normal = {b"\0": b"0"}
    ours = [(normal.get(k, k), n) for k, n in shape(archive)]
    assert ours == [(normal.get(k, k), n) for k, n in shape(theirs)]
    assert archive.endswith(bytes(1024))
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        (log,) = [member for member in tar if member.name.startswith("wal/")]
        assert log.name == "wal/closed-7"
        assert log.size == 32 * 2**20
        data = tar.extractfile(log).read()  # type: ignore[union-attr]
    assert data[:4] == b"wal\0"
    assert not any(data[8:])


@pytest.mark.parametrize("kind", ["stored", "streamed"])
@pytest.mark.parametrize("fixture", ["basic", "rich", "empty", "single"])
def test_what_a_shard_archive_holds_comes_back(
    client: httpx.Client, name: str, fixture: str, kind: str
) -> None:
    upload(client, name, (FIXTURES / fixture / "collection.snapshot").read_bytes())
    archive = shard_archive(client, name, kind)
    config = call(client, "GET", f"/collections/{name}")["config"]
    copy = f"{name}-copy"
    call(client, "PUT", f"/collections/{copy}", config["params"])
    recover(client, copy, archive)
    assert scroll(client, copy) == scroll(client, name)
    assert operation_numbers(client, copy) == operation_numbers(client, name)


def test_the_proof_reads_a_shard_archive(client: httpx.Client, name: str, tmp_path: Path) -> None:
    upload(client, name, (FIXTURES / "basic" / "collection.snapshot").read_bytes())
    data = shard_archive(client, name, "stored")
    manifest, reader = backup("basic", "shard-0", data={"shard-0": data})
    found = prove(manifest, reader, depth="load", folder=tmp_path)
    assert found.passed, found.findings
    assert found.points_checked == 2000


def test_a_reframed_archive_replays_its_log(client: httpx.Client, name: str) -> None:
    """It was taken under writes: 305 is what its segments have, 316 what its log adds."""
    archive = of_shard((FIXTURES / "motion" / "collection.snapshot").read_bytes(), 0)
    upload(client, f"{name}-whole", (FIXTURES / "motion" / "collection.snapshot").read_bytes())
    params = call(client, "GET", f"/collections/{name}-whole")["config"]["params"]
    call(client, "PUT", f"/collections/{name}", params)
    recover(client, name, archive)
    assert operation_numbers(client, name) == [316]
    assert scroll(client, name) == scroll(client, f"{name}-whole")


@pytest.mark.qdrant
@pytest.mark.parametrize("kind", ["stored", "streamed", "reframed"])
def test_a_real_server_takes_what_the_sandbox_made(
    client: httpx.Client, real: httpx.Client, name: str, kind: str
) -> None:
    upload(client, name, (FIXTURES / "basic" / "collection.snapshot").read_bytes())
    whole = snapshot(client, name)
    archive = of_shard(whole, 0) if kind == "reframed" else shard_archive(client, name, kind)
    call(real, "PUT", f"/collections/{name}", COSINE)
    recover(real, name, archive)
    assert scroll(real, name) == near(recorded_points("basic/points.ndjson.zst"))
    assert operation_numbers(real, name) == [6]
    more = {"points": [{"id": 1, "vector": [1.0] * 32}]}
    path = f"/collections/{name}/points?wait=true"
    assert call(real, "PUT", path, more)["operation_id"] == 7


def near(value: Json) -> Json:
    if isinstance(value, dict):
        return {key: near(item) for key, item in value.items()}
    if isinstance(value, list):
        return [near(item) for item in value]
    return Near(value) if isinstance(value, float) else value


def test_a_shard_goes_into_any_shard(client: httpx.Client, name: str) -> None:
    """Nobody asks whose it was: the manifest has to know."""
    call(client, "PUT", f"/collections/{name}", {**COSINE, "shard_number": 2})
    archive = (FIXTURES / "basic" / "shard-0.snapshot").read_bytes()
    recover(client, name, archive, shard=1)
    counts = [
        call(client, "POST", f"/collections/{name}/shards/{n}/points/count", {}) for n in (0, 1)
    ]
    assert counts == [{"count": 0}, {"count": 2000}]


def test_recovery_by_bare_name_and_by_url(
    client: httpx.Client, sandbox_url: str, name: str
) -> None:
    call(client, "PUT", f"/collections/{name}", COSINE)
    path = f"/collections/{name}/shards/0/snapshots"
    recover(client, name, (FIXTURES / "basic" / "shard-0.snapshot").read_bytes())
    told = call(client, "POST", path)
    for location in (told["name"], f"{sandbox_url}{path}/{told['name']}"):
        call(client, "POST", f"/collections/{name}/points/delete", {"filter": {}})
        assert call(client, "POST", f"/collections/{name}/points/count", {}) == {"count": 0}
        body = {"location": location, "checksum": told["checksum"], "priority": "snapshot"}
        assert call(client, "PUT", f"{path}/recover", body) is True
        assert call(client, "POST", f"/collections/{name}/points/count", {}) == {"count": 2000}
        wrong = client.put(f"{path}/recover", json={"location": location, "checksum": ZEROS})
        assert wrong.status_code == 400
        assert f"expected {ZEROS}, got {told['checksum']}" in wrong.text


@pytest.fixture
def sandbox_url(client: httpx.Client) -> str:
    return str(client.base_url).rstrip("/")


REFUSED: list[tuple[str, Json, int, str]] = [
    ("recover", {"location": "none.snapshot"}, 404, "Not found: Snapshot"),
    ("recover", {"location": "a/b.snapshot"}, 404, "Snapshot a/b.snapshot not found"),
    ("recover", {"location": "file:///etc/passwd"}, 400, "file scheme are not supported"),
    ("recover", {"location": "none", "checksum": "abc"}, 422, "Validation error in JSON body"),
    ("recover", {"location": "none", "priority": "x"}, 400, "unknown variant `x`"),
    ("recover", {}, 400, "missing field `location`"),
]
"""As answered by Qdrant 1.18.3."""


@pytest.mark.parametrize("server", ["sandbox", pytest.param("real", marks=pytest.mark.qdrant)])
def test_refusals_have_the_words_of_the_real_server(
    request: pytest.FixtureRequest, server: str, name: str
) -> None:
    asked: httpx.Client = request.getfixturevalue("client" if server == "sandbox" else "real")
    call(asked, "PUT", f"/collections/{name}", COSINE)
    path = f"/collections/{name}/shards/0/snapshots"
    for verb, body, status, text in REFUSED:
        response = asked.put(f"{path}/{verb}", json=body)
        assert (response.status_code, text in response.text) == (status, True), response.text
    archive = (FIXTURES / "basic" / "shard-0.snapshot").read_bytes()

    def post(query: str, data: bytes) -> tuple[int, str]:
        answer = asked.post(f"{path}/upload{query}", files={"snapshot": ("a.snapshot", data)})
        return answer.status_code, answer.text

    for query, data, status, text in (
        ("?checksum=abc", archive, 400, "actual abc"),  # swapped, and no 422
        ("?priority=x", archive, 400, "Query deserialize error: unknown variant `x`"),
        ("", archive[:300_000], 500, "failed to unpack"),
        ("", b"no tar" * 400, 500, "Malformed tar archive"),
        ("", b"", 500, "missing data at shard"),
    ):
        told = post(query, data)
        assert (told[0], text in told[1]) == (status, True), told
    assert call(asked, "POST", f"/collections/{name}/points/count", {}) == {"count": 0}
    assert call(asked, "GET", path) == []
    missing = asked.get(f"{path}/none.snapshot")
    assert (missing.status_code, missing.text[:15]) == (404, "File not found:")
    assert asked.get(f"/collections/{name}/shards/4/snapshots").status_code == 404
    assert asked.get(f"/collections/{name}/shards/4/snapshot").status_code == 404
