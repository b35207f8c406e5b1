"""The seven frames: every column with its type, unit and meaning, and the key of each frame.

Empty and full frames have the same types, in pandas, in Parquet and in `docs/frames.md`. A missing
value means *not measured*; it never stands for zero.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import pandas as pd
import pyarrow as pa

from qdrant_dr.records.proof import DEPTHS

TEXT: Final = "string"
COUNT: Final = "Int64"
NUMBER: Final = "Float64"
FLAG: Final = "boolean"
TIME: Final = "datetime64[us, UTC]"

_ARROW: Final = {
    TEXT: pa.string(),
    COUNT: pa.int64(),
    NUMBER: pa.float64(),
    FLAG: pa.bool_(),
    TIME: pa.timestamp("us", tz="UTC"),
}

SEVERITIES: Final = ("notice", "warning", "critical")
STATUSES: Final = ("protected", "degraded", "unproven", "unprotected", "excluded", "gone")
PHASES: Final = ("pick", "fetch", "start", "recover", "ready", "prove", "read back", "tear down")


@dataclass(frozen=True)
class Column:
    """`type` is a pandas type, or the values of an ordered category, lowest first."""

    name: str
    type: str | tuple[str, ...]
    unit: str
    meaning: str

    @property
    def dtype(self) -> Any:
        if isinstance(self.type, tuple):
            return pd.CategoricalDtype(pd.Index(self.type, dtype="str"), ordered=True)
        return pd.StringDtype("pyarrow") if self.type == TEXT else self.type

    @property
    def type_name(self) -> str:
        if isinstance(self.type, tuple):
            return "category: " + " < ".join(self.type)
        return self.type

    def series(self, values: Sequence[Any]) -> pd.Series[Any]:
        """A typed column. Raise ValueError for a value that the category does not have."""
        if isinstance(self.type, tuple):
            foreign = {v for v in values if v is not None} - set(self.type)
            if foreign:
                raise ValueError(f"{self.name} is one of {self.type}, not {sorted(foreign)}")
        data = pd.DatetimeIndex(list(values), dtype=TIME) if self.type == TIME else list(values)
        typed: pd.Series[Any] = pd.Series(data, dtype=self.dtype, name=self.name)
        return typed


@dataclass(frozen=True)
class FrameSchema:
    """One frame: what a row is, which columns name it, and what each column means."""

    name: str
    row: str
    key: tuple[str, ...]
    columns: tuple[Column, ...]

    def build(self, rows: Sequence[Mapping[str, Any]], *, as_of: datetime) -> pd.DataFrame:
        """A typed frame of rows that have exactly these columns; `None` becomes NA.

        Raise ValueError for a row with other columns, or for two rows with one key.
        """
        names = [c.name for c in self.columns]
        for row in rows:
            if set(row) != set(names):
                raise ValueError(f"{self.name}: columns differ: {sorted(set(row) ^ set(names))}")
        keys = [tuple(row[k] for k in self.key) for row in rows]
        if len(set(keys)) != len(keys):
            raise ValueError(f"{self.name}: two rows have one key {self.key}")
        frame = pd.DataFrame({c.name: c.series([r[c.name] for r in rows]) for c in self.columns})
        frame.attrs |= {"frame": self.name, "as_of": as_of.isoformat()}
        return frame

    def arrow(self) -> pa.Schema:
        """The same types for Parquet."""
        return pa.schema(
            [
                pa.field(
                    c.name,
                    pa.dictionary(pa.int8(), pa.string(), ordered=True)
                    if isinstance(c.type, tuple)
                    else _ARROW[c.type],
                    metadata={"unit": c.unit, "meaning": c.meaning},
                )
                for c in self.columns
            ]
        )

    def to_json(self) -> dict[str, Any]:
        """What `qdrant-dr schema frames` prints."""
        return {
            "name": self.name,
            "row": self.row,
            "key": list(self.key),
            "columns": [
                {
                    "name": c.name,
                    "type": "category" if isinstance(c.type, tuple) else c.type,
                    "values": list(c.type) if isinstance(c.type, tuple) else None,
                    "unit": c.unit or None,
                    "meaning": c.meaning,
                }
                for c in self.columns
            ],
        }


def _frame(name: str, row: str, key: tuple[str, ...], *columns: Column) -> FrameSchema:
    return FrameSchema(
        name,
        row,
        key,
        (
            Column("cluster", TEXT, "", "name of the cluster in the configuration"),
            Column(
                "source_kind",
                ("sandbox", "server"),
                "",
                "what was backed up: a real server, or the sandbox of the demo",
            ),
            *columns,
        ),
    )


COLLECTIONS = _frame(
    "collections",
    "each collection that was seen, expected, excluded or backed up",
    ("collection",),
    Column("collection", TEXT, "", "name on the cluster"),
    Column(
        "status",
        STATUSES,
        "",
        "strictest of: a backup exists, it is proven, every promise about it holds",
    ),
    Column("exclusion_reason", TEXT, "", "why it is not protected, as configured"),
    Column("owner", TEXT, "", "as configured"),
    Column("criticality", ("low", "normal", "high"), "", "as configured"),
    Column("newest_backup_id", TEXT, "", "newest backup, proven or not"),
    Column("newest_captured_at", TIME, "", "when that backup was captured"),
    Column("newest_proven_at", TIME, "", "when the newest proven backup was last proven"),
    Column("proven_depth", DEPTHS, "", "how deep the newest proven backup is proven"),
    Column("rpo_seconds", NUMBER, "s", "as_of minus capture time of the newest proven backup"),
    Column("rpo_objective_seconds", NUMBER, "s", "as configured"),
    Column(
        "rto_seconds", NUMBER, "s", "newest passed drill on a real server, decision to verified"
    ),
    Column("rto_objective_seconds", NUMBER, "s", "as configured"),
    Column("rto_measured_at", TIME, "", "when that drill began"),
    Column(
        "copies_proven_count",
        COUNT,
        "copies",
        "copies of the newest proven backup with a full proof of bytes and no open failure",
    ),
    Column("domains_proven_count", COUNT, "domains", "failure domains that those copies lie in"),
    Column("next_command", TEXT, "", "what to run next; missing when nothing is wanted"),
)

RUNS = _frame(
    "runs",
    "each run that began in the period, crashed ones too",
    ("run_id",),
    Column("run_id", TEXT, "", "name of the run"),
    Column("kind", TEXT, "", "backup, replicate, verify, drill, report or check"),
    Column("trigger", TEXT, "", "schedule, manual, automation or cli"),
    Column("actor", TEXT, "", "who or what started it"),
    Column("scheduled_for", TIME, "", "when it should have begun"),
    Column("started_at", TIME, "", "when it began"),
    Column("ended_at", TIME, "", "when it wrote its end; missing while it runs or if it crashed"),
    Column("verdict", ("ok", "degraded", "failed"), "", "of the run; missing while it runs"),
    Column("units_count", COUNT, "units", "pieces of work it reported on"),
    Column("units_failed_count", COUNT, "units", "those that failed"),
    Column("error_code", TEXT, "", "error that ended it; `no-end` = it crashed"),
    Column("config_sha256", TEXT, "", "digest of the configuration it ran with"),
    Column("tool_version", TEXT, "", "version of qdrant-dr"),
)

BACKUPS = _frame(
    "backups",
    "each backup with a manifest in a reachable repository",
    ("backup_id", "collection"),
    Column("backup_id", TEXT, "", "sorts by time"),
    Column("collection", TEXT, "", "name on the cluster"),
    Column("captured_at", TIME, "", "before the first create call: recovery points count from it"),
    Column("committed_at", TIME, "", "when all bytes were durable and the manifest was written"),
    Column("method", ("collection", "shard", "stream", "full"), "", "how it was captured"),
    Column(
        "consistency",
        ("in-motion", "quiesced"),
        "",
        "whether writes went on meanwhile; missing until sealed",
    ),
    Column(
        "seal_reference",
        ("self", "source"),
        "",
        "`source`: compared with the live collection; `self`: copies equal each other only",
    ),
    Column("points_count", COUNT, "points", "exact count the engine read; missing until sealed"),
    Column("parts_count", COUNT, "parts", "stored objects with data"),
    Column("size_bytes", COUNT, "B", "bytes of all parts"),
    Column("capture_seconds", NUMBER, "s", "first create call to last answer"),
    Column("transfer_seconds", NUMBER, "s", "last answer to all bytes durable"),
    Column("throughput_bytes_per_second", NUMBER, "B/s", "size over transfer time"),
    Column("fingerprint", TEXT, "", "SHA-256 of the sealed fingerprint of all points"),
    Column("manifest_sha256", TEXT, "", "SHA-256 of `manifest.json` as stored"),
    Column("server_version", TEXT, "", "of the server that made it"),
)

COPIES = _frame(
    "copies",
    "each backup in each configured repository, absent copies too",
    ("backup_id", "collection", "repository"),
    Column("backup_id", TEXT, "", "which backup"),
    Column("collection", TEXT, "", "name on the cluster"),
    Column("repository", TEXT, "", "name in the configuration"),
    Column("domain", TEXT, "", "failure domain of the repository"),
    Column(
        "state",
        ("present", "behind", "damaged", "missing", "unreachable"),
        "",
        "`behind`: a record of it is lacking; `missing`: nothing of it is there; "
        "`damaged`: an object is lost or of another size, or a failed proof is open",
    ),
    Column(
        "stored_bytes",
        COUNT,
        "B",
        "bytes that lie there, records included; missing if it could not be asked",
    ),
    Column("deepest_proof", DEPTHS, "", "depth of the best passed proof at this location"),
    Column("proven_at", TIME, "", "when that proof ended"),
    Column("bytes_checked_ratio", NUMBER, "1", "share of the bytes that proof read"),
    Column(
        "detection_probability",
        NUMBER,
        "1",
        "chance that it would have seen one damaged block: 1 for a full proof, less for a sample",
    ),
)

DRILLS = _frame(
    "drills",
    "each test restore that began in the period, failed and refused ones too",
    ("drill_id",),
    Column("drill_id", TEXT, "", "name of the drill"),
    Column("backup_id", TEXT, "", "which backup; missing if none was picked"),
    Column("collection", TEXT, "", "name on the cluster"),
    Column("repository", TEXT, "", "where the bytes came from"),
    Column("server_version", TEXT, "", "of the target"),
    Column("engine", ("edge", "server"), "", "read back by the engine, or restored into a server"),
    Column("pick", TEXT, "", "how the backup was chosen"),
    Column("verdict", ("failed", "not run", "passed"), "", "passed only with an equal fingerprint"),
    Column("seed", COUNT, "", "seed of a random pick"),
    Column("backup_age_seconds", NUMBER, "s", "drill begin minus capture time"),
    Column("points_expected_count", COUNT, "points", "by the seal"),
    Column("points_restored_count", COUNT, "points", "counted in the target"),
    Column("size_bytes", COUNT, "B", "bytes of the backup"),
    Column("fingerprint_equal", FLAG, "", "every id, payload and vector equals the seal"),
    Column("rto_met", FLAG, "", "missing unless a recovery time was measured"),
    Column("restore_seconds", NUMBER, "s", "recover and ready, on a server or the sandbox"),
    Column("readback_seconds", NUMBER, "s", "all of an engine drill: never a recovery time"),
    Column("rto_seconds", NUMBER, "s", "decision to verified, passed drills on real servers only"),
    Column("rto_objective_seconds", NUMBER, "s", "as configured"),
    Column("isolation_declared", TEXT, "", "quoted as declared in the configuration"),
    Column("teardown", TEXT, "", "what became of the target"),
    Column("error_code", TEXT, "", "why it failed or did not run"),
)

DRILL_PHASES = _frame(
    "drill_phases",
    "each measured phase of each drill",
    ("drill_id", "phase"),
    Column("drill_id", TEXT, "", "which drill"),
    Column("phase", PHASES, "", "in order of time"),
    Column("started_at", TIME, "", "when it began"),
    Column("duration_seconds", NUMBER, "s", "measured by a monotonic clock"),
    Column("size_bytes", COUNT, "B", "bytes it moved"),
)

FINDINGS = _frame(
    "findings",
    "each thing that is wrong or wants a look, worst first",
    ("scope", "what"),
    Column("severity", SEVERITIES, "", "critical: a promise is broken or could not be checked"),
    Column("scope", TEXT, "", "the collection, backup, copy, repository or run concerned"),
    Column("what", TEXT, "", "what is wrong"),
    Column("since", TIME, "", "since when, as far as records tell"),
    Column("blast_radius", TEXT, "", "how much is affected"),
    Column("next_command", TEXT, "", "what to run next"),
)

FRAMES: Final[tuple[FrameSchema, ...]] = (
    COLLECTIONS,
    RUNS,
    BACKUPS,
    COPIES,
    DRILLS,
    DRILL_PHASES,
    FINDINGS,
)


def frames_json() -> dict[str, Any]:
    """All frames, for `qdrant-dr schema frames`."""
    return {"format": 1, "frames": [f.to_json() for f in FRAMES]}


def frames_markdown() -> str:
    """The page `docs/frames.md`, generated."""
    lines = [
        "# Frames",
        "",
        "Generated from `qdrant_dr/report/schema.py`; a test keeps it in step.",
        "A missing value means *not measured*, never zero. Times are UTC with microseconds.",
        "",
        "```python",
        "import qdrant_dr",
        "",
        'frames = qdrant_dr.open("qdrant-dr.yaml").frames(period_days=30)',
        'frames["findings"]',
        "```",
    ]
    for frame in FRAMES:
        key = ", ".join(f"`{k}`" for k in frame.key)
        lines += ["", f"## {frame.name}", "", f"A row is {frame.row}. Key: {key}.", ""]
        lines += ["| column | type | unit | meaning |", "|---|---|---|---|"]
        lines += [f"| {c.name} | {c.type_name} | {c.unit} | {c.meaning} |" for c in frame.columns]
    return "\n".join(lines) + "\n"
