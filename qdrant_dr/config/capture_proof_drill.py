"""The sections `capture`, `proof` and `drill`."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Literal

from pydantic import Field, field_validator

from qdrant_dr.config.cluster import Tls
from qdrant_dr.config.values import Section, rest_url, wrong
from qdrant_dr.quantities import Duration, Size
from qdrant_dr.records.manifest import Method
from qdrant_dr.secrets import SecretRef


class Spool(Section):
    path: str = "/var/tmp/qdrant-dr"  # noqa: S108 - a default of the documentation; folders in it are our own
    max: Size = Field(default=200 * 2**30, validate_default=False)


class CaptureConfig(Section):
    method: Literal["auto"] | Method = "auto"
    parallel_collections: int = Field(2, ge=1)
    spool: Spool = Spool()


class ProofConfig(Section):
    """What a proof may use; each runs in its own engine process."""

    memory: Size = Field(
        default=8 * 2**30, validate_default=False, description="of one engine, without mapped files"
    )
    stall_timeout: Duration = Field(
        timedelta(minutes=5), description="an engine without progress for this long is killed"
    )


class Scratch(Section):
    url: str
    api_key: SecretRef | None = None
    tls: Tls = Tls()
    disposable: bool = Field(False, description="declares that all data on it may be lost")

    @field_validator("url")
    @classmethod
    def _url(cls, url: str) -> str:
        return rest_url("drill.scratch.url", url)


class Docker(Section):
    """A container for each drill, with the server version of the backup."""

    image: str = Field(
        "qdrant/qdrant", description="without a tag, which is the version of the backup's server"
    )
    memory: Size = Field(default=4 * 2**30, validate_default=False)
    cpus: float = Field(2, gt=0)

    @field_validator("image")
    @classmethod
    def _untagged(cls, image: str) -> str:
        if not re.fullmatch(r"[a-z0-9][a-z0-9._:/-]*", image) or ":" in image.rpartition("/")[2]:
            raise wrong("drill.docker.image", "must be the name of an image without a tag")
        return image


class Budget(Section):
    """The limits of one run of drills."""

    time: Duration = Field(
        timedelta(hours=2),
        description="time of a run; it drills as many copies as it expects to fit, at least one",
    )
    bytes: Size = Field(
        default=500 * 2**30,
        validate_default=False,
        description="of all copies that a run drills; a larger copy is never picked",
    )


class DrillConfig(Section):
    engine: Literal["edge", "server"] = "edge"
    scratch: Scratch | None = None
    docker: Docker | None = None
    pick: Literal["coverage", "latest", "random"] = "coverage"
    budget: Budget = Budget()
    isolation: str | None = Field(None, description="shown in reports as declared here")
