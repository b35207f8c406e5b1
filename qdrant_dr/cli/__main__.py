"""`python -m qdrant_dr.cli`."""

from __future__ import annotations

import sys

from qdrant_dr.cli import main

if __name__ == "__main__":
    sys.exit(main())
