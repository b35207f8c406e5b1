"""The next step, in one form that people and tests can follow.

A hint is one of three. It begins with a command, bare or as "run `...`": run it as it stands. It
begins with `decide: `: only a person can choose, and it says between what. It begins with
`by hand: `: no command does it, or not before a person has done something; a command in it says how
it goes on from there. An upper-case word in a command is filled in by whoever reads it.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

DECIDE, BY_HAND = "decide: ", "by hand: "
PROGRAMS = ("qdrant-dr", "curl")
REPORT_IT = "this is a defect of qdrant-dr: report it with the lines of -v."
NEXT = "; next: "
"""Between what happened and its hint, in a sentence that tells both."""

_PROGRAM = "|".join(PROGRAMS)
_BARE = re.compile(rf"(?:{_PROGRAM}) ")
_RUN = re.compile(rf"run `(?:{_PROGRAM}) ")
_QUOTED = re.compile(rf"`((?:{_PROGRAM}) [^`]+)`")


def command(verb: str, *words: str) -> str:
    """Build a command line that can be pasted, whatever the collection is called."""
    return shlex.join(["qdrant-dr", verb, *words])


@dataclass(frozen=True, slots=True)
class Step:
    """What a hint asks for. `commands` are to be run in order, or what a person goes on with."""

    kind: Literal["run", "decide", "by hand"]
    commands: tuple[str, ...]


def step_of(hint: str) -> Step:
    """Read a hint: a command where it begins with one, else a person's."""
    if _BARE.match(hint):
        return Step("run", tuple(hint.split("; ")))
    commands = tuple(_QUOTED.findall(hint))
    if _RUN.match(hint):
        return Step("run", commands[:1])
    return Step("decide" if hint.startswith(DECIDE) else "by hand", commands)


def marked(hint: str) -> str:
    """Return the hint, marked as a step for a person if it begins with no command."""
    if hint.startswith((DECIDE, BY_HAND)) or step_of(hint).kind == "run":
        return hint
    return BY_HAND + hint


def filled(
    hint: str,
    *,
    repository: str | None = None,
    collection: str | None = None,
    backup: str | None = None,
) -> str:
    """Return the hint with the known names filled in where its commands leave them open."""
    known = {"REPOSITORY": repository, "COLLECTION": collection, "BACKUP": backup}
    words = {place: shlex.quote(name) for place, name in known.items() if name and name != "*"}

    def fill(command: re.Match[str]) -> str:
        return " ".join(words.get(word, word) for word in command[0][:-1].split(" ")) + "`"

    return _QUOTED.sub(fill, hint)


def told_with(what: str, hint: str) -> str:
    """Join what happened and the next step into one sentence."""
    return what + NEXT + (f"run `{hint}`." if _BARE.match(hint) else hint)


def split_hint(sentence: str) -> tuple[str, str | None]:
    """Split a sentence into what happened and its hint, if it has one."""
    what, _, hint = sentence.partition(NEXT)
    return what, hint or None


def helps(hints: Iterable[str]) -> tuple[str, ...]:
    """Return the help of every command of ours that these hints name, each once."""
    found: dict[str, None] = {}
    for command in (c for hint in hints for c in step_of(hint).commands):
        words = command.split(" ")
        if words[0] != "qdrant-dr" or words[1].startswith("-"):
            continue
        two = (
            words[1] in ("repository", "key", "signing", "evidence")
            and len(words) > 2
            and words[2].isalpha()
        )
        found[" ".join([*words[: 2 + two], "--help"])] = None
    return tuple(found)
