"""The Prefect project of this package: the flows, their tasks, and what deploys them.

In a checkout they are top-level folders beside this package. A wheel carries them as data below
`_project`: its one top-level name is ours, so no other package overwrites `flows` or `tasks`, and
no folder of that name where somebody happens to work stands in front of them. Whoever needs the
project enters it: the commands that speak to Prefect, each flow run by the pull step of its
deployment, and each Dask worker. This module knows where it lies, and imports nothing of it.
"""

from __future__ import annotations

import importlib
import sys
import warnings
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

from qdrant_dr.errors import ProjectMissing, ProjectShadowed
from qdrant_dr.version import __version__

CARRIED = "_project"
FOLDERS = ("flows", "tasks", "deployments")


def folder() -> Path:
    """Find it, in a wheel or in a checkout. Raise ProjectMissing."""
    package = Path(__file__).resolve().parent
    carried = package / CARRIED
    found = carried if carried.is_dir() else package.parent
    lacking = [n for n in FOLDERS if not (found / n / "__init__.py").is_file()]
    # folders of these names may lie beside the package of anybody: prefect.yaml does not
    if lacking or not (found / "prefect.yaml").is_file():
        raise ProjectMissing(
            f"the qdrant-dr {__version__} of {sys.prefix} has no Prefect project: "
            f"{found} lacks {', '.join(lacking) or 'prefect.yaml'}"
        )
    return found


def enter() -> Path:
    """Put the project in front of all that can be imported, in this process.

    Raise ProjectMissing, or ProjectShadowed if a name of it leads elsewhere all the same.
    """
    found = folder()
    sys.path[:] = [str(found), *(entry for entry in sys.path if entry != str(found))]
    importlib.invalidate_caches()
    for name in FOLDERS:
        if (lies := _origin(name)) != found / name:
            raise ProjectShadowed(
                f"`{name}` is {lies or 'no package'} in this process, and not {found / name}"
            )
    return found


def load(name: str) -> ModuleType:
    """Import a module of the project. Raise ProjectMissing, ProjectShadowed."""
    enter()
    return importlib.import_module(name)


def pull(version: str = "") -> dict[str, str]:
    """Enter the project: the pull step of every deployment, which Prefect calls on the worker.

    Args:
        version: Of the qdrant-dr that made the deployment. Another one here is told, and no reason
            to leave a backup out: between the upgrade of a worker and that of its deployments
            nights go by.
    """
    entered = enter()
    if version and version != __version__:
        # what a pull step warns of, Prefect writes into the log of the run
        warnings.warn(
            f"this worker has qdrant-dr {__version__}, the deployment is of {version}: install "
            f"one version on both, then run `qdrant-dr up`",
            stacklevel=2,
        )
    return {"directory": str(entered)}


def _origin(name: str) -> Path | None:
    """Where a top-level package lies, or would be imported from."""
    loaded = sys.modules.get(name)
    if loaded is not None:
        file = getattr(loaded, "__file__", None)
        return Path(file).resolve().parent if file else None
    spec = find_spec(name)
    return Path(spec.origin).resolve().parent if spec and spec.origin else None
