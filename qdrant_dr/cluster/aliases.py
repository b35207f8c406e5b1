"""Aliases of a restored collection: which are set, moved from another, or left unchanged."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from qdrant_dr.cluster.answers import parse_text, understood
from qdrant_dr.cluster.confirmed_changes import change
from qdrant_dr.cluster.node import Node
from qdrant_dr.errors import PlanRefused, RecoverFailed
from qdrant_dr.records.details import AliasMode


@dataclass(frozen=True, slots=True, kw_only=True)
class AliasPlan:
    """The plan for the aliases of `collection`.

    `set`: aliases that are free. `move`: alias and the collection it is taken from. `left`: alias
    and why nothing is done. `there`: all aliases on which the decision is based.
    """

    collection: str
    set: tuple[str, ...]
    move: tuple[tuple[str, str], ...]
    left: tuple[tuple[str, str], ...]
    there: tuple[tuple[str, str], ...]


def plan_aliases(
    wanted: Sequence[str],
    there: Mapping[str, str],
    name: str,
    mode: AliasMode,
    collections: Collection[str] = (),
) -> AliasPlan:
    """Decide for each wanted alias of collection `name`. Pure.

    `there` maps the target's aliases to its `collections`. `keep` sets none, `create` sets those
    that are free, `move` also takes those of another collection. An alias that equals the name of a
    collection can never be set.
    """
    free: list[str] = []
    move: list[tuple[str, str]] = []
    left: list[tuple[str, str]] = []
    names = {*collections, *there.values(), name}
    for alias in sorted(set(wanted)):
        holder = there.get(alias)
        if holder == name:
            left.append((alias, "points there already"))
        elif alias in names:
            left.append((alias, "is the name of a collection"))
        elif mode == "keep":
            left.append((alias, f"stays with {holder!r}" if holder else "not requested"))
        elif holder is None:
            free.append(alias)
        elif mode == "move":
            move.append((alias, holder))
        else:
            left.append((alias, f"belongs to {holder!r}; it is moved only with `move`"))
    return AliasPlan(
        collection=name, set=tuple(free), move=tuple(move), left=tuple(left),
        there=tuple(sorted(there.items())),
    )  # fmt: skip


@understood("list the aliases")
def aliases_of(node: Node) -> dict[str, str]:
    """Return every alias of a node, and its collection."""
    found = node.ask("GET", "/aliases", "list the aliases")["aliases"]
    return {parse_text(a["alias_name"]): parse_text(a["collection_name"]) for a in found}


def set_aliases(node: Node, plan: AliasPlan) -> None:
    """Carry out the plan in one atomic call, and read the result back.

    Raise PlanRefused if one of these aliases has moved since the plan: nothing is taken from
    whoever set it meanwhile. Raise RecoverFailed if the server confirms but does not set them, and
    RecoverUnanswered if it does not answer: they may be set later."""
    concerned = {*plan.set, *(alias for alias, _ in plan.move)}
    if not concerned:
        return
    seen, now = dict(plan.there), aliases_of(node)
    if changed := sorted(a for a in concerned if seen.get(a) != now.get(a)):
        raise PlanRefused(
            f"the aliases {changed} of {node.url} were changed since the plan was made",
            "run the same command again to make a new plan.",
        )
    actions: list[dict[str, dict[str, str]]] = [
        {"delete_alias": {"alias_name": alias}} for alias, _ in plan.move
    ]
    actions += [
        {"create_alias": {"collection_name": plan.collection, "alias_name": alias}}
        for alias in sorted(concerned)
    ]

    def done() -> bool:
        now = aliases_of(node)
        return all(now.get(a) == plan.collection for a in concerned)

    change(
        node, "POST", "/collections/aliases", f"set the aliases of {plan.collection!r}",
        done=done, json={"actions": actions},
    )  # fmt: skip
    now = aliases_of(node)
    if wrong := sorted(a for a in concerned if now.get(a) != plan.collection):
        raise RecoverFailed(
            f"{node.url} confirmed the aliases {wrong} of {plan.collection!r} but did not set them",
            "set them by hand: POST /collections/aliases.",
        )
