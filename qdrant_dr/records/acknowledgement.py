"""Somebody has seen a finding, or looked at a backup and accepted it, and says so by name."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from qdrant_dr.records.base import Frozen, Record, Time
from qdrant_dr.records.manifest import BackupId, Sha256


class AcceptedBackup(Frozen):
    """What was accepted: the content that this seal states, of one life of the collection."""

    backup_id: BackupId
    collection: str
    incarnation: str
    captured_at: Time
    seal_sha256: Sha256


class Acknowledgement(Record):
    """`acknowledged/<cluster>/<acknowledgement id>.json`: this finding is known.

    `code` and `scope` say which finding, `facts` which instance of it: a later one of the same
    kind has others, and is told. It quiets the alarm and nothing else. Never changed: it ends at
    `until`, or when a later one names it in `releases`; a record that only releases has
    `acknowledges` false. `accepts`: the content of that backup is what it is meant to be.
    """

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
