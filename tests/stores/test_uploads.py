"""What is sent of an object in parts: every byte, nothing hashed twice, each store by itself."""

from __future__ import annotations

import asyncio
import gc
import hashlib
import io
import os
from base64 import b64encode
from collections.abc import Iterator
from datetime import timedelta
from queue import Queue
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qdrant_dr.digests import SAMPLE_BLOCK, StreamDigest
from qdrant_dr.repository.open_store import open_store
from qdrant_dr.stores import body as bodies
from qdrant_dr.stores.body import Body
from qdrant_dr.stores.loops import loop_of
from qdrant_dr.stores.object_store import ObjectStore
from qdrant_dr.stores.s3 import S3Upload
from qdrant_dr.stores.s3_checksums import sign_known_digests
from tests.support.stores import Place, s3_place

MIB = 2**20
OLD = {"request_checksum_calculation": "when_required"}


@given(
    st.lists(st.binary(max_size=40), max_size=6),
    st.lists(st.tuples(st.integers(0, 120), st.integers(-1, 120)), max_size=6),
)
def test_a_body_reads_as_a_file_of_its_pieces(
    pieces: list[bytes], reads: list[tuple[int, int]]
) -> None:
    file = io.BytesIO(b"".join(pieces))
    body = Body(*pieces)
    body._pieces = tuple(pieces)  # as if each were large
    assert len(body) == len(file.getvalue())
    for start, size in reads:
        assert body.seek(start) == file.seek(start)
        assert body.read(size) == file.read(size)
        assert body.tell() == file.tell()
        assert b"".join(body.views(start)) == file.getvalue()[start:]
    assert body.digest() == hashlib.sha256(file.getvalue()).hexdigest()


def test_small_pieces_are_sent_as_one() -> None:
    assert len(list(Body(*(b"x" for _ in range(1000))).views())) == 1
    assert len(list(Body(bytes(MIB), bytes(MIB)).views())) == 2 * MIB // bodies._AT_ONCE


@pytest.fixture(scope="module")
def place() -> Iterator[Place]:
    with s3_place() as made:
        yield made


def opened(place: Place, **options: Any) -> ObjectStore:
    made = open_store(place.config(**options), stall_timeout=timedelta(seconds=60))
    assert isinstance(made, ObjectStore)
    return made


@pytest.mark.parametrize("options", [{}, {"config_kwargs": OLD}], ids=["usual", "old gateway"])
def test_s3_compares_each_part_with_the_digest_that_the_manifest_has_of_it(
    place: Place, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    store = opened(place, **options)
    data = os.urandom(2 * SAMPLE_BLOCK + 5)
    sent: list[tuple[str | None, str | None]] = []
    computed: list[int] = []
    digest_of = Body.digest

    def look(request: Any, **_: Any) -> None:
        assert not [h for h in request.headers if "crc" in h.lower()]
        headers = [request.headers.get(f"x-amz-{h}") for h in ("content-sha256", "checksum-sha256")]
        signed, beside = (h.decode() if isinstance(h, bytes) else h for h in headers)
        sent.append((signed, beside))

    def watched(body: Body) -> str:
        if body.sha256 is None:
            computed.append(len(body))
        return digest_of(body)

    monkeypatch.setattr(Body, "digest", watched)
    store.stat("x")
    store._fs.s3.meta.events.register("before-send.s3.UploadPart", look)
    digest = StreamDigest()
    sink = store.sink("p.snapshot", size_hint=len(data), digest=digest)
    for at in range(0, len(data), 3 * MIB):  # pieces of a part are not the blocks that came
        digest.update(data[at : at + 3 * MIB])
        sink.write(data[at : at + 3 * MIB])
    sink.commit()
    assert b"".join(store.read_range("p.snapshot")) == data
    parts = [data[at : at + SAMPLE_BLOCK] for at in range(0, len(data), SAMPLE_BLOCK)]
    hashes = [hashlib.sha256(part) for part in parts]
    wanted = [(h.hexdigest(), b64encode(h.digest()).decode()) for h in hashes]
    assert sorted(sent, key=str) == sorted(
        ((a, None if options else b) for a, b in wanted), key=str
    )
    assert computed == ([] if options else [5])  # the last one alone, which is no whole block


def test_stores_have_loops_of_their_own_and_few() -> None:
    loops = [loop_of(f"s3://bucket/{n}") for n in range(40)]
    assert loops[0] is loop_of("s3://bucket/0")
    assert loops[0] is not loops[1]
    assert len(set(map(id, loops))) <= 8
    assert all(loop.is_running() for loop in loops)


def test_a_store_that_is_dropped_on_the_loop_of_another_ends_its_session_on_its_own(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The garbage collection may drop it, in any thread."""
    first, second = opened(place), opened(place)
    assert first.stat("x") is second.stat("x") is None
    own, other = first._fs.loop, second._fs.loop
    assert own is not other
    ended: Queue[asyncio.AbstractEventLoop] = Queue()
    session = first._fs._s3creator
    end = type(session).__aexit__

    async def watched(self: Any, *error: Any) -> None:
        await end(self, *error)
        if self is session:
            ended.put(asyncio.get_running_loop())

    monkeypatch.setattr(type(session), "__aexit__", watched)
    held = [first]
    del first

    async def drop() -> None:
        held.clear()
        gc.collect()

    asyncio.run_coroutine_threadsafe(drop(), other).result(20)
    assert ended.get(timeout=20) is own


class Sent(Exception):
    """A request that would be sent now."""

    def __init__(self, request: Any) -> None:
        super().__init__("not sent")
        self.request = request


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_part_is_signed_and_sent_as_it_is_with_and_without_tls(place: Place, scheme: str) -> None:
    """Not cut into chunks with a checksum behind them, as the client does by itself over TLS."""
    store = opened(place, endpoint_url=f"{scheme}://127.0.0.1:1")
    body = Body(b"some bytes", sha256=hashlib.sha256(b"some bytes").hexdigest())

    def stop(request: Any, **_: Any) -> None:
        raise Sent(request)

    async def put() -> None:
        upload = S3Upload(store._fs, "backups", "p", create=True)
        upload._id = "id"
        upload._checks = await sign_known_digests(store._fs, "backups")
        store._fs.s3.meta.events.register("before-send.s3.UploadPart", stop)
        await upload.put(0, 0, body, last=True)

    with pytest.raises(Sent) as caught:
        asyncio.run_coroutine_threadsafe(put(), store._fs.loop).result(30)
    request = caught.value.request
    headers = {name.lower(): value for name, value in request.headers.items()}
    assert request.url.startswith(f"{scheme}://")
    assert request.body is body
    assert headers["x-amz-content-sha256"] in (body.sha256, str(body.sha256).encode())
    assert "content-encoding" not in headers
    assert "x-amz-trailer" not in headers
