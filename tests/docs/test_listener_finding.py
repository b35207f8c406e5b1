"""The script that shows why archives without a log are no backups."""

from __future__ import annotations

import os

import pytest

from deployments.listener_finding import LISTENER, OURS, STORED, Sizes, Taken, main, table
from tests.support.documented import DOCS


def test_it_wants_to_be_told_that_all_may_be_lost(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("QDRANT_URL", "http://127.0.0.1:9")
    assert main([]) == 2
    assert "--disposable" in capsys.readouterr().err


def test_it_wants_a_server(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("QDRANT_URL", raising=False)
    monkeypatch.delenv("QDRANT_BIN", raising=False)
    assert main(["--disposable"]) == 2
    assert "QDRANT_BIN" in capsys.readouterr().err


def test_the_table_counts_only_what_was_taken_while_the_optimizer_worked() -> None:
    taken = [
        Taken(STORED, True, 12_000),
        Taken(STORED, True, 8_000),
        Taken(STORED, False, 12_000),
        Taken(LISTENER, False, 8_000),
        Taken(OURS, True, 8_000),
    ]
    rows = table(taken, Sizes()).splitlines()[2:]
    assert rows == [
        f"| {STORED} | 2 | 1 | 8000 to 12000, right is 8000 |",
        f"| {LISTENER} | 0 | 0 | -, right is 8000 |",
        f"| {OURS} | 1 | 0 | 8000, right is 8000 |",
    ]


def test_the_page_has_what_the_script_prints() -> None:
    """At least ten tries, every method, and our own capture exact in all of them."""
    text = (DOCS / "listener-nodes.md").read_text()
    head = table([], Sizes()).splitlines()[0]
    assert head in text
    rows = [line.split("|") for line in text[text.index(head) :].splitlines()[2:7]]
    assert [row[1].strip() for row in rows][-1] == OURS
    assert all(int(row[2]) >= 10 for row in rows)
    assert int(rows[-1][3]) == 0


@pytest.mark.qdrant
@pytest.mark.skipif("QDRANT_BIN" not in os.environ, reason="needs QDRANT_BIN")
def test_our_capture_is_exact_on_a_real_server(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("QDRANT_URL", raising=False)
    assert main(["--disposable", "--tries", "1", "--points", "6000"]) == 0
    said = capsys.readouterr()
    assert OURS in said.out
    assert f"{OURS}: 4000" in said.err
