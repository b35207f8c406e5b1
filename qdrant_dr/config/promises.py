"""What was promised: `objectives`, `copies`, `retention`."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

from pydantic import Field, field_validator

from qdrant_dr.config.values import Section, time_zone
from qdrant_dr.quantities import Duration
from qdrant_dr.records.proof import Depth


class CollectionObjectives(Section):
    rpo: Duration | None = None
    rto: Duration | None = None
    drift_limit: Annotated[float, Field(gt=0, le=1)] | None = None


class RetentionRules(Section):
    """What of `retention` a repository or a collection has otherwise."""

    last: int | None = Field(None, ge=0)
    daily: int | None = Field(None, ge=0)
    weekly: int | None = Field(None, ge=0)
    monthly: int | None = Field(None, ge=0)
    floor: int | None = Field(None, ge=1)


class Copies(Section):
    """How many copies, over how many failure domains, make a backup safe."""

    quorum: int = Field(1, ge=1)
    domains: int = Field(1, ge=1)
    stall_timeout: Duration = timedelta(seconds=90)


class Proven(Section):
    depth: Depth = "content"
    max_age: Duration = timedelta(days=8)


class Objectives(Section):
    """What the business was promised."""

    rpo: Duration = timedelta(hours=26)
    rto: Duration = timedelta(hours=1)
    proven: Proven = Proven()
    drill_every: Duration = timedelta(days=30)
    drift_limit: Annotated[float, Field(gt=0, le=1)] = Field(
        0.5,
        description="share of points that may go since the last accepted backup, or change from "
        "one backup to the next, unremarked",
    )


class Retention(Section):
    """Which backups stay; used by `expire`. Days, weeks and months are of `timezone`."""

    last: int = Field(7, ge=0)
    daily: int = Field(14, ge=0)
    weekly: int = Field(8, ge=0)
    monthly: int = Field(12, ge=0)
    floor: int = Field(3, ge=1, description="backups of each life of a collection that always stay")
    grace: Duration = Field(timedelta(days=2), description="what is younger always stays")
    share: Annotated[float, Field(gt=0, le=1)] = Field(
        0.2, description="of a collection's copies in a repository, so many go at most in one run"
    )
    timezone: str = "UTC"

    @field_validator("timezone")
    @classmethod
    def _known(cls, name: str) -> str:
        return time_zone(name)

    def under(self, *rules: RetentionRules | None) -> Retention:
        """With these rules laid over it, later ones on top."""
        laid = {k: v for r in rules if r for k, v in r.model_dump(exclude_none=True).items()}
        return self.model_copy(update=laid)
