"""The second count of ledgers and controls, from raw bytes: it agrees, or it is a gap."""

from __future__ import annotations

import json

import pytest

from qdrant_dr import layout
from qdrant_dr.api import open_config
from qdrant_dr.compliance import (
    Compliance,
    control_disagreements,
    judge,
    ledger_disagreements,
)
from qdrant_dr.records import LedgerEntry
from qdrant_dr.records.ledger import Cut
from qdrant_dr.report.evidence.recount_controls import heads
from tests.support.driving import do
from tests.support.records import NOW
from tests.support.replay import ReplaySource
from tests.support.report_ledgers import after_all, chain, signing_world
from tests.support.world import World


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    with ReplaySource(["basic"]) as source:
        made = signing_world(tmp_path_factory.mktemp("recount"), source.url)
        assert do(made, "backup").verdict == "ok"
    do(made, "drill", engine="edge")
    return made


def counted(world: World) -> Compliance:
    return judge(open_config(world.reference), after_all(world), 30)


def test_both_counts_agree_on_a_real_world(world: World) -> None:
    found = counted(world)
    met = {r["control"] for r in found.frames["controls"].to_dict("records") if r["state"] == "met"}
    assert {"CP-9", "CP-6(1)", "CP-9(2)", "A.8.14", "11.4"} <= met
    assert found.gaps == ()
    assert "worker@example.com" in found.ledgers().html
    assert "CP-9(2)" in found.controls().html
    assert "def heads" in found.code().html


def test_an_edited_entry_is_a_gap(world: World) -> None:
    file = world.folders["two"] / layout.ledger_entry(1)
    kept = file.read_bytes()
    entry = LedgerEntry.from_bytes(kept, where="")
    file.write_bytes(entry.model_copy(update={"job": "drill"}).to_bytes())
    try:
        gaps = counted(world).gaps
    finally:
        file.write_bytes(kept)
    assert ("two", "its ledger is not whole: run `qdrant-dr evidence verify`") in gaps


def test_controls_that_are_judged_differently_are_a_gap(world: World) -> None:
    frames = counted(world).frames
    said = control_disagreements({("NIST SP 800-53", "CP-9"): False}, frames)
    assert said == [("NIST SP 800-53 CP-9", "frames say met, counted not met")]
    assert control_disagreements({("NIST SP 800-53", "CP-9"): True}, frames) == []


def test_another_last_entry_is_a_gap(world: World) -> None:
    found = counted(world)
    raw = [(r.repository, r.path, r.data) for r in found.raw.records]
    last = max(path for name, path, _ in raw if name == "one" and path.startswith("evidence/"))
    less = [r for r in raw if (r[0], r[1]) != ("one", last)]
    gaps = ledger_disagreements(heads(less, after_all(world)), found.frames["ledger"])
    assert [where for where, _ in gaps] == ["one"]


def test_entries_are_chained_from_the_first_or_from_a_cut() -> None:
    entries = [e.entry for e in chain("aws", 4)]
    cut = entries[3].model_copy(update={"cut": Cut(first_kept=3, previous=entries[1].sha256)})

    def raw(kept: list[LedgerEntry]) -> list[tuple[str, str, bytes]]:
        return [("aws", layout.ledger_entry(e.number), e.to_bytes()) for e in kept]

    whole = heads(raw(entries), NOW)["aws"]
    assert (whole.number, whole.sha256, whole.chained) == (4, entries[3].sha256, True)
    assert not heads(raw(entries[:1] + entries[2:]), NOW)["aws"].chained
    assert not heads(raw(entries[2:]), NOW)["aws"].chained
    assert heads(raw([entries[2], cut]), NOW)["aws"].chained
    assert heads([("aws", "evidence/x.json", json.dumps({}).encode())], NOW) == {}
