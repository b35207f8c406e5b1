"""Whether an encrypted repository can be opened tomorrow, too."""

from __future__ import annotations

from qdrant_dr import layout
from qdrant_dr.config import RepositoryConfig
from qdrant_dr.errors import BoxDamaged, DRError
from qdrant_dr.jobs.check.rows import CheckRow, degraded, failed, ok
from qdrant_dr.repository import Repository
from qdrant_dr.repository.keyrings import look_for_unknown_keys, opening_slots, read_slots
from qdrant_dr.vault.box import open_bytes, seal_bytes
from qdrant_dr.vault.key_slots import slots_in_words

_PROBE = f"{layout.PROBES}/key"
_SAID = b"what a slot opens"


def check_keys(scope: str, cfg: RepositoryConfig, repository: Repository) -> CheckRow:
    """Open a slot of the newest key anew, encrypt with it and decrypt again; compare it with what
    the newest packs are encrypted with. One slot is a warning, and so is an old `key_id`."""
    keys = repository.keys
    if keys is None:
        raise ValueError(f"{repository.name} is not encrypted")
    newest = keys.ids[-1]
    try:
        slots = [s for s in read_slots(repository).records if s.key_id == newest]
        opening = opening_slots(slots, cfg)
        look_for_unknown_keys(repository)
        if open_bytes(_PROBE, seal_bytes(_PROBE, _SAID, keys), keys) != _SAID:
            raise BoxDamaged(f"key {newest} does not decrypt what it encrypted")
    except DRError as e:
        return failed(scope, "key", e)
    found = f"key {newest}: {len(opening)} of {len(slots)} slots opened with the configured secret"
    if not opening:  # an exported key
        return degraded(scope, "key", found, _ANOTHER.format(name=cfg.name, why="can be lost"))
    if cfg.key_id != newest:
        why = f"key {newest} replaced {cfg.key_id}, which the configuration names as `key_id`"
        return degraded(scope, "key", f"{found}; {why}", _PIN.format(name=cfg.name, key=newest))
    if len(slots) == 1:
        why = "is the only one"
        return degraded(
            scope,
            "key",
            f"{found}: {slots_in_words(slots)}",
            _ANOTHER.format(name=cfg.name, why=why),
        )
    return ok(scope, "key", found)


_PIN = (
    'put `key_id: "{key}"` below `name: {name}` (`qdrant-dr key list {name}` shows the keys): else '
    "who has the old key and may delete slots could bring it back."
)
_ANOTHER = (
    "the secret {why}, and with it every backup here: run `qdrant-dr key add {name} --secret "
    "file:PATH --label WHERE`, and keep that secret elsewhere."
)
