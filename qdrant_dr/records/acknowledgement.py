"""The record by which a named person acknowledges a finding or accepts a backup."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from qdrant_dr.records.base import Frozen, Record, Time
from qdrant_dr.records.manifest import BackupId, Sha256


class AcceptedBackup(Frozen):
    """What was accepted: the content in this seal, of one incarnation of the collection."""

    backup_id: BackupId
    collection: str
    incarnation: str
    captured_at: Time
    seal_sha256: Sha256


class Acknowledgement(Record):
    """`acknowledged/<cluster>/<acknowledgement id>.json`: this finding is known.

    `code` and `scope` name the finding, `facts` its instance: a later one of the same kind has
    other facts and raises its alarm. The record silences the alarm and does nothing else. It never
    changes: it ends at `until`, or when a later one names it in `releases`; a record that only
    releases has `acknowledges` false. `accepts`: the content of that backup is as intended."""

    KIND: ClassVar[str] = "acknowledgement"

    acknowledgement_id: str
    cluster: str
    made_at: Time
    made_by: str
    reason: str = Field(min_length=3)
    until: Time | None = Field(None, description="None: until it is released")
    code: str
    scope: str
    facts: str
    what: str = Field(description="the finding in words, as it was told then")
    accepts: AcceptedBackup | None = None
    acknowledges: bool = True
    releases: tuple[str, ...] = ()
