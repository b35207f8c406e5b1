"""What a child process of ours gets of our environment: what it needs to run, and no key.

Engines and scratch servers open bytes that came from a bucket. Whatever they are made to do, or
write into a crash report, no key of the cluster, the clouds or Prefect is in their hands. So names
are passed that are known to be harmless, and not the contrary. Open files are not passed either.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping

_NEEDED = frozenset({
    "PATH", "HOME", "USER", "LOGNAME", "LANG", "LANGUAGE", "TZ", "TZDIR", "TMPDIR",
    "LD_LIBRARY_PATH", "LD_PRELOAD", "DYLD_LIBRARY_PATH", "VIRTUAL_ENV", "NO_COLOR",
})  # fmt: skip
_KINDS = (
    "LC_", "PYTHON", "RUST_", "RAYON_", "OMP_", "OPENBLAS_", "MKL_", "MALLOC_", "COV_", "COVERAGE",
    "FAKETIME",
)  # fmt: skip
SERVER = ("QDRANT__",)
"""Settings of a Qdrant server, for a scratch server that is not to run with the usual ones."""
DOCKER = ("DOCKER_", "CONTAINER_", "XDG_RUNTIME_DIR", "SSH_AUTH_SOCK")
"""Where the daemon is, and who may speak to it."""
_SECRET = re.compile(r"KEY|TOKEN|SECRET|PASSW|CREDENTIAL", re.IGNORECASE)


def bare_environment(
    settings: Mapping[str, str], *, also: tuple[str, ...] = (), importing: bool = True
) -> dict[str, str]:
    """Ours without its secrets, and `settings` over it; names that begin as `also` says are passed,
    too, unless they look like a secret's. `importing`: it finds the modules that we find."""
    passed = {
        name: value
        for name, value in os.environ.items()
        if (name in _NEEDED or name.startswith((*_KINDS, *also))) and not _SECRET.search(name)
    }
    if importing:
        passed["PYTHONPATH"] = os.pathsep.join(p for p in sys.path if p)
    return {**passed, **settings}
