"""The configuration, as a frozen model. `configfile` reads it from YAML."""

from __future__ import annotations

import hashlib
from typing import Literal

from pydantic import Field, model_validator

from qdrant_dr.config.capture_proof_drill import (
    Budget,
    CaptureConfig,
    Docker,
    DrillConfig,
    ProofConfig,
    Scratch,
    Spool,
)
from qdrant_dr.config.cluster import ClusterConfig, SnapshotsInS3, Timeouts, Tls
from qdrant_dr.config.collections import Collections, Decision, Exclusion, Override
from qdrant_dr.config.objectives import (
    CollectionObjectives,
    Copies,
    Objectives,
    Proven,
    Retention,
    RetentionRules,
)
from qdrant_dr.config.report_and_watch import ReportConfig, Watch
from qdrant_dr.config.repositories import RepositoryConfig, place
from qdrant_dr.config.signing import Signing
from qdrant_dr.config.values import Credentials, HttpOrRef, Name, Section, wrong
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
    "Signing",
    "SnapshotsInS3",
    "Spool",
    "Timeouts",
    "Tls",
    "Watch",
]


class Config(Section):
    """Everything a run knows, apart from its parameters."""

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
    signing: Signing = Signing()

    @model_validator(mode="after")
    def _adds_up(self) -> Config:
        self._repositories_differ()
        if (quorum := self.copies.quorum) > (have := len(self.repositories)):
            raise wrong("copies.quorum", f"{quorum} copies need {quorum} repositories, not {have}")
        if (domains := self.copies.domains) > (have := len({r.domain for r in self.repositories})):
            raise wrong("copies.domains", f"{domains} domains are required, {have} configured")
        scratch = self.drill.scratch
        if scratch and scratch.url in {*self.cluster.nodes, *self.cluster.peers.values()}:
            raise wrong(
                "drill.scratch.url", "this is a node of the cluster and cannot be a scratch"
            )
        if scratch and self.drill.docker:
            raise wrong("drill.docker", "cannot be used together with `drill.scratch`")
        return self

    def _repositories_differ(self) -> None:
        """Refuse one place under two names, which would count as two copies."""
        for i, r in enumerate(self.repositories):
            for other in self.repositories[:i]:
                if r.name == other.name:
                    raise wrong(f"repositories.{i}.name", "two repositories have the same name")
                if r.id is not None and r.id == other.id:
                    raise wrong(
                        f"repositories.{i}.id",
                        f"is also that of {other.name}: one repository is one copy, not two",
                    )
                if one_place(place(r), place(other)):
                    raise wrong(
                        f"repositories.{i}.url",
                        f"is the same place as that of {other.name}: one copy, not two",
                    )

    def drift_limit_of(self, collection: str) -> float:
        """Return the limit of the collection, else the general one."""
        own = self.collections.override(collection).objectives.drift_limit
        return self.objectives.drift_limit if own is None else own

    def repository(self, name: str) -> RepositoryConfig | None:
        return next((r for r in self.repositories if r.name == name), None)

    @property
    def sha256(self) -> str:
        """Return the digest of the configuration, with references in place of secrets."""
        return hashlib.sha256(canonical_json(self.model_dump(mode="json"))).hexdigest()
