"""Archives of a real Qdrant 1.18.3 restored by the sandbox, and its own ones restored again."""

from __future__ import annotations

import io
import json
import subprocess
import tarfile
from pathlib import Path

import httpx
import pytest

from tests.support.rest import (
    FIXTURES,
    call,
    operation_numbers,
    recorded_points,
    scroll,
    snapshot,
    upload,
)
from tests.support.transcripts import Near

SETS = {
    "basic": ("points.ndjson.zst", [6]),
    "rich": ("points.ndjson.zst", [22]),
    "sharded": ("points.ndjson.zst", [5, 5, 5]),
    "empty": ("points.ndjson.zst", [0]),
    "single": ("points.ndjson.zst", [1]),
    "busy": ("points.ndjson.zst", [210]),
    "motion": ("points-after-server-restore.ndjson.zst", [316]),
}


def near(value: object) -> object:
    """Floats compared within 1e-6: what comes out of a log differs in the last bit by CPU."""
    if isinstance(value, dict):
        return {key: near(item) for key, item in value.items()}
    if isinstance(value, list):
        return [near(item) for item in value]
    return Near(value) if isinstance(value, float) else value


@pytest.mark.parametrize("name", SETS)
def test_a_real_archive_gives_back_what_the_server_held(client: httpx.Client, name: str) -> None:
    truth, operations = SETS[name]
    upload(client, name, (FIXTURES / name / "collection.snapshot").read_bytes())
    points = scroll(client, name)
    assert points == near(recorded_points(f"{name}/{truth}"))
    assert operation_numbers(client, name, len(operations)) == operations

    expected = json.loads((FIXTURES / "expected.json").read_text())["sets"][name]
    told = expected.get("facts", {}).get("info")
    info = call(client, "GET", f"/collections/{name}")
    if told:
        for field in ("status", "points_count", "config", "payload_schema"):
            assert info[field] == told[field], field

    again = f"{name} again"
    upload(client, again, snapshot(client, name))
    assert scroll(client, again) == points
    assert operation_numbers(client, again, len(operations)) == operations
    assert call(client, "GET", f"/collections/{again}")["config"] == info["config"]


def test_the_archive_has_the_layout_of_a_real_one(client: httpx.Client, tmp_path: Path) -> None:
    upload(client, "layout", (FIXTURES / "rich" / "collection.snapshot").read_bytes())
    archive = snapshot(client, "layout")
    assert archive.endswith(bytes(1024))
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        members = {member.name: member for member in tar}
        schema = json.loads(tar.extractfile("payload_index.json").read())  # type: ignore[union-attr]
        nested = [name for name in members if name.endswith(".tar")]
        for name in nested:
            with tarfile.open(fileobj=tar.extractfile(name)) as inner:
                files = set(inner.getnames())
            assert {"snapshot/files/segment.json", "snapshot/files/version.info"} <= files
    assert list(members)[-6:] == [
        "0/replica_state.json",
        "0/shard_config.json",
        "version.info",
        "config.json",
        "shard_key_mapping.json",
        "payload_index.json",
    ]
    assert nested
    assert schema["schema"]["when"] == "datetime"
    assert members["0/wal/open-1"].size == 32 * 2**20
    assert members["0/wal/open-1"].issparse()
    assert len(archive) < 4 * 2**20, "holes were written out"

    (tmp_path / "a.tar").write_bytes(archive)  # GNU tar reads the sparse members too
    subprocess.run(["tar", "xf", "a.tar"], cwd=tmp_path, check=True, timeout=30)
    log = tmp_path / "0" / "wal" / "open-1"
    assert log.stat().st_size == 32 * 2**20
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        assert tar.extractfile("0/wal/open-1").read() == log.read_bytes()  # type: ignore[union-attr]


def test_an_existing_collection_keeps_its_configuration_and_schema(client: httpx.Client) -> None:
    path = "/collections/kept"
    hnsw = {"m": 24}
    call(client, "PUT", path, {"vectors": {"size": 32, "distance": "Cosine"}, "hnsw_config": hnsw})
    call(client, "PUT", f"{path}/index?wait=true", {"field_name": "new", "field_schema": "float"})
    upload(client, "kept", (FIXTURES / "basic" / "collection.snapshot").read_bytes())
    info = call(client, "GET", path)
    assert info["config"]["hnsw_config"]["m"] == 24
    assert info["payload_schema"]["new"]["data_type"] == "float"
    assert call(client, "POST", f"{path}/points/count", {})["count"] == 2000


def test_another_shard_number_is_refused(client: httpx.Client) -> None:
    vectors = {"size": 32, "distance": "Cosine"}
    call(client, "PUT", "/collections/two", {"vectors": vectors, "shard_number": 2})
    archive = (FIXTURES / "basic" / "collection.snapshot").read_bytes()
    response = client.post("/collections/two/snapshots/upload", files={"snapshot": ("a", archive)})
    assert response.status_code == 400
    assert "shard number" in response.json()["status"]["error"]


def test_a_link_in_an_archive_is_refused(client: httpx.Client) -> None:
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w") as tar:
        link = tarfile.TarInfo("config.json")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    files = {"snapshot": ("a.snapshot", raw.getvalue())}
    response = client.post("/collections/link/snapshots/upload", files=files)
    assert response.status_code == 500
    assert not call(client, "GET", "/collections/link/exists")["exists"]
