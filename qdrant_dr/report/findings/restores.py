"""Findings about real restores: lost points, unproven targets, self-approval. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from qdrant_dr.hints import DECIDE, command
from qdrant_dr.report.evidence.restores import Restore
from qdrant_dr.report.finding import Problem
from qdrant_dr.text import count


def restore_problems(restores: Sequence[Restore]) -> Iterator[Problem]:
    """Report what the last restore of each collection to each place lacked."""
    last: dict[tuple[str, str, str], Restore] = {}
    for r in restores:
        last[r.outcome.collection, *place_of(r)] = r
    for r in last.values():
        if (wrong := _wrong_with(r)) is not None:
            yield wrong


def place_of(r: Restore) -> tuple[str, str]:
    """Return the URL and name of the target; if the restore failed early, as requested."""
    if r.about is not None:
        return r.about.target.rstrip("/"), r.about.name
    given = r.run.start.parameters
    return str(given.get("to") or "").rstrip("/"), str(given.get("name") or r.outcome.collection)


def approval_problems(restores: Sequence[Restore]) -> Iterator[Problem]:
    """Report people who approved their own restore into a real server."""
    for r in restores:
        if r.same_person and r.about and r.about.target_kind == "server":
            yield Problem(
                "warning",
                "self-approved",
                f"restore {r.restore_id}",
                f"approved by {r.approver}, who requested it",
                r.outcome.started_at,
                f"{r.about.name} on {r.about.target}",
                _look(r),
            )


def _wrong_with(r: Restore) -> Problem | None:
    d, error = r.detail, r.outcome.error
    if r.verdict not in ("failed", "partial"):
        return None
    target, name = place_of(r)
    where = f"{name} on {target}" if target else r.outcome.collection
    if r.verdict == "failed":
        why = f"{error.code}: {error.message}" if error else "not equal"
        return Problem(
            "critical", "restore-failed", f"restore {r.restore_id}",
            f"the last restore of {where} failed: {why}",
            r.outcome.started_at, "restoring this collection", _again(r),
        )  # fmt: skip
    if (points := r.points) is not None:
        return Problem(
            "warning", "restore-partial", f"restore {r.restore_id}",
            f"restored points of {where} in run {r.run.start.run_id}: {points.came_to}",
            r.outcome.started_at, count(points.moved + points.changed_since, "point"),
            _look(r),
        )  # fmt: skip
    salvaged = d is not None and d.route == "salvage"
    lost = f"{count(r.lost, 'point')} lost" if r.lost else "it was not proven equal"
    return Problem(
        "warning" if salvaged else "critical",
        "restore-partial",
        f"restore {r.restore_id}",
        f"{'salvaged' if salvaged else 'restored'} {where}: {lost}",
        r.outcome.started_at,
        f"{r.lost} of {count(d.points_expected, 'point')}"
        if d and d.points_expected and r.lost
        else where,
        _look(r),
    )


def _key(r: Restore) -> str:
    return f"{r.outcome.collection}@{r.outcome.backup_id or 'latest-proven'}"


def _look(r: Restore) -> str:
    """Return the next step after an incomplete restore."""
    show = command("show", _key(r), "--proofs")
    return f"{DECIDE}is that good enough? `{show}` shows what the backup holds."


def _again(r: Restore) -> str:
    """Return a command that only prints the plan: pasting it restores nothing."""
    if (points := r.points) is not None and points.undo_id is not None:
        back = command("restore", "--undo", points.undo_id)
        return f"{DECIDE}shall they be as before? `{back}` prints the plan."
    if r.detail is None:
        return f"{DECIDE}is the restore still wanted? See `{command('restore', '--help')}`."
    again = command("restore", _key(r), "--to", r.detail.target, "--as", r.detail.name)
    return f"{DECIDE}is the restore still wanted? `{again}` prints the plan."
