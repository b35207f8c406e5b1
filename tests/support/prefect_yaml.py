"""prefect.yaml, read."""

from __future__ import annotations

from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]


TEXT = (ROOT / "prefect.yaml").read_text()


SPEC = yaml.safe_load(TEXT)
