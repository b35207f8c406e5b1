"""The records beside an export: what was begun there, and what is in it."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from qdrant_dr.records.base import Frozen, RawJSON, Record, Time, later
from qdrant_dr.records.fingerprint import Fingerprint
from qdrant_dr.records.manifest import BackupKey, Sha256

Form = Literal["parquet", "ndjson"]


class ExportBegun(Record):
    """`export.json`: written first, create-only, so that two exports never mix in one place."""

    KIND: ClassVar[str] = "export-begun"

    backup: BackupKey
    backup_manifest_sha256: Sha256
    form: Form
    salvaged: bool
    vectors: dict[str, str] = Field(description="name of each vector by its column, of Parquet")
    fields: dict[str, str] = Field(description="field of the payload by its typed column")


class ExportedFile(Frozen):
    """One file of points. `fingerprint` is of what was read back out of it.

    `unlike` counts, for a typed column, values that it cannot hold as they are: it is null there,
    and `payload` has them.
    """

    name: str
    shard: int
    points: int = Field(ge=0)
    size_bytes: int = Field(ge=0)
    sha256: Sha256
    fingerprint: Fingerprint
    unlike: dict[str, int] = Field(default_factory=dict)
    shard_key: int | str | None = later(None, description="of its shard, with custom sharding")


class ExportManifest(Record):
    """`manifest.json` of an export: written last, create-only; without it an export is not whole.

    `equal` says whether the points in the files are those of the seal, None if there was nothing to
    compare with. Of a salvage `lost` is how many points are known to be missing, None if that
    cannot be told; the file `lost_ids` names those of which the id is known, and `notes` say what
    was wrong with the archive.
    """

    KIND: ClassVar[str] = "export"

    begun_sha256: Sha256
    backup: BackupKey
    captured_at: Time
    exported_at: Time
    run_id: str
    tool_version: str
    engine_version: str
    server_version: str
    form: Form
    files: tuple[ExportedFile, ...]
    points: int
    size_bytes: int
    fingerprint: Fingerprint
    seal_sha256: Sha256 | None
    equal: bool | None
    aliases: tuple[str, ...]
    collection_info: RawJSON
    salvaged: bool = False
    lost: int | None = 0
    lost_ids: str | None = None
    notes: tuple[str, ...] = ()
