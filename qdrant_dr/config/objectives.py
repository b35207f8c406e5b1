"""The sections `objectives`, `copies` and `retention`."""

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
    """The settings of `retention` that a repository or collection overrides."""

    last: int | None = Field(None, ge=0)
    daily: int | None = Field(None, ge=0)
    weekly: int | None = Field(None, ge=0)
    monthly: int | None = Field(None, ge=0)
    floor: int | None = Field(None, ge=1)


class Copies(Section):
    """How many copies, in how many failure domains, make a backup safe."""

    quorum: int = Field(1, ge=1)
    domains: int = Field(1, ge=1)
    stall_timeout: Duration = timedelta(seconds=90)


class Proven(Section):
    depth: Depth = "content"
    max_age: Duration = timedelta(days=8)


class Objectives(Section):
    """The objectives that backups and restores must meet."""

    rpo: Duration = timedelta(hours=26)
    rto: Duration = timedelta(hours=1)
    proven: Proven = Proven()
    drill_every: Duration = timedelta(days=30)
    drift_limit: Annotated[float, Field(gt=0, le=1)] = Field(
        0.5,
        description="share of points that may vanish since the last accepted backup, or change "
        "from one backup to the next, without a finding",
    )


class Retention(Section):
    """Which backups are kept; used by `expire`. Days, weeks and months are those of `timezone`."""

    last: int = Field(7, ge=0)
    daily: int = Field(14, ge=0)
    weekly: int = Field(8, ge=0)
    monthly: int = Field(12, ge=0)
    floor: int = Field(3, ge=1, description="backups of each incarnation that are always kept")
    grace: Duration = Field(timedelta(days=2), description="younger backups are always kept")
    share: Annotated[float, Field(gt=0, le=1)] = Field(
        0.2,
        description="largest share of a collection's copies in a repository that one run deletes",
    )
    timezone: str = "UTC"

    @field_validator("timezone")
    @classmethod
    def _known(cls, name: str) -> str:
        return time_zone(name)

    def under(self, *rules: RetentionRules | None) -> Retention:
        """Return these settings with the rules applied; later rules win."""
        laid = {k: v for r in rules if r for k, v in r.model_dump(exclude_none=True).items()}
        return self.model_copy(update=laid)
