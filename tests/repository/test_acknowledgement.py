"""Which acknowledgements count: two witnesses, a time, no release, and none from the future."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qdrant_dr import layout
from qdrant_dr.errors import CatalogIncomplete, NothingSelected, UsageError
from qdrant_dr.jobs.acknowledge.job import acknowledge, unconfirmed, withdraw
from qdrant_dr.jobs.run.acknowledgements import acknowledgements_of
from qdrant_dr.records import Acknowledgement
from qdrant_dr.repository import (
    Repository,
    acknowledgements_that_count,
    add_acknowledgement,
    create_repository,
    open_repository,
    read_acknowledgements,
)
from tests.support import records as r
from tests.support.records import NOW, days

ONE = r.acknowledgement("run-bad", "last verify run", "run-1")
RELEASE = ONE.model_copy(
    update={"acknowledgement_id": "r", "acknowledges": False, "releases": (ONE.acknowledgement_id,)}
)


def count(
    found: Mapping[str, list[Acknowledgement]], repositories: int = 2, now: Any = NOW
) -> tuple[Acknowledgement, ...]:
    return acknowledgements_that_count(found, repositories=repositories, now=now)


def test_one_bucket_alone_cannot_order_a_deletion() -> None:
    assert count({"a": [ONE], "b": [ONE]}) == (ONE,)
    assert count({"a": [ONE], "b": []}) == ()
    assert count({"a": [ONE, ONE]}) == (), "twice in one place is one place"
    other = ONE.model_copy(update={"reason": "another one"})
    assert count({"a": [ONE], "b": [other]}) == (), "they must be the same to the byte"
    assert count({"a": [ONE]}, repositories=1) == (ONE,)


def test_it_ends_and_is_taken_back() -> None:
    timed = ONE.model_copy(update={"until": NOW + days(1)})
    both = {"a": [timed], "b": [timed]}
    assert count(both) == (timed,)
    assert count(both, now=NOW + days(2)) == ()
    assert count({"a": [ONE, RELEASE], "b": [ONE]}) == (), "a release needs no witness"
    early = ONE.model_copy(update={"made_at": NOW + days(1)})
    assert count({"a": [early], "b": [early]}) == (), "nobody can have said it yet"


RECORDS = st.lists(
    st.builds(
        lambda n, ahead, until, releases: r.acknowledgement(
            "run-bad", "s", str(n), acknowledgement_id=f"id{n}",
            made_at=NOW + timedelta(hours=ahead), acknowledges=not releases,
            until=None if until is None else NOW + timedelta(hours=until),
            releases=tuple(f"id{m}" for m in releases),
        ),
        st.integers(0, 4), st.integers(-5, 3), st.none() | st.integers(-3, 3),
        st.lists(st.integers(0, 4), max_size=2),
    ),
    max_size=6,
)  # fmt: skip


@given(st.fixed_dictionaries({"a": RECORDS, "b": RECORDS, "c": RECORDS}))
def test_more_places_never_take_a_witness_away(found: dict[str, list[Acknowledgement]]) -> None:
    counted = count(found, repositories=3)
    for record in counted:
        assert sum(record in records for records in found.values()) >= 2
        assert record.until is None or record.until > NOW
        assert record.made_at <= NOW + timedelta(minutes=1)
        assert record.acknowledges
    assert {a.sha256 for a in counted} <= {a.sha256 for a in count(found, repositories=1)}


@pytest.fixture
def opened(tmp_path: Any) -> dict[str, Repository]:
    found = {}
    for entry in r.config("one", "two").repositories:
        cfg = entry.model_copy(update={"url": (tmp_path / entry.name).as_uri()})
        made = create_repository(cfg, NOW)
        found[entry.name] = open_repository(
            cfg.model_copy(update={"id": made}), stall_timeout=timedelta(seconds=5)
        )
    return found


def said(opened: Mapping[str, Repository], **fields: Any) -> tuple[Acknowledgement, Any]:
    given = {
        "code": "run-bad", "scope": "last verify run", "facts": "run-1", "what": "it failed",
        "reason": "gcp is away", "until": None, "by": "ana", "now": NOW,
    }  # fmt: skip
    return acknowledge(opened, "prod", **{**given, **fields})


def test_written_everywhere_and_taken_back(opened: dict[str, Repository]) -> None:
    config = r.config("one", "two")
    record, lost = said(opened)
    assert lost == {}
    assert acknowledgements_of(config, opened, now=NOW) == (record,)
    with pytest.raises(NothingSelected):
        withdraw(opened, "prod", code="run-bad", scope="?", reason="a slip", by="bea", now=NOW)
    back, _ = withdraw(
        opened, "prod", code="run-bad", scope="last verify run", reason="a slip", by="bea", now=NOW
    )
    assert back.releases == (record.acknowledgement_id,)
    assert acknowledgements_of(config, opened, now=NOW) == ()
    assert len(read_acknowledgements(opened["one"], "prod").records) == 2


def test_one_that_only_one_repository_has_counts_for_nothing(
    opened: dict[str, Repository],
) -> None:
    config = r.config("one", "two")
    one = {"one": opened["one"]}
    record, _ = said(one)
    assert acknowledgements_of(config, opened, now=NOW) == ()
    assert acknowledgements_of(config, one, now=NOW) == (), "the other may be away on purpose"
    assert acknowledgements_of(config, one, now=NOW, lost=["two"]) == (record,)
    weak = unconfirmed(config, {"two": CatalogIncomplete("away")})
    assert weak is not None
    assert "1 of 2 repositories" in weak.message
    add_acknowledgement(opened["two"], record)
    assert acknowledgements_of(config, opened, now=NOW) == (record,)


def test_one_that_cannot_be_read_counts_for_nothing(opened: dict[str, Repository]) -> None:
    record, _ = said(opened)
    path = layout.acknowledgement("prod", record.acknowledgement_id)
    opened["one"].store.delete(path)
    opened["one"].store.create(path, record.to_bytes()[:-9] + b"}")
    assert acknowledgements_of(r.config("one", "two"), opened, now=NOW) == ()
    assert [u.path for u in read_acknowledgements(opened["one"], "prod").unreadable] == [path]


def test_what_tells_no_instance_of_itself_is_acknowledged_for_a_time_only(
    opened: dict[str, Repository],
) -> None:
    with pytest.raises(UsageError, match="may end and begin anew"):
        said(opened, code="clock-skew", facts="")
    record, _ = said(opened, code="clock-skew", facts="", until=NOW + days(1))
    assert record.until == NOW + days(1)


def test_without_a_repository_nothing_is_acknowledged() -> None:
    with pytest.raises(CatalogIncomplete, match="none can be opened"):
        said({})
