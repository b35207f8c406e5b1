"""What rules of a bucket do to objects by and by: move them into an archive, or delete them.

S3 tells whoever may ask. GCS reads every class at once, and Azure's rules are told to no client of
its storage.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from qdrant_dr.errors import ObjectMissing, RepositoryDenied, RepositoryRefuses
from qdrant_dr.stores.tiers import ARCHIVES_S3
from qdrant_dr.stores.versions import Asks


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule that reaches into a repository. `archive`: the class it moves objects to; empty: it
    deletes them."""

    name: str
    prefix: str
    when: str
    archive: str = ""

    def __str__(self) -> str:
        below = f" below {self.prefix}" if self.prefix else ""
        does = (
            f"moves objects{below} to {self.archive}" if self.archive else f"deletes objects{below}"
        )
        return f"lifecycle rule {self.name!r} {does} {self.when}"


def lifecycle_of_s3(store: Asks, bucket: str, prefix: str) -> tuple[Rule, ...]:
    """Enabled rules that archive or delete what lies below `prefix`; none if that is not told."""
    try:
        found = store.call(
            "asking for the lifecycle of", bucket, "_call_s3", "get_bucket_lifecycle_configuration",
            Bucket=bucket,
        )  # fmt: skip
    except (ObjectMissing, RepositoryDenied, RepositoryRefuses):
        return ()  # there is none, these credentials may not ask, or it is no S3 of Amazon's
    return tuple(rules_of(found, prefix))


def rules_of(answer: Mapping[str, Any], prefix: str) -> Iterator[Rule]:
    """Those of the answer that reach below `prefix`. Pure."""
    for rule in answer.get("Rules", ()):
        below = _prefix_of(rule)
        reaches = below.startswith(prefix) or prefix.startswith(below)
        if rule.get("Status") != "Enabled" or not reaches:
            continue
        name = str(rule.get("ID") or "without a name")
        for move in rule.get("Transitions", ()):
            if (archive := str(move.get("StorageClass", ""))) in ARCHIVES_S3:
                yield Rule(name, below, _when(move), archive)
        expiration = rule.get("Expiration") or {}
        if expiration.get("Days") or expiration.get("Date"):
            yield Rule(name, below, _when(expiration))


def _prefix_of(rule: Mapping[str, Any]) -> str:
    """Old rules have it beside their filter, and it may be one of several conditions."""
    chosen = rule.get("Filter") or {}
    several = chosen.get("And") or {}
    return str(rule.get("Prefix") or chosen.get("Prefix") or several.get("Prefix") or "")


def _when(action: Mapping[str, Any]) -> str:
    return f"on {action['Date']}" if action.get("Date") else f"after {action.get('Days', 0)} days"
