"""The emulators behind a proxy: all that a store does, and its signatures, survive the way."""

from __future__ import annotations

from datetime import timedelta

import pytest

from qdrant_dr.errors import Conflict
from qdrant_dr.repository.open_store import open_store
from tests.support.proxy import forward_proxy
from tests.support.stores import Place


def test_a_store_is_as_good_through_a_proxy(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place.need("endpoint")
    # of Azure, the first part of a name is the account; of S3, it would be the bucket
    host = "devstoreaccount1.store.test" if place.kind == "azure" else "stores"
    options = {
        name: value.replace("127.0.0.1", host).replace("/devstoreaccount1;", ";")
        for name, value in place.options.items()
    }
    monkeypatch.delenv("NO_PROXY", raising=False)
    config = place.config(**options)
    data = bytes(range(256)) * 40_000  # in parts, where a store takes parts
    with forward_proxy() as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        store = open_store(config, stall_timeout=timedelta(seconds=60))
        store.create("a/small.json", b"{}")
        with pytest.raises(Conflict):
            store.create("a/small.json", b"[]")
        sink = store.sink("a/large", size_hint=len(data))
        sink.write(data)
        sink.commit()
        assert b"".join(store.read_range("a/large")) == data
        assert [there.path for there in store.find("a")] == ["a/large", "a/small.json"]
        store.delete("a/large")
        assert store.stat("a/large") is None
    assert set(proxy.asked) == {host}
    assert len(proxy.asked) > 6
