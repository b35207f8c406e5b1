"""The sections `report` and `watch`."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, field_validator

from qdrant_dr.config.cluster import Tls
from qdrant_dr.config.values import Credentials, HttpOrRef, Section, StoreUrl, time_zone


class ReportConfig(Section):
    url: StoreUrl = "./reports"
    timezone: str = "UTC"
    tls: Tls = Tls()
    public_url: Annotated[str, Field(pattern=r"^https?://[^\s<>]+$")] | None = Field(
        None, description="the address at which readers find what is written to `url`, for links"
    )
    options: dict[str, Any] = Field(default_factory=dict)
    credentials: Credentials | None = None

    @field_validator("timezone")
    @classmethod
    def _known(cls, name: str) -> str:
        return time_zone(name)


class Watch(Section):
    """Whom a watch notifies besides Prefect. Write a secret URL as a reference."""

    heartbeat: HttpOrRef | None = Field(
        None, description="called after each watch in which no objective is missed"
    )
    push: HttpOrRef | None = Field(
        None, description="a Prometheus Pushgateway for the metrics of each watch"
    )
