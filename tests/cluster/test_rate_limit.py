"""A node that asks for fewer calls: it is waited for, and its readers keep their part."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import httpx
import pytest

from qdrant_dr.cancel import stopping
from qdrant_dr.cluster import Node, points_by_id, sample_points, scroll_points
from qdrant_dr.cluster.rate_limit import BusyRetry, NodeReadLimits, ReadBudget
from qdrant_dr.cluster.sampling import SAMPLING_REQUESTS
from qdrant_dr.config import Timeouts
from qdrant_dr.errors import Interrupted, NodeBusy, ServerFailed
from tests.support.either_server import KINDS, either_server
from tests.support.servers import Server


class Clock:
    def __init__(self) -> None:
        self.now = 0.0
        self.waited: list[float] = []

    def __call__(self) -> float:
        return self.now

    def wait(self, seconds: float) -> None:
        self.waited.append(seconds)
        self.now += seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_a_node_is_asked_again_when_it_says(clock: Clock) -> None:
    patience = BusyRetry(60, clock, clock.wait)
    assert patience.outlast("7")
    assert 7 <= clock.waited[0] <= 8


def test_without_a_word_pauses_grow_and_end(clock: Clock) -> None:
    patience = BusyRetry(300, clock, clock.wait)
    while patience.outlast(None):
        pass
    assert clock.waited[3] > clock.waited[0]
    assert clock.now + 60 >= 240
    assert clock.now <= 300


def test_what_would_last_too_long_is_not_begun(clock: Clock) -> None:
    assert not BusyRetry(60, clock, clock.wait).outlast("61")
    assert clock.waited == []


@pytest.mark.parametrize("text", ["soon", "-1", "1.5", "Wed, 21 Oct 2026 07:28:00 GMT"])
def test_what_is_no_number_of_seconds_is_no_reason_to_fail(text: str, clock: Clock) -> None:
    assert BusyRetry(60, clock, clock.wait).outlast(text)


def test_tokens_come_in_evenly(clock: Clock) -> None:
    share = ReadBudget(60, clock, clock.wait)
    for _ in range(65):
        share.spend(1)
    assert clock.now == pytest.approx(60, abs=1)  # five at once, then one a second


def test_many_threads_share_one_bucket(clock: Clock) -> None:
    share = ReadBudget(600, clock, clock.wait)
    threads = [threading.Thread(target=lambda: [share.spend(1) for _ in range(20)]) for _ in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(clock.waited) > 0
    assert max(clock.waited) <= 8


@pytest.mark.parametrize(
    ("strict", "per_minute"),
    [
        ({"enabled": True, "read_rate_limit": 100}, 50),
        ({"enabled": False, "read_rate_limit": 100}, None),
        ({"enabled": True}, None),
        (None, None),
    ],
)
def test_a_limit_counts_while_strict_mode_is_on(
    strict: dict[str, object] | None, per_minute: float | None
) -> None:
    pace = NodeReadLimits(0.5)
    pace.learn("c", strict)
    share = pace.of("c", lambda: pytest.fail("asked though known"))
    assert (share and share.per_minute) == per_minute


def test_what_was_learned_long_ago_is_asked_again(clock: Clock) -> None:
    pace = NodeReadLimits(0.5, clock)
    pace.learn("c", None)
    clock.now = 1000
    share = pace.of("c", lambda: {"enabled": True, "read_rate_limit": 10})
    assert share is not None
    assert pace.of("c", lambda: pytest.fail("asked twice")) is share


@pytest.fixture(
    scope="module",
    params=KINDS,
)
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    with either_server(request.param, tmp_path_factory.mktemp(request.param)) as made:
        yield made


def limited(server: Server, name: str, limit: int, points: int = 300) -> str:
    """A collection of integers and UUIDs under a limit."""
    where = f"{server.url}/collections/{name}"
    body = {"vectors": {"size": 2, "distance": "Dot"}}
    httpx.put(where, json=body, timeout=60).raise_for_status()
    some = [{"id": 7 * i, "vector": [i, 1]} for i in range(points)]
    some += [{"id": f"00000000-0000-0000-0000-{i:012x}", "vector": [i, 1]} for i in range(20)]
    httpx.put(f"{where}/points?wait=true", json={"points": some}).raise_for_status()
    strict = {"enabled": True, "read_rate_limit": limit}
    httpx.patch(where, json={"strict_mode_config": strict}).raise_for_status()
    return name


def spent(server: Server, name: str) -> httpx.Response:
    """Other readers take all that is left."""
    while True:
        answer = httpx.post(f"{server.url}/collections/{name}/points/scroll", json={"limit": 1})
        if answer.status_code != 200:
            return answer


def test_a_node_out_of_tokens_is_waited_for(server: Server) -> None:
    name = limited(server, "waiting", 20)
    refused = spent(server, name)
    assert refused.status_code == 429
    assert 1 <= int(refused.headers["retry-after"]) <= 3
    with Node(server.url, read_share=1) as node:
        assert len(list(scroll_points(node, name, content=False))) == 320


def test_a_node_that_stays_busy_names_the_read_rate_limit(server: Server) -> None:
    name = limited(server, "impatient", 2)
    spent(server, name)
    with (
        Node(server.url, timeouts=Timeouts(busy="1s")) as node,
        pytest.raises(NodeBusy, match="429") as caught,
    ):
        list(scroll_points(node, name))
    assert caught.value.transient
    assert "read_rate_limit" in caught.value.hint


def test_a_wait_can_be_stopped(server: Server) -> None:
    name = limited(server, "stopped", 1)
    spent(server, name)
    soon = threading.Timer(0.5, stopping.set)
    soon.start()
    try:
        with Node(server.url) as node, pytest.raises(Interrupted):
            list(scroll_points(node, name))
    finally:
        soon.join()
        stopping.clear()


def test_no_request_costs_more_than_a_limit_allows(server: Server) -> None:
    name = limited(server, "small", 40)
    ids = [7 * i for i in range(45)]
    with Node(server.url, read_share=0.5) as node, pytest.MonkeyPatch.context() as patch:
        patch.setattr(ReadBudget, "spend", lambda _self, _cost: None)
        began = points_by_id(node, name, ids)
        assert [next(began)["id"] for _ in range(40)] == ids[:40]
    whole = httpx.post(f"{server.url}/collections/{name}/points", json={"ids": ids})
    assert (whole.status_code, "retry-after" in whole.headers) == (429, False)


def test_a_request_that_never_fits_is_not_waited_for(server: Server) -> None:
    name = limited(server, "never", 10)
    with Node(server.url) as node, pytest.raises(ServerFailed, match="split your request"):
        node.ask("POST", f"/collections/{name}/points", "read", json={"ids": list(range(11))})


def test_sampling_leaves_its_users_a_search(server: Server) -> None:
    name = limited(server, "sampled", 2 * SAMPLING_REQUESTS)
    with Node(server.url, read_share=1) as node, pytest.MonkeyPatch.context() as patch:
        patch.setattr(ReadBudget, "spend", lambda _self, _cost: None)
        found = sample_points(node, name, count=20, seed="s")
    assert len({p["id"] for p in found}) == len(found) >= 10
    assert {type(p["id"]) for p in found} == {int, str}
    search = {"query": [1, 1], "limit": 3}
    left = 0
    while httpx.post(f"{server.url}/collections/{name}/points/query", json=search).is_success:
        left += 1
    assert left >= SAMPLING_REQUESTS
