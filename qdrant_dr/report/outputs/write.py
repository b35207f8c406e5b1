"""Write a report: the page, and each frame as CSV and Parquet, through fsspec."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import fsspec
import pandas as pd

from qdrant_dr.config import ReportConfig
from qdrant_dr.errors import NothingSelected, RepositoryError
from qdrant_dr.jobs.run.units import Format
from qdrant_dr.location_key import KINDS, client_options, place_of, split_url
from qdrant_dr.report.findings.assessment import Assessment
from qdrant_dr.report.frames.csv_table import csv_bytes
from qdrant_dr.report.frames.parquet_table import parquet_bytes
from qdrant_dr.report.frames.schema import BY_NAME
from qdrant_dr.report.outputs.oscal import oscal_bytes
from qdrant_dr.report.page.html import frames_digest, render
from qdrant_dr.secrets import resolve_options
from qdrant_dr.stores.errors import translate
from qdrant_dr.stores.providers import make_filesystem

FORMATS: Final[tuple[Format, ...]] = ("html", "csv", "parquet", "oscal")
DEFAULT_FORMATS: Final = FORMATS[:3]
"""What is written unless something else is asked for."""


@dataclass(frozen=True)
class Written:
    """Where a report was written: its folder, the addresses of its files, its frames' digest."""

    folder: str
    files: tuple[str, ...]
    digest: str


def write(
    assessment: Assessment,
    frames: Mapping[str, pd.DataFrame],
    *,
    to: ReportConfig,
    formats: Sequence[Format] = DEFAULT_FORMATS,
) -> Written:
    """Write below `<url>/<cluster>/<as of>/`; the same evidence gives the same bytes again.

    Raise NothingSelected without a format, RepositoryError if the place cannot be written.
    """
    if not formats:
        raise NothingSelected("no format is given", f"choose from {', '.join(FORMATS)}.")
    evidence = assessment.evidence
    folder = f"{to.url.rstrip('/')}/{evidence.config.cluster.name}/{evidence.as_of:%Y%m%dT%H%M%SZ}"
    written = []
    try:
        fs, root = _filesystem(folder, to)
        fs.makedirs(root, exist_ok=True)
        for name, data in report_files(assessment, frames, formats):
            fs.pipe_file(f"{root}/{name}", data)
            written.append(f"{folder}/{name}")
    except Exception as e:  # noqa: BLE001 -- providers' errors have no common class, and may hold a key
        if isinstance(e, OSError) and e.strerror and split_url(folder)[0] == "file":
            raise RepositoryError(
                f"the report cannot be written to {folder}: {e.strerror}",
                "choose a folder that this user may write to: `qdrant-dr report --out FOLDER`, or "
                "`report.url` in the configuration.",
            ) from None
        raise translate(e, repository="report.url", doing="writing the report") from None
    return Written(folder, tuple(written), frames_digest(frames))


def _filesystem(folder: str, to: ReportConfig) -> tuple[Any, str]:
    options = resolve_options(to.options, to.credentials)
    kind, _ = split_url(folder)
    if kind in KINDS.values():
        place = place_of(folder, options)
        fs = make_filesystem(kind, client_options(folder, options), to.tls)
        return fs, f"{place.bucket}/{place.prefix}"
    given = {"use_listings_cache": False, **options}
    found: tuple[Any, str] = fsspec.core.url_to_fs(folder, skip_instance_cache=True, **given)
    return found


def report_files(
    assessment: Assessment, frames: Mapping[str, pd.DataFrame], formats: Sequence[Format]
) -> Iterator[tuple[str, bytes]]:
    """Yield the name and the bytes of each file of a report."""
    if "html" in formats:
        tables = [f"{name}.csv" for name in frames] if "csv" in formats else []
        yield "report.html", render(assessment, frames, tables)
    if "oscal" in formats:
        yield "controls.oscal.json", oscal_bytes(assessment, frames)
    for name, frame in frames.items():
        if "csv" in formats:
            yield f"{name}.csv", csv_bytes(frame)
        if "parquet" in formats:
            yield f"{name}.parquet", parquet_bytes(frame, BY_NAME[name])
