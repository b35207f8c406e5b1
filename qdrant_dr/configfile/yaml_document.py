"""Read YAML strictly, with the line of every key: what looks like text stays text."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml

from qdrant_dr.configfile.yamlwords import explained

KeyPath = tuple[str | int, ...]

LARGEST = 2**20
"""The largest configuration in characters: thousands of collections fit."""
VALUES = 50_000
"""The limit for values after expanding aliases: ten lines of YAML can mean billions."""
DEEPEST = 32
"""The limit for nested sections; there are five."""
_DIGITS = 1000
_GLUED = re.compile(r"([\w.-]+):(?=\S)")


@dataclass(frozen=True)
class Problem:
    """One error and its place: `line` and `column` count from 1. `column` None: the column of the
    path's key."""

    line: int
    path: KeyPath
    message: str
    column: int | None = None

    def __str__(self) -> str:
        return f"{dotted(self.path)}: {self.message}" if self.path else self.message


@dataclass
class YamlDocument:
    """A document as plain values; `lines` and `columns` have the place of every key and list entry.
    `texts` keeps the written form where YAML read a number: an id such as `10203040` is text.

    """

    data: Any
    lines: dict[KeyPath, int] = field(default_factory=dict)
    columns: dict[KeyPath, int] = field(default_factory=dict)
    texts: dict[KeyPath, str] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    values: int = 0
    braces: dict[KeyPath, tuple[int, int]] = field(default_factory=dict)
    """Line, from 1, and the column after the `{` of every mapping in braces."""

    def line(self, path: KeyPath) -> int:
        """Return the line of a key, or of its nearest existing parent."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 1)

    def column(self, path: KeyPath) -> int:
        """Return the column of the key that `line` finds."""
        while path and path not in self.columns:
            path = path[:-1]
        return self.columns.get(path, 1)

    def scalars(self) -> Iterator[tuple[KeyPath, Any]]:
        """Yield every leaf with its path."""
        yield from _leaves(self.data, ())


def dotted(path: KeyPath) -> str:
    """Write a path as `repositories[0].url`."""
    text = "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in path)
    return text.removeprefix(".")


class _Core(yaml.SafeLoader):
    """YAML 1.2's core types: `yes`, `1:30` and `2026-11-22` are text, as people mean them."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 - the name belongs to yaml


_Core.add_implicit_resolver("null", re.compile(r"^(~|null|)$"), ["~", "n", ""])
_Core.add_implicit_resolver("bool", re.compile(r"^(true|false)$"), list("tf"))
_Core.add_implicit_resolver("int", re.compile(r"^[-+]?\d+$"), list("-+0123456789"))
_Core.add_implicit_resolver(
    "float", re.compile(r"^[-+]?(\d+\.\d*|\.\d+)([eE][-+]?\d+)?$"), list("-+.0123456789")
)


def read(text: str) -> YamlDocument:
    """Parse one YAML mapping. Its errors are in `problems`."""
    source = YamlDocument(None)
    if len(text) > LARGEST:
        source.problems.append(
            Problem(
                1, (), f"the file has {len(text):,} characters, at most {LARGEST:,} are allowed"
            )
        )
        return source
    try:
        # `_Core` makes only nodes, never objects
        root = yaml.compose(text, Loader=_Core)
    except yaml.MarkedYAMLError as e:
        (line, column), said = explained(e, text)
        source.problems.append(Problem(line + 1, (), f"not YAML: {said}", column + 1))
    except RecursionError:
        source.problems.append(Problem(1, (), "the file is nested too deeply"))
    except yaml.reader.ReaderError as e:
        before = text[: e.position]
        said = f"remove the invisible character U+{e.character:04X} here"
        column = len(before) - before.rfind("\n")
        source.problems.append(Problem(before.count("\n") + 1, (), f"not YAML: {said}", column))
    else:
        if root is None:
            source.problems.append(Problem(1, (), "the file is empty: `qdrant-dr init` writes one"))
        elif not isinstance(root, yaml.MappingNode):
            said = "the file is not a mapping of keys: it begins with `format: 1`"
            line, column = root.start_mark.line + 1, root.start_mark.column + 1
            source.problems.append(Problem(line, (), said, column))
        else:
            try:
                source.data = _build(root, (), source, ())
            except _TooMuchError as e:
                source.data, source.problems = None, [e.problem]
    return source


class _TooMuchError(Exception):
    def __init__(self, problem: Problem) -> None:
        super().__init__(problem)
        self.problem = problem


def _build(
    node: yaml.Node, path: KeyPath, source: YamlDocument, above: tuple[yaml.Node, ...]
) -> Any:
    line = node.start_mark.line + 1
    source.values += 1
    if source.values > VALUES:
        said = f"more than {VALUES:,} values with aliases expanded, which is surely a mistake"
        raise _TooMuchError(Problem(line, path[:2], said))
    if len(above) > DEEPEST:
        raise _TooMuchError(Problem(line, path[:2], "is nested too deeply"))
    source.lines.setdefault(path, line)
    source.columns.setdefault(path, node.start_mark.column + 1)
    if node in above:
        source.problems.append(Problem(line, path, "an alias contains itself"))
        return None
    if isinstance(node, yaml.MappingNode):
        return _mapping(node, path, source, (*above, node))
    if isinstance(node, yaml.SequenceNode):
        return [
            _build(child, (*path, i), source, (*above, node)) for i, child in enumerate(node.value)
        ]
    return _scalar(node, path, source)


def _mapping(
    node: yaml.MappingNode, path: KeyPath, source: YamlDocument, above: tuple[yaml.Node, ...]
) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if node.flow_style:
        source.braces[path] = (node.start_mark.line + 1, node.start_mark.column + 1)
    for key, value in node.value:
        line, column = key.start_mark.line + 1, key.start_mark.column + 1
        if not isinstance(key, yaml.ScalarNode):
            source.problems.append(Problem(line, path, "a key must be a word", column))
            continue
        if key.style is None and (glued := _GLUED.match(key.value)):  # in braces it is a key alone
            said = "a space is missing after the colon: write `key: value`"
            at = column + glued.end()
            source.problems.append(Problem(line, (*path, glued[1]), said, at))
            continue
        here = (*path, key.value)
        if key.value in found:
            said = f"appears twice (first on line {source.lines[here]}): remove one"
            source.problems.append(Problem(line, here, said, column))
            continue
        source.lines[here], source.columns[here] = line, column
        found[key.value] = _build(value, here, source, above)
    return found


def _scalar(node: yaml.Node, path: KeyPath, source: YamlDocument) -> Any:
    text: str = node.value
    match node.tag:
        case "null":
            return None
        case "bool":
            return text == "true"
        case "int" if len(text) <= _DIGITS:
            source.texts[path] = text
            return int(text)
        case "int":  # Python refuses to parse thousands of digits
            return text
        case "float":
            source.texts[path] = text
            return float(text)
        case "tag:yaml.org,2002:str":
            return text
    line, column = node.start_mark.line + 1, node.start_mark.column + 1
    said = "tags are not used here; quote a text with `!`"
    source.problems.append(Problem(line, path, said, column))
    return None


def _leaves(value: Any, path: KeyPath) -> Iterator[tuple[KeyPath, Any]]:
    if isinstance(value, dict):
        for key, below in value.items():
            yield from _leaves(below, (*path, key))
    elif isinstance(value, list):
        for i, below in enumerate(value):
            yield from _leaves(below, (*path, i))
    else:
        yield path, value
