"""How far a long unit is: a line now and then where there is no terminal."""

from __future__ import annotations

from typing import Any, cast

import pytest

from qdrant_dr.cli import progress
from qdrant_dr.cli.session import Session
from qdrant_dr.jobs.run.progress import watched, watcher
from qdrant_dr.records import Outcome


class _Said:
    """A session that keeps what is said."""

    quiet = False
    log = "text"

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, line: str) -> None:
        self.lines.append(line)


class _Unit:
    unit, label = "verify", "movies"


@pytest.mark.parametrize(("every", "lines"), [(0.0, 3), (3600.0, 0)])
def test_a_long_unit_says_how_far_it_is(
    every: float, lines: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "LINE_SECONDS", every)
    said, unit = _Said(), cast("Any", _Unit())
    with progress.Progress(cast("Session", said)) as shown:
        shown(unit, None)
        assert list(watched([b"x" * 100] * 2, 400)) == [b"x" * 100] * 2
        tell = watcher.get()
        assert tell
        tell(20, 20, "points")
        watcher.set(None)
    assert said.lines[0] == "verify movies"
    assert len(said.lines) == 1 + lines
    if lines:
        assert said.lines[1] == "verify movies: 100 B of 400 B"
        assert said.lines[2].startswith("verify movies: 200 B of 400 B, ")
        assert said.lines[2].endswith(" left")
        assert said.lines[3] == "verify movies: 20 points"


def test_what_is_over_is_not_watched_any_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "_result", lambda _: "ok")
    said, unit = _Said(), cast("Any", _Unit())
    with progress.Progress(cast("Session", said)) as shown:
        shown(unit, None)
        shown(unit, cast("Outcome", object()))
    assert watcher.get() is None
    assert said.lines == ["verify movies", "verify movies: ok"]
