"""`watch` by hand: what stands, what is new and over; kept only if it is asked to."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.support.world import World, make_world

NOBODY = "http://127.0.0.1:1"


def kept(world: World) -> int:
    return len(list(world.folders["one"].glob("watches/**/*.json")))


def test_what_stands_and_what_is_new(qdr: Callable[..., Any], tmp_path: Path) -> None:
    world = make_world(tmp_path / "world", NOBODY)
    said = qdr("-c", world.reference, "watch")
    assert said.code == 1
    (line,) = [li for li in said.out.splitlines() if "cluster-unseen" in li]
    assert line.startswith("critical")
    assert "qdrant-dr check" in line
    assert "new: critical: cluster: the cluster could not be checked" in said.err
    assert kept(world) == 0
    assert "new: " in qdr("-c", world.reference, "watch", "--record").err
    assert kept(world) == 1
    again = qdr("-c", world.reference, "--json", "watch")
    assert "new: " not in again.err
    assert again.json["verdict"] == "failed"
    found = {(r["code"], r["scope"]): r for r in again.json["rows"]}
    assert found["cluster-unseen", "cluster"]["new"] is False
    assert found["nothing-protected", "cluster"]["since"].endswith("Z")


def test_with_an_unreadable_configuration_nothing_is_checked(
    qdr: Callable[..., Any], tmp_path: Path
) -> None:
    said = qdr("-c", tmp_path / "no.yaml", "watch")
    assert said.code == 2
    assert not said.out
