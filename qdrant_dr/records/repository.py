"""What makes a folder or bucket a repository."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from qdrant_dr.records.base import Record, Time


class RepositoryRecord(Record):
    """`repository.json`: written once, by `repository create`. A missing one is an error."""

    KIND: ClassVar[str] = "repository"

    id: Annotated[str, Field(pattern=r"^[0-9a-f]{8}$")]
    layout: Literal["plain"]
    created_at: Time
    tool_version: str
