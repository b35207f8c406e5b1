"""Recovery of collections: by URL, by file, of whole snapshots, and before the port opens."""

from __future__ import annotations

import hashlib
import io
import json
import os
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import httpx
import pytest

from tests.support.rest import FIXTURES, Json, call, recorded_points, scroll, snapshot, upload
from tests.support.servers import Server, qdrant_server, sandbox_server
from tests.support.transcripts import Near

BASIC = FIXTURES / "basic" / "collection.snapshot"
FULL = FIXTURES / "full" / "full.snapshot"
SMALL = {"vectors": {"size": 4, "distance": "Dot"}}
ZEROS = "0" * 64


@pytest.fixture(scope="module", params=["sandbox", pytest.param("real", marks=pytest.mark.qdrant)])
def place(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Server, Path, httpx.Client]]:
    """A server, the folder where its data is, and a client."""
    if request.param == "real" and "QDRANT_BIN" not in os.environ:
        pytest.skip("give QDRANT_BIN for a real server")
    folder = tmp_path_factory.mktemp("server")
    start = sandbox_server if request.param == "sandbox" else qdrant_server
    headers = {"accept-encoding": "identity"}
    with (
        start(folder) as server,
        httpx.Client(base_url=server.url, headers=headers, timeout=60, trust_env=False) as client,
    ):
        yield server, folder, client


def near(value: Json) -> Json:
    if isinstance(value, dict):
        return {key: near(item) for key, item in value.items()}
    if isinstance(value, list):
        return [near(item) for item in value]
    return Near(value) if isinstance(value, float) else value


def refusal(client: httpx.Client, name: str, body: Json) -> tuple[int, str]:
    response = client.put(f"/collections/{name}/snapshots/recover", json=body)
    return response.status_code, response.json()["status"]["error"]


def test_a_file_of_the_server_itself(place: tuple[Server, Path, httpx.Client]) -> None:
    """An upload leaves its file behind: it can be recovered again, by its place on the server."""
    _, folder, client = place
    files = {"snapshot": ("kept.snapshot", BASIC.read_bytes())}
    assert client.post("/collections/up/snapshots/upload", files=files).status_code == 200
    (kept,) = folder.rglob("up/kept.snapshot")
    digest = hashlib.sha256(BASIC.read_bytes()).hexdigest()
    body = {"location": f"file://{kept}", "checksum": digest.upper(), "priority": "snapshot"}
    assert call(client, "PUT", "/collections/by-file/snapshots/recover", body) is True
    assert scroll(client, "by-file") == near(recorded_points("basic/points.ndjson.zst"))
    schema = call(client, "GET", "/collections/by-file")["payload_schema"]
    assert set(schema) == {"genre", "year"}
    wrong = refusal(client, "other", {**body, "checksum": ZEROS})
    assert wrong[0] == 400
    assert wrong[1].endswith(f"expected {ZEROS}, got {digest}")
    assert not call(client, "GET", "/collections/other/exists")["exists"]


def test_refusals_have_the_words_of_the_real_server(
    place: tuple[Server, Path, httpx.Client], tmp_path: Path
) -> None:
    server, _, client = place
    outside = tmp_path / "outside.snapshot"
    outside.write_bytes(BASIC.read_bytes())
    for location, status, text in (
        (f"file://{outside}", 403, "must be inside the snapshots directory"),
        ("file:///none/x.snapshot", 400, 'Snapshot file "/none/x.snapshot" does not exist'),
        ("gs://b/k", 400, "URL gs://b/k with scheme gs is not supported"),
        ("name.snapshot", 400, "relative URL without a base"),
        (f"{server.url}/", 500, "Failed to unpack tar archive: Malformed tar archive"),
        (f"{server.url}/none", 400, "status - 404 Not Found"),
    ):
        told = refusal(client, "refused", {"location": location})
        assert (told[0], text in told[1]) == (status, True), told
    assert refusal(client, "refused", {"location": "http://x/", "checksum": "x"})[0] == 422
    assert refusal(client, "refused", {"location": "http://x/", "priority": "x"})[0] == 400
    assert not call(client, "GET", "/collections/refused/exists")["exists"]


def test_custom_sharding_is_a_success_without_points(
    place: tuple[Server, Path, httpx.Client],
) -> None:
    """An archive that one node of a cluster made of a key that it holds alone."""
    _, _, client = place
    kept = []
    with tarfile.open(FIXTURES / "cluster" / "tenants-node-a.snapshot") as tar:
        raw = io.BytesIO()
        with tarfile.open(fileobj=raw, mode="w") as out:
            for member in tar:
                data = tar.extractfile(member)
                if not member.name.startswith("1/"):
                    content = data.read() if data else b""
                    if member.name == "shard_key_mapping.json":
                        content = b'[{"key":"us","shard_ids":[2]}]'
                    plain = tarfile.TarInfo(member.name)
                    plain.size = len(content)
                    out.addfile(plain, io.BytesIO(content))
                    kept.append(member.name)
    assert any(name.startswith("2/segments/") for name in kept)
    upload(client, "tenants", raw.getvalue())
    assert call(client, "POST", "/collections/tenants/points/count", {}) == {"count": 0}
    assert call(client, "GET", "/collections/tenants/cluster")["shard_count"] == 0


def test_a_full_snapshot_has_every_collection_and_the_aliases(
    place: tuple[Server, Path, httpx.Client], tmp_path: Path
) -> None:
    server, folder, client = place
    for name in call(client, "GET", "/collections")["collections"]:
        call(client, "DELETE", f"/collections/{name['name']}")
    upload(client, "ünï", BASIC.read_bytes())
    call(client, "PUT", "/collections/small", SMALL)
    action = {"create_alias": {"alias_name": "live", "collection_name": "ünï"}}
    call(client, "POST", "/collections/aliases", {"actions": [action]})
    told = call(client, "POST", "/snapshots")
    assert [s["name"] for s in call(client, "GET", "/snapshots")] == [told["name"]]
    archive = client.get(f"/snapshots/{told['name']}").content
    assert hashlib.sha256(archive).hexdigest() == told["checksum"]
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        config = json.loads(tar.extractfile("config.json").read())  # type: ignore[union-attr]
        assert set(tar.getnames()) == {*config["collections_mapping"].values(), "config.json"}
    assert set(config["collections_mapping"]) == {"ünï", "small"}
    assert config["collections_aliases"] == {"live": "ünï"}
    assert call(client, "GET", "/collections/small/snapshots") == []
    assert list(folder.rglob(f"{config['collections_mapping']['small']}.checksum")), "it stays"

    (tmp_path / "full").write_bytes(archive)
    flags = ("--storage-snapshot", str(tmp_path / "full"))
    with started(tmp_path, *flags) as other:
        assert scroll(other, "live") == near(recorded_points("basic/points.ndjson.zst"))
        assert call(other, "GET", "/collections/small")["points_count"] == 0
    assert call(client, "DELETE", f"/snapshots/{told['name']}") is True
    assert server.kind == "server" or client.get(f"/snapshots/{told['name']}").is_error


def started(folder: Path, *flags: str) -> Started:
    return Started(folder, flags)


class Started:
    """A sandbox with flags, as a client."""

    def __init__(self, folder: Path, flags: tuple[str, ...]) -> None:
        command = [sys.executable, "-m", "qdrant_dr.sandbox", "--port", "0", "--die-with-parent"]
        command += ["--data", str(folder / "data"), *flags]
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True)

    def __enter__(self) -> httpx.Client:
        assert self._process.stdout is not None
        url = self._process.stdout.readline().strip()
        self._client = httpx.Client(base_url=url, timeout=60, trust_env=False)
        return self._client

    def __exit__(self, *_: object) -> None:
        self._client.close()
        self._process.terminate()
        self._process.communicate(timeout=30)

    def fails(self) -> str:
        out, err = self._process.communicate(timeout=60)
        assert self._process.returncode == 101, err
        assert out == "", "the port was open"
        return err.strip()


def test_a_real_full_snapshot_at_start(tmp_path: Path) -> None:
    with started(tmp_path, "--storage-snapshot", str(FULL)) as client:
        names = {c["name"] for c in call(client, "GET", "/collections")["collections"]}
        assert names == {"empty", "movies", "rich-ünïcode", "sharded", "single"}
        aliases = call(client, "GET", "/aliases")["aliases"]
        assert aliases == [{"alias_name": "live-movies", "collection_name": "movies"}]
        assert scroll(client, "live-movies") == near(recorded_points("basic/points.ndjson.zst"))
        assert scroll(client, "sharded") == near(recorded_points("sharded/points.ndjson.zst"))
    assert list((tmp_path / "data").iterdir()) == []


def test_collections_at_start(tmp_path: Path) -> None:
    single = FIXTURES / "single" / "collection.snapshot"
    flags = ("--snapshot", f"{BASIC}:a", "--snapshot", f"{single}:b")
    with started(tmp_path, *flags) as client:
        counts = {n: call(client, "POST", f"/collections/{n}/points/count", {}) for n in "ab"}
    assert counts == {"a": {"count": 2000}, "b": {"count": 1}}
    again = ("--snapshot", f"{BASIC}:a", "--snapshot", f"{single}:a", "--force-snapshot")
    with started(tmp_path, *again) as client:
        assert call(client, "POST", "/collections/a/points/count", {}) == {"count": 1}
        assert call(client, "GET", "/collections/a/snapshots") == []
        assert len(snapshot(client, "a")) > 0


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (
            ["--snapshot", f"{BASIC}:a", "--snapshot", f"{BASIC}:a"],
            "Collection a already exists. Use --force-snapshot to overwrite it.",
        ),
        (["--snapshot", f"{BASIC}"], "Collection name is missing"),
        (["--snapshot", f"{BASIC}:a:b"], "Too many parts in snapshot mapping"),
        (["--snapshot", "/none:a"], "Failed to recover snapshot a"),
        (
            ["--snapshot", f"{FIXTURES / 'cluster' / 'movies-node-a.snapshot'}:a"],
            "Can't restore snapshot in local mode with missing data at shard",
        ),
        (["--storage-snapshot", f"{BASIC}"], "is no full snapshot"),
        (["--storage-snapshot", "/none"], "No such file or directory"),
    ],
)
def test_what_cannot_be_recovered_keeps_it_from_starting(
    tmp_path: Path, flags: list[str], words: str
) -> None:
    assert words in started(tmp_path, *flags).fails()
    assert list((tmp_path / "data").iterdir()) == []


def test_the_command_line_takes_the_same_flags(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "qdrant_dr.cli", "sandbox", "--port", "0"]
    command += ["--snapshot", f"{BASIC}:{uuid4()}:x"]
    ended = subprocess.run(
        command, capture_output=True, text=True, timeout=60, cwd=tmp_path, check=False
    )
    assert ended.returncode == 101
    assert "Too many parts" in ended.stderr
    assert ended.stdout == ""
