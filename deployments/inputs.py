"""What `qdrant-dr up` is to set up, read and checked as a whole before anything is touched."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deployments import prefect_yaml
from deployments.prefect_yaml import CLUSTER
from qdrant_dr.config import Config
from qdrant_dr.configfile import DEFAULT, VARIABLE
from qdrant_dr.errors import ConfigInvalid, UsageError
from tasks.config import is_file, load

POOL = "QDR_WORK_POOL"
NOTIFY = "QDR_NOTIFY"
DEFAULT_POOL = "qdrant-dr"


@dataclass(frozen=True)
class Asked:
    """A configuration, the pool, and the deployments with what they refer to."""

    reference: str
    config: Config
    pool: str
    spec: dict[str, Any]

    @property
    def block(self) -> str | None:
        """Return the name of the block that keeps the text of the file; None if it is no file."""
        return self.config.cluster.name if is_file(self.reference) else None

    def environment(self, environ: Mapping[str, str]) -> dict[str, str]:
        """Return it with all that prefect.yaml may refer to."""
        known = {VARIABLE: self.reference, POOL: self.pool, CLUSTER: self.config.cluster.name}
        return {**environ, **known}


def named(environ: Mapping[str, str]) -> str:
    """Return the reference of the configuration; a path becomes absolute, for workers start
    elsewhere.

    Raise ConfigInvalid if there is none.
    """
    reference = environ.get(VARIABLE) or (DEFAULT if Path(DEFAULT).is_file() else "")
    if not reference:
        raise ConfigInvalid(
            f"there is no ./{DEFAULT}, and {VARIABLE} is not set",
            "`qdrant-dr init --url http://YOUR-QDRANT:6333` writes one; or set "
            f"{VARIABLE} to a path, a URL or block:NAME.",
        )
    return str(Path(reference).expanduser().resolve()) if is_file(reference) else reference


def look(prefect_file: Path, environ: Mapping[str, str], *, worker_here: bool = True) -> Asked:
    """Read and check it all; touch nothing. Raise ConfigInvalid, UsageError.

    `worker_here`: the worker gets this environment, and with it what the configuration refers to.
    """
    reference = named(environ)
    spec = prefect_yaml.read(prefect_file)
    known = {**environ, VARIABLE: reference, CLUSTER: "as the configuration names it"}
    if unset := sorted(v for v in prefect_yaml.variables(spec) if not known.get(v)):
        raise UsageError(
            f"{prefect_file} refers to {', '.join(unset)}, which "
            f"{'is' if len(unset) == 1 else 'are'} not set; Prefect would deploy an empty text",
            f"`export {unset[0]}=...`, then `qdrant-dr up` again.",
        )
    config = load(reference)
    if without := [r.name for r in config.repositories if not r.id]:
        raise ConfigInvalid(
            f"{reference}: repository {', '.join(without)} has no `id`: no backup could run",
            f"`qdrant-dr repository create {without[0]} --save` makes it and writes its id.",
        )
    lacking = sorted(n for n in referred(config) if not environ.get(n))
    if lacking and worker_here:
        raise UsageError(
            f"{reference} refers to env:{', env:'.join(lacking)}, not set here: the worker would "
            "start without",
            f"`export {lacking[0]}=...`, then `qdrant-dr up` again; or refer to a file or a Secret "
            "block.",
        )
    return Asked(reference, config, environ[POOL], spec)


def referred(config: Config) -> set[str]:
    """Return the environment variables that the configuration takes keys from."""
    texts = prefect_yaml.texts_of(config.model_dump())
    return {text.removeprefix("env:") for text in texts if text.startswith("env:")}
