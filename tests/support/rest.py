"""A few sentences of Qdrant's REST interface for tests, and the points of the fixtures."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import httpx
import zstandard

FIXTURES = Path(__file__).parents[1] / "fixtures"
Json = Any


def call(client: httpx.Client, method: str, path: str, body: Json = None) -> Json:
    """The `result` of a call that must succeed."""
    response = client.request(method, path, json=body)
    assert response.is_success, response.text
    return response.json()["result"]


def upload(client: httpx.Client, collection: str, archive: bytes) -> None:
    """Restore by upload, with checksum and priority."""
    digest = hashlib.sha256(archive).hexdigest()
    path = f"/collections/{collection}/snapshots/upload?priority=snapshot&checksum={digest}"
    response = client.post(path, files={"snapshot": ("upload.snapshot", archive)})
    assert response.status_code == 200, response.text


def snapshot(client: httpx.Client, collection: str) -> bytes:
    """Create a snapshot, download it, and compare with what the server said of it."""
    told = call(client, "POST", f"/collections/{collection}/snapshots")
    archive = client.get(f"/collections/{collection}/snapshots/{told['name']}").content
    assert len(archive) == told["size"]
    assert hashlib.sha256(archive).hexdigest() == told["checksum"]
    return archive


def scroll(client: httpx.Client, collection: str, page: int = 700) -> list[Json]:
    """All points with payload and vectors, in the order of ids."""
    points: list[Json] = []
    body: Json = {"limit": page, "with_payload": True, "with_vector": True}
    while True:
        result = call(client, "POST", f"/collections/{collection}/points/scroll", body)
        points += result["points"]
        if result["next_page_offset"] is None:
            return points
        body["offset"] = result["next_page_offset"]


def operation_numbers(client: httpx.Client, collection: str, shards: int = 1) -> list[int]:
    numbers = []
    for shard in range(shards):
        path = f"/collections/{collection}/shards/{shard}/snapshot/partial/manifest"
        segments = call(client, "GET", path).values()
        numbers.append(max(segment["segment_version"] for segment in segments))
    return numbers


def recorded_points(file: str) -> list[Json]:
    """The truth of a fixture: one JSON object a line, as the real server answered."""
    with (FIXTURES / file).open("rb") as packed:
        text = zstandard.ZstdDecompressor().stream_reader(packed).read()
    return [json.loads(line) for line in text.splitlines()]
