"""Packs that nothing needs go from every store; where nothing may be deleted, they wait."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from qdrant_dr.records import Manifest
from qdrant_dr.repository import (
    ORPHAN_GRACE,
    PackPlan,
    Repository,
    open_repository,
    plan_packs,
    read_catalog,
    sweep_packs,
)
from qdrant_dr.repository.chunked import ChunkedRepository
from qdrant_dr.repository.pack_dependents import read_users
from qdrant_dr.repository.pack_repair import Elsewhere, bad_packs, repair_packs
from tests.support import records as made
from tests.support.denying import add_only
from tests.support.stores import Place, repository_in
from tests.support.vaults import backed_up, content, let_go

FIRST, SECOND = made.NOW - timedelta(hours=30), made.NOW - timedelta(hours=6)


def vault_in(place: Place) -> ChunkedRepository:
    found = repository_in(place.config("vault"), kind="chunked")
    assert isinstance(found, ChunkedRepository)
    return found


def planned(vault: Repository, *, after: timedelta) -> PackPlan:
    """What a sweep of then would take, if nothing else happened."""
    catalog = read_catalog([vault], cluster="prod")
    return plan_packs(vault, catalog, store_now=datetime.now(UTC) + after)


def read(vault: Repository, of: Manifest) -> bytes:
    return b"".join(vault.read_verified(of.key, of.parts[0]))


def test_what_only_the_expired_needed_goes_and_the_rest_stays(place: Place) -> None:
    vault = vault_in(place)
    first = backed_up(vault, numbers=range(1, 4), at=FIRST)
    second = backed_up(vault, numbers=range(2, 6), at=SECOND)
    let_go(vault, second)
    assert planned(vault, after=ORPHAN_GRACE - timedelta(hours=1)) == PackPlan()
    plan = planned(vault, after=ORPHAN_GRACE + timedelta(hours=1))
    (pack,) = plan.packs
    assert pack.path.endswith(f"{second.backup_id}-1.pack")
    done = sweep_packs(vault, plan)
    assert (done.freed_bytes, done.hidden_bytes) == (pack.size_bytes, 0)
    assert vault.store.stat(pack.path) is None
    assert read(vault, first) == content(range(1, 4))
    assert planned(vault, after=9 * ORPHAN_GRACE) == PackPlan()


def test_where_a_key_may_only_add_packs_wait_for_another(place: Place) -> None:
    with add_only(place) as adding:
        cfg = adding.config("vault")
        vault = repository_in(cfg, kind="chunked")
        of = backed_up(vault, numbers=range(1, 4), at=FIRST)
        may = cfg.model_copy(update={"id": vault.id, "options": place.options})
        deleting = open_repository(may, stall_timeout=timedelta(seconds=60))
        let_go(deleting, of)
        plan = planned(vault, after=ORPHAN_GRACE + timedelta(hours=1))
        done = sweep_packs(vault, plan)
        assert done.removed == ()
        assert done.hidden_bytes == plan.packs[0].size_bytes
        assert "that nothing needs stay" in done.remarks[0]
        later = planned(deleting, after=ORPHAN_GRACE + timedelta(hours=1))
        assert later == plan
        assert sweep_packs(deleting, later).freed_bytes == plan.packs[0].size_bytes
        assert deleting.store.find("packs") == []


def test_a_pack_is_mended_in_its_place(place: Place) -> None:
    vault, other = vault_in(place), vault_in(place)
    of = backed_up(vault, other, numbers=range(1, 6), at=FIRST)
    recipe = vault.read_recipe(of.key, of.parts[0].file)
    (name,) = recipe.packs
    vault.store.delete(vault.list_packs(of.key)[name].path)
    bad = bad_packs(vault, of.key, [name])
    users = read_users(vault, of.key, datetime.now(UTC))
    done = repair_packs(
        vault, of.key, bad, users, lambda *_: [Elsewhere(other, of.key, of.parts[0])]
    )
    assert done.repaired == (name,)
    assert read(vault, of) == content(range(1, 6))
