"""Who is told: `report`, `watch`."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, field_validator

from qdrant_dr.config.cluster import Tls
from qdrant_dr.config.values import Credentials, HttpOrRef, Section, time_zone


class ReportConfig(Section):
    url: str = "./reports"
    timezone: str = "UTC"
    tls: Tls = Tls()
    public_url: Annotated[str, Field(pattern=r"^https?://[^\s<>]+$")] | None = Field(
        None, description="where readers find what is written to `url`; links lead there"
    )
    options: dict[str, Any] = Field(default_factory=dict)
    credentials: Credentials | None = None

    @field_validator("timezone")
    @classmethod
    def _known(cls, name: str) -> str:
        return time_zone(name)


class Watch(Section):
    """Who is told of a look besides Prefect. A URL that is a secret stands here as a reference."""

    heartbeat: HttpOrRef | None = Field(
        None, description="called after each look at which no promise is broken"
    )
    push: HttpOrRef | None = Field(
        None, description="a Prometheus Pushgateway, given the metrics of each look"
    )
