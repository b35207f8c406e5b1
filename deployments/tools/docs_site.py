"""A hook of MkDocs: the site is the repository's pages, and whatever they point to.

`docs/` is the root of the site; what lies elsewhere keeps its path, and the README is the start. So
every link that works in the repository works in the site, and nothing is written twice.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[2]
LINK = re.compile(r"(\]\()([^)\s:#]+)((?:#[^)\s]*)?\))")
FENCE = re.compile(r"^(```\w+) .*$", re.MULTILINE)
"""The beginning of a block with words for our tests, which MkDocs does not take for a block."""
PAGES = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "deployments/**/README.md")
"""Pages outside of `docs/`."""


def place_of(path: str) -> str:
    """Return where a file of the repository lies in the site."""
    if path == "README.md":
        return "index.md"
    return path.removeprefix("docs/")


def repository_path(place: str) -> str:
    """Return which file of the repository lies at a place of the site."""
    if place == "index.md":
        return "README.md"
    return place if (ROOT / place).exists() else f"docs/{place}"


def target_of(page: str, link: str) -> str:
    """Return the file of the repository that a link in a page means; of a folder, its README."""
    path = posixpath.normpath(posixpath.join(posixpath.dirname(page), link))
    return f"{path}/README.md" if (ROOT / path).is_dir() else path


def rewritten(text: str, page: str) -> str:
    """Return the text of a page of the repository as the site needs it."""

    def there(match: re.Match[str]) -> str:
        target = place_of(target_of(page, match[2]))
        start = posixpath.dirname(place_of(page)) or "."
        return match[1] + posixpath.relpath(target, start) + match[3]

    return LINK.sub(there, FENCE.sub(r"\1", text))


def on_files(files: Files, config: Any, **_: Any) -> Files:
    """Add the pages outside of `docs/`, and the files that any page points to."""
    for pattern in PAGES:
        for file in sorted(ROOT.glob(pattern)):
            path = file.relative_to(ROOT).as_posix()
            files.append(File.generated(config, place_of(path), content=file.read_text()))
    for page in [f for f in files if f.is_documentation_page()]:
        path = repository_path(page.src_uri)
        for link in LINK.findall((ROOT / path).read_text()):
            target = target_of(path, link[1])
            known = files.get_file_from_path(place_of(target))
            if known is None and (ROOT / target).is_file():
                files.append(
                    File.generated(config, place_of(target), abs_src_path=str(ROOT / target))
                )
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Rewrite the links of a page."""
    return rewritten(markdown, repository_path(page.file.src_uri))
