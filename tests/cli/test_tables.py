"""Every table of every command fits the terminal, loses nothing that matters, and is a line per row
in a pipe."""

from __future__ import annotations

import importlib
import pkgutil
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len

import qdrant_dr.cli
from qdrant_dr.cli import diff
from qdrant_dr.cli.session import Column
from qdrant_dr.cli.tables import listed, table, terminal_width, wrap
from qdrant_dr.cli.words import moment, yes
from qdrant_dr.quantities import format_share, format_size, how_long

WIDTHS = (60, 80, 120, 200)


def every_table() -> dict[str, tuple[Column, ...]]:
    found = {}
    for module in pkgutil.iter_modules(qdrant_dr.cli.__path__):
        if module.name == "__main__":
            continue
        for name, value in vars(importlib.import_module(f"qdrant_dr.cli.{module.name}")).items():
            if isinstance(value, tuple) and value and all(isinstance(c, Column) for c in value):
                found[f"{module.name}.{name}"] = value
    return found


TABLES = every_table()
NAMES = st.one_of(
    st.sampled_from(
        ["movies", "20261122T101530Z-7f3a9c", "電影資料庫", "e\u0301te\u0301", "🎬films"]
    ),
    st.text(st.characters(exclude_categories=("Cc", "Cs", "Zl", "Zp")), max_size=40),
    st.lists(st.sampled_from(["decide:", "is", "`domain:`", "位置"]), max_size=40).map(" ".join),
    st.integers(30, 255).map(lambda n: "n" * n),
)
MOMENTS = st.just(datetime(2026, 11, 22, 10, tzinfo=UTC))
VALUES: dict[Any, st.SearchStrategy[Any]] = {
    str: NAMES,
    moment: MOMENTS,
    yes: st.booleans(),
    how_long: st.floats(0, 1e9),
    format_share: st.floats(0, 1),
    format_size: st.integers(0, 2**50),
    diff.figure: st.integers(0, 10**9),
    diff.ids: st.lists(st.integers(0, 2**64 - 1), max_size=10),
}


def rows_of(columns: tuple[Column, ...]) -> st.SearchStrategy[list[dict[str, Any]]]:
    fields = {}
    for column in columns:
        values = VALUES.get(column.write, st.just("word"))
        figure = column.right and column.write is str
        fields[column.key] = st.none() | (st.integers(0, 10**12) if figure else values)
    return st.lists(st.fixed_dictionaries(fields), min_size=1, max_size=4)


def test_the_tables_were_found() -> None:
    assert {"listing.BACKUPS", "runs.COLUMNS", "show.COPIES", "status.COLLECTIONS"} <= set(TABLES)
    assert len(TABLES) >= 13


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", TABLES)
@settings(max_examples=20)
@given(data=st.data())
def test_no_line_is_wider_than_the_terminal_and_no_key_is_lost(
    name: str, width: int, data: st.DataObject
) -> None:
    columns = TABLES[name]
    rows = data.draw(rows_of(columns))
    text = table(rows, columns, width)
    assert text.endswith("\n")
    assert max(map(cell_len, text.split("\n"))) <= width
    gone = "no room for" in text
    for column in columns:
        if gone and column.spare:
            continue
        assert column.heading in text
        for row in rows:
            value = row[column.key]
            for word in ("-" if value is None else column.write(value)).split():
                if word.isascii() and len(word) <= width - 20:
                    assert word in text


@pytest.mark.parametrize("name", TABLES)
@settings(max_examples=20)
@given(data=st.data())
def test_in_a_pipe_each_row_is_one_line(name: str, data: st.DataObject) -> None:
    columns = TABLES[name]
    rows = data.draw(rows_of(columns))
    head, *lines = table(rows, columns).removesuffix("\n").split("\n")
    assert head.split() == " ".join(c.heading for c in columns).split()
    assert len(lines) == len(rows)


@pytest.mark.parametrize("name", TABLES)
def test_the_first_column_is_never_spared(name: str) -> None:
    assert not TABLES[name][0].spare
    spare = [c.spare for c in TABLES[name] if c.spare]
    assert len(set(spare)) == len(spare)


NAME, WHAT = Column("name", "NAME"), Column("what", "WHAT")
SIZE = Column("size", "SIZE", str, right=True, spare=1)
ROW = {"name": "movies", "size": 12345, "what": "one two three four five six"}


def test_a_table_without_rows_has_its_headings_on_every_terminal() -> None:
    columns = [Column("a", "FIRST"), Column("b", "SECOND", spare=1)]
    for width in (None, 200, 5):
        assert table([], columns, width).split() == ["FIRST", "SECOND"]


def test_what_is_spare_goes_first_and_is_named() -> None:
    told = table([ROW], [NAME, SIZE, WHAT], 24)
    assert told == (
        "NAME    WHAT\nmovies  one two three\n        four five six\n"
        "no room for SIZE:\n`--json` has everything\n"
    )


def test_a_table_that_would_be_longer_is_a_list() -> None:
    assert table([ROW], [NAME, SIZE, WHAT], 18) == (
        "NAME  movies\nSIZE  12345\nWHAT  one two\n      three four\n      five six\n"
    )


def test_wide_characters_keep_the_columns_in_line() -> None:
    rows = [{"name": "電影", "what": "x"}, {"name": "abc", "what": "y"}]
    assert table(rows, [NAME, WHAT]) == "NAME  WHAT\n電影  x\nabc   y\n"


@given(NAMES, st.integers(2, 80))
def test_wrapping_loses_no_character(text: str, width: int) -> None:
    parts = list(wrap(text, width))
    assert all(cell_len(part) <= width for part in parts)
    assert "".join(parts).replace(" ", "") == text.replace(" ", "")


@given(st.lists(st.tuples(st.sampled_from(["id", "location"]), NAMES), min_size=1))
def test_facts_fit(facts: list[tuple[str, str]]) -> None:
    assert max(map(cell_len, listed(facts, 60).split("\n"))) <= 60
    assert listed(facts).count("\n") == len(facts)


def test_the_width_is_that_of_the_terminal_and_a_pipe_has_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", "72")
    assert terminal_width() is None
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    assert terminal_width() == 72
