"""The record that makes a folder or bucket a repository."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, Self, get_args

from pydantic import BeforeValidator, Field, model_validator

from qdrant_dr.records.base import Record, Time, later, newer
from qdrant_dr.records.key_slot import KeyId

Layout = Literal["plain", "chunked"]
"""How parts lie: as the archives themselves, or as blocks that are stored once, in packs."""


def _known(layout: object) -> object:
    if isinstance(layout, str) and layout not in get_args(Layout):
        raise newer(f"{layout!r} is a layout of a later version")
    return layout


class RepositoryRecord(Record):
    """`repository.json`: written by `repository create`, and again when a copied repository gets
    its own id. It is an error if it is missing."""

    KIND: ClassVar[str] = "repository"

    id: Annotated[str, Field(pattern=r"^[0-9a-f]{8}$")]
    layout: Annotated[Layout, BeforeValidator(_known)]
    created_at: Time
    tool_version: str
    adopted_from: tuple[str, ...] = later((), description="ids that it had before, oldest first")
    adopted_at: Time | None = later(None)
    key_id: KeyId | None = later(None, description="of its first master key: it is encrypted")

    @model_validator(mode="after")
    def _encrypted_only_if_chunked(self) -> Self:
        """Whoever edits the layout must not make us write archives in clear."""
        if self.key_id is not None and self.layout != "chunked":
            raise ValueError(f"it has a `key_id`, and {self.layout!r} is never encrypted")
        return self
