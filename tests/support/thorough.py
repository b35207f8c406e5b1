"""What is left out of every-day runs, to keep them under ten minutes."""

from __future__ import annotations

import os

import pytest

thorough = pytest.mark.skipif(
    not os.environ.get("QDR_THOROUGH"), reason="takes long: set QDR_THOROUGH=1"
)
