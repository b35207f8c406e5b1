"""The second process of `jobs.check`: lists a folder of a store that stdin describes.

Secrets arrive as references and are resolved here, so none passes through a pipe. It does not stand
in `jobs.check`: importing that would be a third of its time.
"""

from __future__ import annotations

import sys
from datetime import timedelta

from qdrant_dr.config import RepositoryConfig
from qdrant_dr.errors import DRError
from qdrant_dr.repository.open_store import open_store


def main() -> int:
    """Print one path per line."""
    cfg = RepositoryConfig.model_validate_json(sys.stdin.read())
    try:
        found = open_store(cfg, stall_timeout=timedelta(seconds=30)).find(sys.argv[1])
    except DRError as e:
        sys.stderr.write(e.message + "\n")
        return e.exit_code
    sys.stdout.writelines(f"{there.path}\n" for there in found)
    return 0


if __name__ == "__main__":
    sys.exit(main())
