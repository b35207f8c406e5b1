"""Units as tasks on a real server: nothing is lost, nothing is green by accident."""

from __future__ import annotations

import threading
import time
from datetime import timedelta

import pytest

from qdrant_dr.errors import DRError, NodeUnreachable, RepositoryDenied
from qdrant_dr.jobs.run.units import SweepUnit, Unit
from qdrant_dr.records import Outcome
from tests.support import records as made
from tests.support.units import capture_unit, outcome, performed, verify_unit

pytestmark = [pytest.mark.prefect, pytest.mark.usefixtures("in_process")]


def test_every_unit_has_its_outcome_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    def act(unit: Unit) -> Outcome:
        if unit.collection == "denied":
            raise RepositoryDenied("may not write")
        if unit.collection == "bug":
            raise ZeroDivisionError("oops")
        verdict = unit.collection if unit.collection in ("degraded", "failed") else "ok"
        return outcome(unit, verdict=verdict, notes=("noted",))

    names = ["fine", "denied", "degraded", "bug", "failed"]
    units = [verify_unit(n) for n in names] + [SweepUnit(repository="aws", now=made.NOW)]
    found = performed(act, units, monkeypatch)
    assert [o.collection for o in found] == [*names, "*"]
    assert [o.verdict for o in found] == ["ok", "failed", "degraded", "failed", "failed", "ok"]
    assert found[1].error is not None
    assert found[1].error.code == "repository-denied"
    assert found[1].backup_id == units[1].key.backup_id  # type: ignore[union-attr]
    assert found[3].error is not None
    assert "ZeroDivisionError" in found[3].error.message
    assert found[4].notes == ("noted",)


@pytest.mark.parametrize(
    ("unit", "error", "attempts"),
    [
        (verify_unit("movies"), NodeUnreachable("away"), 3),
        (verify_unit("movies"), RepositoryDenied("no"), 1),
        (capture_unit("movies"), NodeUnreachable("away"), 1),
    ],
    ids=["transient", "permanent", "capture"],
)
def test_only_what_may_help_is_tried_again(
    unit: Unit, error: DRError, attempts: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = []

    def act(unit: Unit) -> Outcome:
        tried.append(unit)
        raise error

    (found,) = performed(act, [unit], monkeypatch)
    assert found.verdict == "failed"
    assert len(tried) == attempts


def test_a_unit_that_recovers_is_ok(monkeypatch: pytest.MonkeyPatch) -> None:
    tried = []

    def act(unit: Unit) -> Outcome:
        tried.append(unit)
        if len(tried) == 1:
            raise NodeUnreachable("away")
        return outcome(unit)

    (found,) = performed(act, [verify_unit("movies")], monkeypatch)
    assert (found.verdict, len(tried)) == ("ok", 2)


def test_a_unit_that_does_not_end_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    release = threading.Event()

    def act(unit: Unit) -> Outcome:
        if unit.collection == "stuck":
            threading.Timer(3, release.set).start()
            assert release.wait(20)
        return outcome(unit)

    units = [verify_unit("stuck"), verify_unit("fine")]
    stuck, fine = performed(act, units, monkeypatch, deadline=timedelta(seconds=1))
    assert fine.verdict == "ok"
    assert stuck.verdict == "failed"
    assert stuck.error is not None
    assert "deadline" in stuck.error.message


def test_captures_of_one_cluster_take_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    lock, at_once, most = threading.Lock(), 0, 0

    def act(unit: Unit) -> Outcome:
        nonlocal at_once, most
        with lock:
            at_once += 1
            most = max(most, at_once)
        time.sleep(0.3)
        with lock:
            at_once -= 1
        return outcome(unit)

    found = performed(act, [capture_unit(n) for n in "abc"], monkeypatch)
    assert [o.verdict for o in found] == ["ok"] * 3
    assert most == 1
