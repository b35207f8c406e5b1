"""`python -m qdrant_dr.sandbox --port 0 --data DIR`."""

from __future__ import annotations

from qdrant_dr.sandbox.main import main

main()
