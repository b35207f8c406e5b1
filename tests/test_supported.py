"""What `check` says of a server's version."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from qdrant_dr.proof.engine import engine_covers
from qdrant_dr.supported import OLDEST, READ, TRIED, TRIED_ENGINE, minor_of, support_of

PAGE = (Path(__file__).parents[1] / "docs" / "qdrant.md").read_text()


@pytest.mark.parametrize(
    ("version", "said", "asks"),
    [
        ("1.18.3", "1.18.3 was tried with engine 0.9", False),
        ("v1.18.3", "was tried", False),
        ("1.18.9", "of its minor version, 1.18.3 was tried", False),
        ("1.19.0", "was not run", False),
        ("1.17.1", "was not run", False),
        ("1.15.5", "cannot read its storage", True),
        ("1.21.0", "newer than all", True),
        ("2.0.0", "newer than all", True),
        ("nightly", "is no release", True),
    ],
)
def test_what_is_known_of_a_version(version: str, said: str, asks: bool) -> None:
    known = support_of(version)
    assert said in known.words
    assert (known.hint is not None) == asks


def test_every_tried_version_can_be_proven_with_the_engine_it_was_tried_with() -> None:
    for version in TRIED:
        assert engine_covers(version, f"edge {TRIED_ENGINE}.0")
        minor = minor_of(version)
        assert minor is not None
        assert OLDEST <= minor <= READ


def test_the_page_names_the_same_versions() -> None:
    rows = re.findall(r"^\| `?(1\.\d+(?:\.\d+)?)`? ", PAGE, re.MULTILINE)
    assert set(TRIED) <= set(rows)
    assert f"engine {TRIED_ENGINE}" in PAGE
