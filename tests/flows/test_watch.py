"""A watch on a real server: what is new and what is over arrives as a message, once."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from prefect import tags
from prefect.blocks.notifications import CustomWebhookNotificationBlock
from prefect.client.orchestration import get_client
from prefect.client.schemas import State
from prefect.client.schemas.objects import StateType

from deployments.automations import WATCH_TAG, automations
from flows.watch import watch
from qdrant_dr import configfile
from qdrant_dr.records import Found, Outcome, RunEnd, Watched
from tasks import watch as telling
from tests.support import records as made
from tests.support.driving import do
from tests.support.listener import Listener, listener
from tests.support.prefect import PrefectServer, drain
from tests.support.waiting import eventually
from tests.support.world import World

pytestmark = [pytest.mark.prefect, pytest.mark.timeout(240)]


@pytest.fixture
def shop(world: Callable[..., World]) -> World:
    return world()


@pytest.fixture
def inbox(in_process: PrefectServer, shop: World) -> Iterator[Listener]:
    """Where the notifications of the automations of `shop` arrive."""
    config = configfile.load(shop.reference)
    with listener() as kept:
        block = CustomWebhookNotificationBlock(
            name="looks", url=kept.url, json_data={"subject": "{{subject}}", "body": "{{body}}"}
        )
        saved: Any = block.save("looks", overwrite=True)
        mine = []
        with get_client(sync_client=True) as client:
            for wanted in automations(config, saved, unwatched_after=timedelta(seconds=10)):
                named = wanted.model_copy(update={"name": f"told-{wanted.name}"})
                mine.append(client.create_automation(named))
        yield kept
        with get_client(sync_client=True) as client:
            for automation in mine:
                client.delete_automation(automation)


def messages(inbox: Listener, about: str) -> list[str]:
    """The bodies of those with these words in their subject."""
    drain()
    every = [json.loads(s.body) for s in inbox.sent]
    return [m["body"] for m in every if about in m["subject"]]


def look(reference: str) -> State[Any]:
    with tags(WATCH_TAG):
        state: State[Any] = watch(reference, return_state=True)
    return state


def test_a_message_when_it_appears_one_when_it_is_over_and_silence_between(
    inbox: Listener, shop: World
) -> None:
    red = look(shop.reference)
    assert (red.type, red.name) == (StateType.FAILED, "Red")
    (new,) = eventually(lambda: messages(inbox, "shop: 2 new findings"), within=60)
    assert "critical: cluster: nothing is protected" in new
    assert "next: qdrant-dr backup" in new
    assert look(shop.reference).name == "Red"
    assert do(shop, "backup").verdict == "ok"
    good = look(shop.reference)
    assert (good.type, good.name) == (StateType.COMPLETED, "Completed")
    (over,) = eventually(lambda: messages(inbox, "shop: 2 over"), within=60)
    assert "over: cluster: nothing is protected" in over
    assert len(messages(inbox, "shop: ")) == 2, "the red look between them was told again"

    # nothing else was said of the red runs; one that could not look is told, and so is silence
    with pytest.raises(Exception, match="not-there"):
        look("/not-there.yaml").result()
    (why,) = eventually(lambda: messages(inbox, "could not look"), within=60)
    assert "not-there.yaml" in why
    eventually(lambda: messages(inbox, "nobody watches shop"), within=90)
    assert not [s for s in inbox.sent if " is Red" in s.body or " is Failed" in s.body]


def test_each_finding_is_an_event_for_machines(
    in_process: PrefectServer, world: Callable[..., World]
) -> None:
    look(world(cluster={"name": "events", "nodes": ["http://127.0.0.1:1"]}).reference)
    drain()

    def seen() -> dict[str, dict[str, Any]]:
        body = {"filter": {"event": {"prefix": ["qdrant-dr.finding.", "qdrant-dr.cluster."]}}}
        found = in_process.call("POST", "/events/filter", body)["events"]
        return {e["resource"]["prefect.resource.id"]: e for e in found}

    at = "qdrant-dr.finding.events.cluster-unseen.cluster"
    event = eventually(lambda: seen().get(at), within=60)
    assert event is not None
    assert event["event"] == "qdrant-dr.finding.appeared"
    assert event["payload"]["severity"] == "critical"
    assert event["payload"]["next_command"].startswith("qdrant-dr check")
    watched = eventually(lambda: seen().get("qdrant-dr.cluster.events"), within=60)
    assert watched is not None
    assert (watched["event"], watched["payload"]["verdict"]) == (
        "qdrant-dr.cluster.watched", "failed",
    )  # fmt: skip


def test_what_could_not_be_sent_is_announced_by_the_next_watch(
    in_process: PrefectServer, shop: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(telling, "reachable", lambda: False)
    assert look(shop.reference).name == "Red"
    assert not list(shop.folders["one"].glob("watches/**/*.json"))
    monkeypatch.undo()
    assert look(shop.reference).name == "Red"
    assert len(list(shop.folders["one"].glob("watches/**/*.json"))) == 1


# without a server


def finding(n: int, **fields: Any) -> Found:
    return Found(
        **{
            "severity": "warning", "code": "drill-overdue", "scope": f"c{n}", "what": "late",
            "since": made.NOW, "blast_radius": "some", "next_command": f"qdrant-dr drill c{n}",
            **fields,
        }
    )  # fmt: skip


def test_many_findings_are_one_message_of_a_bounded_length() -> None:
    every = tuple(finding(n) for n in range(200))
    watched = Watched(
        findings=every, appeared=every, cleared=every[:1], compared_with=None, unseen=()
    )
    assert telling.subject("prod", watched) == "prod: 200 new findings, 1 over"
    told = telling.text(watched)
    assert "and 180 more" in told
    assert told.endswith("over: c0: late")
    assert "next: qdrant-dr drill c19" in told


def ended(watched: Watched, **fields: Any) -> RunEnd:
    outcome = Outcome(
        unit="watch", collection="*", verdict="ok", started_at=made.NOW, ended_at=made.NOW,
        detail=watched,
    )  # fmt: skip
    return made.run_end(made.run_start("watch"), outcomes=(outcome,), **fields)


def test_a_message_that_could_not_be_sent_is_not_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def lost(event: str, **_: Any) -> None:
        if event == telling.CHANGED:
            raise RuntimeError("too large")

    monkeypatch.setattr(telling, "reachable", lambda: True)
    monkeypatch.setattr(telling, "emit_event", lost)
    monkeypatch.setattr(telling, "_table", lambda *_: None)
    new = (finding(1),)
    watched = Watched(findings=new, appeared=new, cleared=(), compared_with=None)
    assert telling.announce_changes(ended(watched), watched) is False
    calm = watched.model_copy(update={"appeared": ()})
    assert telling.announce_changes(ended(calm), calm) is True


def test_a_watch_that_could_not_be_recorded_is_announced_as_a_failed_run() -> None:
    """No finding tells of it: under the name of a red look nobody would hear of it."""
    calm = Watched(findings=(), appeared=(), cleared=(), compared_with=None)
    state = telling.watch_state(
        ended(calm, verdict="failed", reasons=("no repository took the record of this run",))
    )
    assert (state.type, state.name) == (StateType.FAILED, "Failed")
    assert "no repository took the record" in str(state.message)
    broken = calm.model_copy(update={"findings": (finding(1, severity="critical"),)})
    assert telling.watch_state(ended(broken, verdict="failed")).name == "Red"


def test_the_resource_of_a_finding_is_its_own() -> None:
    scopes = ["movies", "Movies", "movies ", "a/b", "a-b", "ä", "ö", "x" * 300]
    assert telling.slug("movies") == "movies"
    assert len({telling.slug(s) for s in scopes}) == len(scopes)
    assert all(len(telling.slug(s)) < 80 for s in scopes)
