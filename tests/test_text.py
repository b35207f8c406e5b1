"""No name steers a terminal, a page or a spreadsheet; what machines read keeps every character."""

from __future__ import annotations

import json
import re
import unicodedata
from types import SimpleNamespace
from typing import Any, cast

from hypothesis import given
from hypothesis import strategies as st

from qdrant_dr.cli.output import envelope
from qdrant_dr.cli.session import Column, Reply
from qdrant_dr.cli.tables import table
from qdrant_dr.report.frames.csv_table import _cell
from qdrant_dr.report.outputs.metrics import Gauge, _metric
from qdrant_dr.text import json_visible, lines, printable, visible

NASTY = (
    "\x1b[2J", "\x1b]0;title\x07", "\x9b31m", "a\rb", "a\x08b", "\x00", "\x7f",
    "\u202emoc.live", "\u2066x\u2069", "\u200e", "a\u2028b", "\ufeff", "\U000e0041",
)  # fmt: skip
FINE = (  # joined and spaced as their languages need
    "movies", "фильмы", "映画", "فیلم\u200cها",  # noqa: RUF001
    "👩\u200d🚀", "a b", "tab\tbed", "two\nlines",
)  # fmt: skip
names = st.text(alphabet=st.characters(exclude_categories=["Cs"])) | st.sampled_from(NASTY)


@given(names)
def test_a_terminal_gets_what_is_plainly_visible(name: str) -> None:
    assert printable(name).isprintable()
    assert lines(name).count("\n") == name.count("\n")
    assert all(c.isprintable() or c in "\n\t" for c in lines(name))


@given(names)
def test_a_page_gets_no_control_character(name: str) -> None:
    shown = visible(name)
    assert len(shown) == len(name)
    assert all(c in "\n\t" or unicodedata.category(c) not in ("Cc", "Zl", "Zp") for c in shown)
    assert not any(unicodedata.bidirectional(c) in _TURNS for c in shown)


_TURNS = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}


def test_each_of_the_known_ones_is_replaced_and_no_language_is() -> None:
    for name in NASTY:
        assert printable(name) != name
        assert visible(name) != name
    assert [visible(name) for name in FINE] == list(FINE)


@given(names, names)
def test_json_says_the_same_and_shows_nothing_hidden(one: str, other: str) -> None:
    document = json_visible(json.dumps({one: [other]}, ensure_ascii=False))
    assert json.loads(document) == {one: [other]}
    assert document.isprintable()
    body = envelope("x", Reply(rows=[{"name": one}]))
    assert json.loads(body)["rows"] == [{"name": one}]
    assert body.isprintable()


def test_a_table_of_nasty_names_has_a_line_for_each() -> None:
    shown = table([{"n": name} for name in NASTY], [Column("n", "NAME")])
    assert len(shown.splitlines()) == len(NASTY) + 1


@given(names)
def test_a_sample_of_prometheus_is_one_line_with_that_very_name(name: str) -> None:
    cluster = SimpleNamespace(name="shop")
    config = SimpleNamespace(cluster=cluster)
    about = cast("Any", SimpleNamespace(evidence=SimpleNamespace(config=config)))
    text = _metric(Gauge("x", "meaning", lambda _: [({"collection": name}, 1.0)]), about)
    *_, sample, last = text.split("\n")
    assert len(text.split("\n")) == 4
    assert last == ""
    found = re.fullmatch(
        r'qdrant_dr_x\{cluster="shop",collection="((?:[^"\\\n]|\\[\\"n])*)"\} 1', sample
    )
    assert found, sample
    back = re.sub(r"\\(.)", lambda m: {"n": "\n"}.get(m[1], m[1]), found[1])
    assert back == name, "two names must never become one"


@given(names)
def test_no_cell_is_a_formula(name: str) -> None:
    for formula in ("=1+1", "@x", "+1", "-1"):
        for before in ("", " ", "\t", "\x00", "\u200b", "\ufeff", "\u202e", "\xa0"):
            assert _cell(before + formula).startswith("'")
    assert _cell(name) in (name, f"'{name}")
