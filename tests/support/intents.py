"""Intents of captures."""

from __future__ import annotations

from qdrant_dr.records import Intent, Manifest


def intent_of(manifest: Manifest) -> Intent:
    return Intent(
        run_id=manifest.run_id,
        backup_id=manifest.backup_id,
        cluster=manifest.cluster,
        collection=manifest.collection,
        node="http://127.0.0.1:6333",
        started_at=manifest.captured_at,
        listed_before=(),
        tool_version="0.1.0",
    )
