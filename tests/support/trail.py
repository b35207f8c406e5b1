"""Somebody at 3 a.m. who runs what is printed, exactly, and does by hand what is said to be."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from qdrant_dr.hints import DECIDE, Step, step_of

MOST = 3
"""So many commands lead out of every bad state."""


@dataclass
class Trail:
    """What was run since the first look; `person` is the step at which it came to one."""

    commands: list[str] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    person: Step | None = None
    green: bool = False


def printed(said: Any) -> list[str]:
    """The next steps that people see: of the table, then of each error, worst first."""
    steps = []
    lines = said.out.splitlines()
    if lines and lines[0].endswith("  NEXT"):
        at = lines[0].rindex("NEXT")
        wrong = [line for line in lines[1:] if "  excluded  " not in line]
        steps += [line[at:] for line in wrong if line[at:] not in ("", "-")]
    marker = "HINT: "
    return steps + [
        line.removeprefix(marker) for line in said.err.splitlines() if line.startswith(marker)
    ]


def follow(
    run: Callable[..., Any],
    *first: str,
    by_hand: Callable[[], object] | None = None,
    fill: dict[str, str] | None = None,
    green: Sequence[str] = ("status",),
) -> Trail:
    """Run `first`, then what is printed, until `green` is: at most so often.

    `by_hand` is done where a step says so, and then its first command is run; without it the trail
    ends at the person. `fill` are the words that a person puts in place of upper-case ones.
    """
    trail = Trail()
    said = run(*first)
    while True:
        if run(*green).code == 0:
            trail.green = True
            return trail
        steps = printed(said) or printed(run(*green))
        assert steps, f"nothing is next after {trail.commands or first}: {said.out}{said.err}"
        trail.said.append(steps[0])
        step = step_of(steps[0])
        commands = step.commands
        if step.kind != "run":
            if by_hand is None:
                trail.person = step
                return trail
            by_hand, do = None, by_hand
            do()
            commands = commands[:1]
            if not commands:
                said = run(*first)
                continue
        assert commands[0] not in trail.commands, f"a circle: {trail.said}"
        assert len(trail.commands) < MOST, f"too long a way: {trail.said}"
        trail.commands.append(commands[0])
        for command in commands:
            said = _run(run, command, fill or {})


def _run(run: Callable[..., Any], command: str, fill: dict[str, str]) -> Any:
    words = [fill.get(word, word) for word in shlex.split(command)]
    assert words[0] == "qdrant-dr", command
    return run(*words[1:])


def decides(trail: Trail) -> bool:
    """Whether it ended at a choice, and named as one."""
    return trail.person is not None and trail.said[-1].startswith(DECIDE)
