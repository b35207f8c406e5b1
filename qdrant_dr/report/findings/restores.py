"""Findings about real restores: lost points, unproven targets, self-approval. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from qdrant_dr.hints import DECIDE, command
from qdrant_dr.report.evidence.restores import Restore
from qdrant_dr.report.finding import Problem
from qdrant_dr.text import count


def restore_problems(restores: Sequence[Restore]) -> Iterator[Problem]:
    """Report what the last restore of each collection to each place lacked, and what later restores
    of single points did not make good."""
    standing: dict[tuple[str, str, str], list[Restore]] = {}
    for r in restores:
        there = standing.setdefault((r.outcome.collection, *place_of(r)), [])
        there[:] = [*(earlier for earlier in there if not _makes_good(r, earlier)), r]
    for r in (r for there in standing.values() for r in there):
        if (wrong := _wrong_with(r)) is not None:
            yield wrong


def _makes_good(later: Restore, earlier: Restore) -> bool:
    """Say whether what an earlier restore to the same place lacked is nobody's concern after this
    one. Single points say nothing of a whole collection, nor of points that they were not."""
    if later.outcome.unit != "restore-points":
        return True
    if earlier.outcome.unit != "restore-points":
        return False
    was, now = earlier.points, later.points
    if was is None or was.undo_id is None:  # it changed nothing
        return True
    if now is None:
        return False
    undone = later.verdict == "passed" and now.undoes == was.undo_id
    return undone or (now.selection, now.undoes) == (was.selection, was.undoes)


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
