"""What a restore is asked for, what it finds on the target, and the route that follows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self
from urllib.parse import urlsplit

from pydantic import model_validator

from qdrant_dr.cluster import CollectionFacts
from qdrant_dr.cluster.target import TargetFacts
from qdrant_dr.errors import UsageError
from qdrant_dr.jobs.restore.journal import Journal
from qdrant_dr.jobs.run.units import RestoreOptions, Route
from qdrant_dr.records import BackupKey, Manifest
from qdrant_dr.secrets import SecretRef


class RestoreRequest(RestoreOptions):
    """What a run is asked for: backups by name, or `every` collection of a backup run's inventory
    (`of_run`, else the newest). `dry_run` plans and changes nothing."""

    backups: tuple[str, ...] = ()
    every: bool = False
    of_run: str | None = None
    to: str
    to_key: SecretRef | None = None
    name: str | None = None
    repository: str | None = None
    dry_run: bool = True

    @model_validator(mode="after")
    def _without_secrets(self) -> Self:
        """What is asked for goes into records and plans. Raise UsageError."""
        parts = urlsplit(self.to)
        if "@" in parts.netloc or parts.query or parts.fragment:
            raise UsageError(
                "the target's address must carry no user, query or fragment",
                "give its key by reference: `--to-key REF`.",
            )
        if "://" in (self.server_file or "") and urlsplit(self.server_file).scheme != "file":
            raise UsageError(
                "`--server-file` is `file:///...` or a name in the target's folder",
                "a URL that the target is to fetch is signed by `--way url` and kept nowhere.",
            )
        return self


@dataclass(frozen=True, slots=True)
class OnTarget:
    """The target as it was found. `existing` is a collection of the wanted name that answers,
    `unfinished` the journal of a restore into that name which did not end, `unsigned` why a
    repository cannot sign a URL of this backup, by its name, and `spool_free` the bytes that are
    free where this machine keeps its spool."""

    facts: TargetFacts
    existing: CollectionFacts | None = None
    unfinished: Journal | None = None
    unsigned: Mapping[str, str] = field(default_factory=dict)
    spool_free: int | None = None


def route_of(manifest: Manifest, target: TargetFacts, *, salvage: bool) -> Route:
    """Choose the route: a whole archive goes whole into a server without a cluster, everything else
    goes shard by shard."""
    if salvage:
        return "salvage"
    whole = [p.kind for p in manifest.parts] == ["collection"]
    return "whole" if whole and not target.clustered and not manifest.custom_sharding else "shards"


def continues(journal: Journal, key: BackupKey, route: Route) -> bool:
    """Say whether a journal is of a restore of this backup, cut into the same pieces, that can be
    continued."""
    return journal.backup == str(key) and journal.route == route and not journal.differs


def goes_on(journal: Journal, key: BackupKey, route: Route) -> bool:
    """Say whether the journal's restore is unfinished. A complete collection may already be in use:
    for a restore of another backup, or if it differs, it is like any other."""
    return not journal.whole or continues(journal, key, route)
