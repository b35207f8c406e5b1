"""A repository: where backups are stored."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, WithJsonSchema, field_validator, model_validator

from qdrant_dr.config.cluster import Tls
from qdrant_dr.config.objectives import RetentionRules
from qdrant_dr.config.values import RATE, Credentials, Name, Section, StoreUrl
from qdrant_dr.location_key import Place, place_of
from qdrant_dr.quantities import Duration, Size
from qdrant_dr.secrets import SecretRef


class RepositoryConfig(Section):
    """A place where backups are stored. `options` go to fsspec; values may be secret references."""

    name: Name
    id: Annotated[str, Field(pattern=r"^[0-9a-f]{8}$")] | None = Field(
        None, description="printed by `repository create`"
    )
    url: StoreUrl
    domain: str = Field(min_length=1, description="failure domain: provider, account, region")
    bandwidth: Annotated[Size, WithJsonSchema(RATE)] | None = Field(
        None, description="bytes per second"
    )
    append_only: bool = Field(
        False, description="nothing is deleted there by us: another key or machine expires it"
    )
    archive_restore_time: Duration | None = Field(
        None,
        description="how long it takes to bring a copy back from an archive class (S3 Glacier, "
        "Azure Archive); without it such a copy does not count",
    )
    decline: float = Field(
        0.05,
        ge=0,
        le=1,
        description="of layout `chunked`: the share of a night's bytes that may be stored anew, "
        "out of packs that are hardly used; more keeps old nights quick to read, and stores more",
    )
    price_per_gib_month: float | None = Field(
        None, ge=0, description="what a GiB costs there a month, in whatever currency"
    )
    options: dict[str, Any] = Field(default_factory=dict)
    credentials: Credentials | None = None
    key: SecretRef | None = Field(
        None,
        description="of an encrypted repository: what opens one of its slots; a key file, a "
        "passphrase, an age identity or an exported key",
    )
    key_id: Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")] | None = Field(
        None,
        description="of its master key, printed by `repository create --encrypt` and `key rotate`: "
        "who may write there cannot put another key in its place",
    )
    lost_keys: tuple[Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")], ...] = Field(
        (),
        description="ids of its master keys that are lost for good: what is encrypted with them "
        "is, too, and does not keep anything new from being written",
    )
    tls: Tls = Tls()
    retention: RetentionRules = RetentionRules()

    @model_validator(mode="after")
    def _key_of_id(self) -> RepositoryConfig:
        if self.key_id is not None and self.key is None:
            raise ValueError("`key_id` needs a `key`, which is missing")
        return self

    @field_validator("bandwidth", mode="before")
    @classmethod
    def _per_second(cls, value: object) -> object:
        return value.removesuffix("/s") if isinstance(value, str) else value


def place(r: RepositoryConfig) -> Place:
    return place_of(r.url, r.options, credentials=r.credentials)
