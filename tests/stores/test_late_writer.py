"""An upload in parts ends create-only where the store can; a lost answer is no conflict."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from qdrant_dr.errors import Conflict
from qdrant_dr.repository.open_store import open_store
from qdrant_dr.stores.object_store import ObjectStore
from tests.support.stores import PLACES, Place

SIZE = 9 * 2**20


@pytest.fixture(scope="module", params=["s3", "azure"])
def place(request: pytest.FixtureRequest) -> Iterator[Place]:
    with PLACES[request.param]() as made:
        yield made


@pytest.fixture
def store(place: Place) -> ObjectStore:
    made = open_store(place.config(), stall_timeout=timedelta(seconds=60))
    assert isinstance(made, ObjectStore)
    return made


def whole(store: ObjectStore) -> bytes:
    return b"".join(store.read_range("p.snapshot"))


def test_a_lost_answer_to_our_own_end_is_success(
    store: ObjectStore, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The end is sent twice, as a client does whose first answer was lost. Servers that do not
    remember the upload answer the second one with a refusal."""
    sink: Any = store.sink("p.snapshot")
    sink.write(bytes(SIZE))
    upload = sink._upload
    end = type(upload).finish

    async def twice(self: Any) -> None:
        await end(self)
        await end(self)

    monkeypatch.setattr(type(upload), "finish", twice)
    sink.commit()
    assert whole(store) == bytes(SIZE)


class Refused(Exception):
    """An answer of S3."""

    def __init__(self, status: int, code: str) -> None:
        super().__init__(code)
        self.response = {"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}


@pytest.mark.parametrize("place", ["s3"], indirect=True)
@pytest.mark.parametrize(
    ("status", "code"), [(501, "NotImplemented"), (400, "InvalidArgument"), (501, "Whatever")]
)
def test_a_store_that_knows_no_condition_there_ends_uploads_as_before(
    store: ObjectStore, monkeypatch: pytest.MonkeyPatch, status: int, code: str
) -> None:
    asked = refusing(store, monkeypatch, Refused(status, code))
    sink = store.sink("p.snapshot")
    sink.write(bytes(SIZE))
    sink.commit()
    assert asked == [True, False]
    assert whole(store) == bytes(SIZE)


@pytest.mark.parametrize("place", ["s3"], indirect=True)
@pytest.mark.parametrize("ended", [True, False])
def test_a_taken_name_is_ours_only_if_our_upload_is_gone(
    store: ObjectStore, monkeypatch: pytest.MonkeyPatch, ended: bool
) -> None:
    refusing(store, monkeypatch, Refused(412, "PreconditionFailed"), first=ended)
    sink = store.sink("p.snapshot")
    sink.write(bytes(SIZE))
    if ended:
        sink.commit()
        assert whole(store) == bytes(SIZE)
    else:
        with pytest.raises(Conflict, match="already exists"):
            sink.commit()
        sink.abort()
        assert store.stat("p.snapshot") is None
        assert store.open_uploads("") == []


@pytest.mark.parametrize("written", [0, 5, SIZE])
def test_what_was_given_up_is_not_made_afterwards(store: ObjectStore, written: int) -> None:
    name = f"given-up-{written}.snapshot"
    sink = store.sink(name)
    sink.write(bytes(written))
    sink.abort()
    with pytest.raises(RuntimeError, match="was given up"):
        sink.commit()
    assert store.stat(name) is None


def refusing(
    store: ObjectStore, patch: pytest.MonkeyPatch, error: Exception, *, first: bool = False
) -> list[bool]:
    """Refuse a conditional end, after it was done if `first`; whether each had a condition."""
    asked: list[bool] = []
    call = store._fs._call_s3

    async def answer(method: str, *given: Any, **named: Any) -> Any:
        if method == "complete_multipart_upload":
            asked.append("IfNoneMatch" in named)
            if asked[-1]:
                if first:
                    await call(method, *given, **named)
                raise error
        return await call(method, *given, **named)

    patch.setattr(store._fs, "_call_s3", answer)
    return asked


@pytest.mark.parametrize("place", ["s3"], indirect=True)
def test_a_replacement_has_no_condition(
    store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.create("p.snapshot", b"rotten")
    asked = refusing(store, monkeypatch, Refused(412, "PreconditionFailed"))
    sink = store.sink("p.snapshot", replace=True)
    sink.write(bytes(SIZE))
    sink.commit()
    assert asked == [False]
    assert whole(store) == bytes(SIZE)
