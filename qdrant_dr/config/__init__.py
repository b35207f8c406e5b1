"""The configuration: a frozen model of what was promised. `configfile` reads it from YAML."""

from __future__ import annotations

import hashlib
from typing import Literal

from pydantic import Field, model_validator

from qdrant_dr.config.cluster import ClusterConfig, SnapshotsInS3, Timeouts, Tls
from qdrant_dr.config.collections import Collections, Decision, Exclusion, Override
from qdrant_dr.config.promises import (
    CollectionObjectives,
    Copies,
    Objectives,
    Proven,
    Retention,
    RetentionRules,
)
from qdrant_dr.config.report_and_watch import ReportConfig, Watch
from qdrant_dr.config.repositories import RepositoryConfig, place
from qdrant_dr.config.values import Credentials, HttpOrRef, Name, Section, wrong
from qdrant_dr.config.work import (
    Budget,
    CaptureConfig,
    Docker,
    DrillConfig,
    ProofConfig,
    Scratch,
    Spool,
)
from qdrant_dr.location_key import one_place
from qdrant_dr.records.base import canonical_json

__all__ = [
    "Budget",
    "CaptureConfig",
    "ClusterConfig",
    "CollectionObjectives",
    "Collections",
    "Config",
    "Copies",
    "Credentials",
    "Decision",
    "Docker",
    "DrillConfig",
    "Exclusion",
    "HttpOrRef",
    "Name",
    "Objectives",
    "Override",
    "ProofConfig",
    "Proven",
    "ReportConfig",
    "RepositoryConfig",
    "Retention",
    "RetentionRules",
    "Scratch",
    "Section",
    "SnapshotsInS3",
    "Spool",
    "Timeouts",
    "Tls",
    "Watch",
]


class Config(Section):
    """Everything a run may know, apart from its parameters."""

    format: Literal[1]
    cluster: ClusterConfig
    collections: Collections = Collections()
    repositories: tuple[RepositoryConfig, ...] = Field(min_length=1)
    copies: Copies = Copies()
    capture: CaptureConfig = CaptureConfig()
    proof: ProofConfig = ProofConfig()
    objectives: Objectives = Objectives()
    drill: DrillConfig = DrillConfig()
    retention: Retention = Retention()
    report: ReportConfig = ReportConfig()
    watch: Watch = Watch()

    @model_validator(mode="after")
    def _adds_up(self) -> Config:
        self._repositories_differ()
        if (quorum := self.copies.quorum) > (have := len(self.repositories)):
            raise wrong("copies.quorum", f"{quorum} copies need as many repositories, not {have}")
        if (domains := self.copies.domains) > (have := len({r.domain for r in self.repositories})):
            raise wrong("copies.domains", f"{domains} domains are asked for, {have} configured")
        scratch = self.drill.scratch
        if scratch and scratch.url in {*self.cluster.nodes, *self.cluster.peers.values()}:
            raise wrong("drill.scratch.url", "this is a node of the cluster, never a scratch")
        if scratch and self.drill.docker:
            raise wrong("drill.docker", "there is a `drill.scratch` already: it is one or other")
        return self

    def _repositories_differ(self) -> None:
        """One place under two names would be counted as two copies."""
        for i, r in enumerate(self.repositories):
            for other in self.repositories[:i]:
                if r.name == other.name:
                    raise wrong(f"repositories.{i}.name", "two repositories have one name")
                if r.id is not None and r.id == other.id:
                    raise wrong(
                        f"repositories.{i}.id",
                        f"is that of {other.name}, too: one repository is one copy, not two",
                    )
                if one_place(place(r), place(other)):
                    raise wrong(
                        f"repositories.{i}.url",
                        f"is the same place as that of {other.name}: one copy, not two",
                    )

    def drift_limit_of(self, collection: str) -> float:
        """That of the collection, else that of all."""
        own = self.collections.override(collection).objectives.drift_limit
        return self.objectives.drift_limit if own is None else own

    def repository(self, name: str) -> RepositoryConfig | None:
        return next((r for r in self.repositories if r.name == name), None)

    @property
    def sha256(self) -> str:
        """Digest of what was configured; secrets enter as their references."""
        return hashlib.sha256(canonical_json(self.model_dump(mode="json"))).hexdigest()
