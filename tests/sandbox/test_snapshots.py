"""Snapshots: under writes, in one second, behind the answer, and what an upload leaves."""

from __future__ import annotations

import io
import tarfile
import threading
import time
from pathlib import Path
from uuid import uuid4

import httpx
import psutil
import pytest

from tests.support.rest import FIXTURES, call, operation_numbers, scroll, snapshot, upload
from tests.support.servers import Server, sandbox_server

SMALL = {"vectors": {"size": 4, "distance": "Dot"}}
SIZE = 128 * 2**20
MEMORY_GROWTH = 48 * 2**20


@pytest.fixture
def name(client: httpx.Client) -> str:
    name = f"s-{uuid4()}"
    call(client, "PUT", f"/collections/{name}", SMALL)
    return name


def test_an_archive_made_under_writes_is_one_state_of_the_log(
    client: httpx.Client, sandbox: Server, name: str
) -> None:
    """Operation k writes point k: what the archive holds must be 1..n, n its operation number."""
    archives = []
    stop = threading.Event()
    acknowledged = [0]

    def write() -> None:
        with httpx.Client(base_url=sandbox.url, timeout=60, trust_env=False) as writer:
            while not stop.is_set():
                number = acknowledged[0] + 1
                points = {"points": [{"id": number, "vector": [number, 0, 0, 1]}]}
                told = call(writer, "PUT", f"/collections/{name}/points?wait=true", points)
                assert told["operation_id"] == number
                acknowledged[0] = number

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _ in range(4):
            before = acknowledged[0]
            while acknowledged[0] < before + 5:
                time.sleep(0.01)
            before = acknowledged[0]
            archives.append((before, snapshot(client, name)))
    finally:
        stop.set()
        writer.join(30)
    for number, (before, archive) in enumerate(archives):
        copy = f"{name}-{number}"
        upload(client, copy, archive)
        (operation,) = operation_numbers(client, copy)
        assert before <= operation <= acknowledged[0]
        assert [point["id"] for point in scroll(client, copy)] == list(range(1, operation + 1))


def test_creates_of_one_second_share_a_name(
    sandbox: Server, client: httpx.Client, name: str
) -> None:
    names: list[str] = []

    def create() -> None:
        told = httpx.post(
            f"{sandbox.url}/collections/{name}/snapshots", trust_env=False, timeout=60
        )
        names.append(told.json()["result"]["name"])

    time.sleep(1 - time.time() % 1)
    threads = [threading.Thread(target=create) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    listed = call(client, "GET", f"/collections/{name}/snapshots")
    assert len(names) == 3
    assert {snapshot["name"] for snapshot in listed} == set(names)
    assert len(listed) < 3


def test_without_wait_it_appears_later(client: httpx.Client, name: str) -> None:
    path = f"/collections/{name}/snapshots"
    response = client.post(f"{path}?wait=false")
    assert response.status_code == 202
    assert set(response.json()) == {"status", "time"}
    deadline = time.monotonic() + 20
    while not (listed := call(client, "GET", path)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert len(listed) == 1
    archive = client.get(f"{path}/{listed[0]['name']}").content

    copy = f"{name}-2"
    files = {"snapshot": ("a.snapshot", archive)}
    response = client.post(f"/collections/{copy}/snapshots/upload?wait=false", files=files)
    assert response.status_code == 202
    while not call(client, "GET", f"/collections/{copy}/exists")["exists"]:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_download_resumes_only_the_same_bytes(client: httpx.Client, name: str) -> None:
    made = call(client, "POST", f"/collections/{name}/snapshots")
    path = f"/collections/{name}/snapshots/{made['name']}"
    whole = client.get(path)
    half = len(whole.content) // 2
    tag = whole.headers["etag"]
    rest = client.get(path, headers={"range": f"bytes={half}-", "if-match": tag})
    assert rest.status_code == 206
    assert whole.content[:half] + rest.content == whole.content
    assert client.get(path, headers={"range": "bytes=-10"}).content == whole.content[-10:]
    time.sleep(0.01)
    snapshot_again = call(client, "POST", f"/collections/{name}/snapshots")
    if snapshot_again["name"] == made["name"]:  # replaced within the second
        stale = client.get(path, headers={"range": f"bytes={half}-", "if-match": tag})
        assert stale.status_code == 412


def test_names_are_plain_and_unicode_travels(client: httpx.Client) -> None:
    name = f"ünï {uuid4()}"
    call(client, "PUT", f"/collections/{name}", SMALL)
    made = call(client, "POST", f"/collections/{name}/snapshots")
    response = client.get(f"/collections/{name}/snapshots/{made['name']}")
    assert response.status_code == 200
    assert "filename*=UTF-8''%C3%BCn%C3%AF" in response.headers["content-disposition"]
    for hostile in ("..%2F..%2Fx", "%2Fetc%2Fpasswd", "%2E%2E"):
        assert client.get(f"/collections/{name}/snapshots/{hostile}").status_code == 404
    files = {"snapshot": ("../../escaped.snapshot", b"x")}
    assert client.post(f"/collections/{name}/snapshots/upload", files=files).status_code == 500
    listed = [s["name"] for s in call(client, "GET", f"/collections/{name}/snapshots")]
    assert listed == ["escaped.snapshot", made["name"]]


def test_snapshots_of_a_deleted_collection_come_back_with_its_name(
    client: httpx.Client, name: str
) -> None:
    made = call(client, "POST", f"/collections/{name}/snapshots")
    assert call(client, "DELETE", f"/collections/{name}") is True
    assert client.get(f"/collections/{name}/snapshots").status_code == 404
    call(client, "PUT", f"/collections/{name}", SMALL)
    assert [s["name"] for s in call(client, "GET", f"/collections/{name}/snapshots")] == [
        made["name"]
    ]


def test_a_failed_restore_leaves_the_collection_as_it_was(client: httpx.Client, name: str) -> None:
    points = {"points": [{"id": 1, "vector": [1, 2, 3, 4]}]}
    call(client, "PUT", f"/collections/{name}/points?wait=true", points)
    before = scroll(client, name)
    archive = snapshot(client, name)
    cut = client.post(
        f"/collections/{name}/snapshots/upload", files={"snapshot": ("a", archive[:20000])}
    )
    assert cut.status_code == 500
    assert scroll(client, name) == before
    assert operation_numbers(client, name) == [1]


@pytest.mark.parametrize("where", ["data", "boundary"])
def test_a_multipart_body_is_read_exactly(client: httpx.Client, name: str, where: str) -> None:
    """Line breaks and things like boundaries within the file are data."""
    archive = snapshot(client, name)
    boundary = "xx"
    decoy = b"\r\n--x" if where == "boundary" else b"\r\n"
    body = (
        b'--xx\r\nContent-Disposition: form-data; name="other"\r\n\r\nignored\r\n'
        b'--xx\r\nContent-Disposition: form-data; name="snapshot"; filename="m.snapshot"\r\n'
        b"Content-Type: application/octet-stream\r\n\r\n" + archive + decoy * 3 + b"\r\n--xx--\r\n"
    )
    copy = f"{name}-2"
    headers = {"content-type": f"multipart/form-data; boundary={boundary}"}
    response = client.post(f"/collections/{copy}/snapshots/upload", content=body, headers=headers)
    assert response.status_code == 200, response.text
    kept = client.get(f"/collections/{copy}/snapshots/m.snapshot").content
    assert kept == archive + decoy * 3
    unfinished = client.post(
        f"/collections/{copy}-3/snapshots/upload", content=body[:-8], headers=headers
    )
    assert unfinished.status_code == 400


def test_memory_stays_flat(tmp_path: Path) -> None:
    """More than it may grow by travels up and down again."""
    with sandbox_server(tmp_path / "server") as server:
        process = psutil.Process(server.pid)
        with httpx.Client(base_url=server.url, timeout=120, trust_env=False) as client:
            upload(client, "a", (FIXTURES / "single" / "collection.snapshot").read_bytes())
            before = process.memory_info().rss
            with (tmp_path / "big").open("wb") as big:
                big.truncate(SIZE)
            with (tmp_path / "big").open("rb") as big:
                files = {"snapshot": ("big.snapshot", big)}
                assert client.post("/collections/a/snapshots/upload", files=files).is_error
            peak = process.memory_info().rss
            received = 0
            headers = {"accept-encoding": "identity"}
            path = "/collections/a/snapshots/big.snapshot"
            with client.stream("GET", path, headers=headers) as response:
                for block in response.iter_bytes(2**20):
                    received += len(block)
                    peak = max(peak, process.memory_info().rss)
    assert received == SIZE
    assert peak - before < MEMORY_GROWTH


def test_the_log_is_kept(client: httpx.Client, name: str) -> None:
    call(
        client,
        "PUT",
        f"/collections/{name}/points",
        {"points": [{"id": 7, "vector": [1, 1, 1, 1]}]},
    )
    with tarfile.open(fileobj=io.BytesIO(snapshot(client, name))) as tar:
        names = tar.getnames()
        log = tar.extractfile("0/wal/open-1")
        assert log is not None
        assert any(log.read(4096))
    assert "0/wal/first-index" in names
