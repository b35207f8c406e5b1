"""The section `collections`: which are backed up, and settings of single ones."""

from __future__ import annotations

import fnmatch
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import Field, model_validator

from qdrant_dr.config.objectives import CollectionObjectives, RetentionRules
from qdrant_dr.config.values import Section, wrong


class Exclusion(Section):
    match: str
    reason: str = Field(min_length=3)


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether a collection is protected, by which rule, and for which stated reason."""

    status: Literal["included", "excluded"]
    rule: str
    reason: str | None = None


class Override(Section):
    match: str
    owner: str | None = None
    criticality: Literal["low", "normal", "high"] | None = None
    objectives: CollectionObjectives = CollectionObjectives()
    retention: RetentionRules = RetentionRules()


class Collections(Section):
    """Which collections are protected. By default new ones are."""

    include: tuple[str, ...] = ("*",)
    exclude: tuple[Exclusion, ...] = ()
    expect: tuple[str, ...] = Field((), description="missing on the cluster = failed run")
    overrides: tuple[Override, ...] = ()

    @model_validator(mode="after")
    def _no_contradiction(self) -> Collections:
        for i, name in enumerate(self.expect):
            if rule := self.exclusion(name):
                raise wrong(
                    f"collections.expect.{i}",
                    f"{name!r} is expected here and excluded by {rule.match!r} in "
                    "`collections.exclude`: choose one of the two",
                )
        return self

    def decide(self, collection: str) -> Decision:
        """Decide: an expected collection is included; else the first matching rule counts."""
        if collection in self.expect:
            return Decision("included", "collections.expect")
        if rule := self.exclusion(collection):
            return Decision("excluded", rule.match, rule.reason)
        if pattern := self.inclusion(collection):
            return Decision("included", pattern)
        return Decision("excluded", "collections.include", "no pattern of `include` matches it")

    def exclusion(self, collection: str) -> Exclusion | None:
        """Return the first rule that excludes it."""
        return next((e for e in self.exclude if fnmatch.fnmatchcase(collection, e.match)), None)

    def inclusion(self, collection: str) -> str | None:
        """Return the first pattern that includes it."""
        return next((p for p in self.include if fnmatch.fnmatchcase(collection, p)), None)

    def override(self, collection: str) -> Override:
        """Merge all matching overrides; later ones win."""
        merged: dict[str, Any] = {"match": collection, "objectives": {}, "retention": {}}
        for rule in self.overrides:
            if fnmatch.fnmatchcase(collection, rule.match):
                set_here = rule.model_dump(
                    exclude_none=True, exclude={"match", "objectives", "retention"}
                )
                merged |= set_here
                merged["objectives"] |= {k: v for k, v in rule.objectives if v is not None}
                merged["retention"] |= {k: v for k, v in rule.retention if v is not None}
        return Override.model_validate(merged)
