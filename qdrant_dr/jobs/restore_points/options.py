"""Which points are to be restored, from where and to what."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit
from uuid import UUID

from pydantic import model_validator

from qdrant_dr.errors import UsageError
from qdrant_dr.jobs.restore_points.id_set import IdSet
from qdrant_dr.jobs.restore_points.point_states import check_only
from qdrant_dr.jobs.run.units import PointsOptions
from qdrant_dr.secrets import SecretRef

_LARGEST_ID, _DIGITS = 2**64 - 1, 20


class PointsRequest(PointsOptions):
    """What a run is asked for: points of one `backup`, or the `undo` of a run. `to` None: the
    first node of the cluster. `dry_run` plans and changes nothing."""

    backup: str | None = None
    undo: str | None = None
    to: str | None = None
    to_key: SecretRef | None = None
    repository: str | None = None
    dry_run: bool = True

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        """Raise UsageError for what does not go together."""
        check_only(self.only)
        parts = urlsplit(self.to or "")
        if "@" in parts.netloc or parts.query or parts.fragment:
            raise UsageError(
                "the target's address must carry no user, query or fragment",
                "give its key by reference: `--to-key REF`.",
            )
        if (self.backup is None) == (self.undo is None):
            raise UsageError("name one backup, or a run with `--undo`: one of them")
        chosen = self.missing or self.ids is not None or self.where is not None or self.every
        if self.undo is not None:
            if chosen or self.only is not None:
                raise UsageError("`--undo` takes back all that the run did: it takes no selection")
            return self
        if not chosen:
            raise UsageError(
                "`--points` needs to know which",
                "add --missing, --ids FILE or --filter JSON; --all for every point of the backup.",
            )
        if self.ids is not None and self.where is not None:
            raise UsageError("`--ids` and `--filter` both select points", "give one of them.")
        if self.missing and self.only is not None:
            raise UsageError(
                "`--only` writes a component of points that are there, `--missing` selects others",
                "leave one of them out.",
            )
        if self.overwrite_changed:
            raise UsageError("`--overwrite-changed` belongs to `--undo`")
        return self


def parsed_filter(text: str | None) -> dict[str, Any] | None:
    """Parse a filter of Qdrant's REST API. Raise UsageError."""
    if text is None:
        return None
    try:
        found = json.loads(text)
    except ValueError as e:
        raise UsageError(
            f"--filter is not JSON: {e}",
            "quote it for the shell: --filter '{\"must\": [...]}'.",
        ) from None
    if not isinstance(found, dict) or not found:
        raise UsageError(
            "--filter is a JSON object of Qdrant's filters, with must, should or must_not",
            "for every point of the backup say `--all`.",
        )
    return found


def ids_of(path: str) -> IdSet:
    """Read ids from a file: one a line, or the first ids of lines that are JSON objects with `id`.
    Raise UsageError that names the first line that is no id.
    """
    try:
        with Path(path).expanduser().open() as lines:
            found = IdSet.of(
                point_id(line, n, path) for n, line in enumerate(lines, 1) if line.strip()
            )
    except (OSError, UnicodeDecodeError) as e:
        raise UsageError(f"--ids {path} cannot be read: {e}") from None
    if not found:
        raise UsageError(f"--ids {path} has no id", "one a line: a number, or a UUID.")
    return found


def point_id(line: str, number: int, path: str) -> int | str:
    """Parse one line of a file of ids."""
    text = line.strip().rstrip(",")
    if text.startswith("{"):
        try:
            text = json.dumps(json.loads(text)["id"])
        except (ValueError, KeyError, TypeError):
            text = line
    text = text.strip('"')
    if text.isdecimal() and len(text) <= _DIGITS and int(text) <= _LARGEST_ID:
        return int(text)
    try:
        return str(UUID(text))
    except ValueError:
        raise UsageError(
            f"line {number} of {path} is no id of a point: {line.strip()[:60]!r}",
            "one a line: a number, or a UUID.",
        ) from None


def selection_words(options: PointsOptions) -> str:
    """Say in words which points are meant."""
    what = "every point"
    if options.ids is not None:
        what = f"the points named in {Path(options.ids).name}"
    elif options.where is not None:
        what = "the points that the filter finds"
    elif options.missing:
        return "every point that is missing"
    return what + " and that is missing" * options.missing
