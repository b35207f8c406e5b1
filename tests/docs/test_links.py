"""Every link inside the pages leads to a file and an anchor that are there, in the site as here."""

from __future__ import annotations

import posixpath
import re
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from pymdownx.slugs import slugify

from deployments.tools.docs_site import LINK, place_of, repository_path, rewritten, target_of

ROOT = Path(__file__).parents[2]
PAGES = [
    path.relative_to(ROOT).as_posix()
    for pattern in (
        "README.md",
        "CONTRIBUTING.md",
        "CHANGELOG.md",
        "docs/*.md",
        "deployments/**/*.md",
    )
    for path in sorted(ROOT.glob(pattern))
]
FENCED = re.compile(r"^( *)```.*?^\1```$", re.MULTILINE | re.DOTALL)
HEADING = re.compile(r"^#{1,6} +(.+?) *#*$", re.MULTILINE)
ANY_LINK = re.compile(r"\]\(([^)\s]+)\)")


@cache
def prose(page: str) -> str:
    """The page without its blocks of code."""
    return FENCED.sub("", (ROOT / page).read_text())


def slug(heading: str) -> str:
    """The anchor of a heading as the hosting sites make it."""
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "").replace("*", "")
    return re.sub(r"[^\w\- ]", "", text.strip().lower()).replace(" ", "-")


@cache
def anchors(page: str) -> frozenset[str]:
    seen: Counter[str] = Counter()
    found = set(re.findall(r'\b(?:id|name)="([^"]+)"', prose(page)))
    for heading in HEADING.findall(prose(page)):
        name = slug(heading)
        found.add(f"{name}-{seen[name]}" if seen[name] else name)
        seen[name] += 1
    return frozenset(found)


def internal(page: str) -> Iterator[tuple[str, str]]:
    """Target file and anchor of every link that stays in the repository."""
    for link in ANY_LINK.findall(prose(page)):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        yield (target_of(page, path) if path else page), anchor


def test_there_are_links_to_check() -> None:
    every = [one for page in PAGES for one in internal(page)]
    assert len(PAGES) >= 16
    assert len(every) >= 100
    assert len([anchor for _, anchor in every if anchor]) >= 40


@pytest.mark.parametrize("page", PAGES)
def test_every_link_leads_somewhere(page: str) -> None:
    for target, anchor in internal(page):
        assert (ROOT / target).is_file(), f"{target} is not there"
        assert not target.startswith(".."), target
        if anchor:
            assert target.endswith(".md"), f"{target} has no anchors"
            assert anchor in anchors(target), f"{target} has no #{anchor}"


@pytest.mark.parametrize("page", PAGES)
def test_the_site_has_the_same_anchors(page: str) -> None:
    """Duplicates get `_1` there and `-1` here: nothing may link to one."""
    make = slugify(case="lower")
    for heading in HEADING.findall(prose(page)):
        text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "").replace("*", "")
        assert make(text, "-") == slug(heading)


def test_nothing_links_to_the_second_of_two_equal_headings() -> None:
    for page in PAGES:
        for target, anchor in internal(page):
            headings = Counter(map(slug, HEADING.findall(prose(target)))) if anchor else {}
            assert headings.get(anchor, 1) == 1, f"{page}: {target}#{anchor} is one of several"


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_to_the_same_files_in_the_site(page: str) -> None:
    before = [target for target, _ in internal(page)]
    there = rewritten(prose(page), page)
    start = posixpath.dirname(place_of(page))
    after = []
    for link in ANY_LINK.findall(there):
        if not re.match(r"[a-z]+:", link):
            path = link.partition("#")[0]
            place = posixpath.normpath(posixpath.join(start, path)) if path else place_of(page)
            after.append(repository_path(place))
    assert after == before
    assert not re.search(r"\]\((\.\./)*docs/", there)
    assert LINK.search(prose(page)) is None or after


def navigated(entry: Any) -> Iterator[str]:
    if isinstance(entry, str):
        yield entry
    for inner in (
        entry.values() if isinstance(entry, dict) else entry if isinstance(entry, list) else ()
    ):
        yield from navigated(inner)


def test_the_site_lists_every_page() -> None:
    text = re.sub(r"!!python\S+ ", "", (ROOT / "mkdocs.yml").read_text())
    listed = [repository_path(place) for place in navigated(yaml.safe_load(text)["nav"])]
    assert sorted(listed) == sorted(PAGES)
