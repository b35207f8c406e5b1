"""How often a call to a cloud is retried after a 503 `SlowDown` and the like, and after what wait.

Each provider's client retries by itself; here is how. All of it ends before our own deadlines
(`objects.py`), else the error would be "no answer in time" although the store answered with a
reason. What an answer means is told by `codes.py`. An error that stays is `transient`: Prefect
begins its unit again, see `RETRIED` in `tasks/unit_tasks.py`.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any, Final

S3_CLIENT: Final[Mapping[str, Any]] = {"max_attempts": 2, "mode": "standard"}
"""Of botocore: `max_attempts` counts retries here, and it waits by its standard mode."""
S3FS_RETRIES: Final = 2
"""Of s3fs, on top of the client's own: more would take longer than any deadline."""

GCS_PAUSES: Final = (0.5, 1.5, 3.0)
"""Seconds before each further try of a temporary error; their sum stays below any deadline."""
GCS_TEMPORARY: Final = frozenset({408, 429, 500, 502, 503, 504})
_GCS_LONGEST_PAUSE = 10.0

AZURE_LINEAR: Final[Mapping[str, Any]] = {"backoff": 2, "retry_total": 2, "random_jitter_range": 1}
"""Of `LinearRetry`: seconds between tries, retries, and seconds by which they vary. Azure's own
policy waits 15 seconds before the first one."""


def gcs_pause(pause: float, headers: Mapping[str, str]) -> float:
    """Return how long to wait: what `Retry-After` asks for, at most ten seconds, or else `pause`,
    varied."""
    text = headers.get("Retry-After", "")
    asked = min(float(text), _GCS_LONGEST_PAUSE) if text.isdecimal() else None
    return asked or pause * random.uniform(0.7, 1.3)
