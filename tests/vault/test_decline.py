"""What is not reused: damage at once, the rest within a share of the stream, the emptiest first."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from qdrant_dr.vault.box import build_box, make_block, read_table
from qdrant_dr.vault.decline import LEAST_USE, SHARE, PackUse, declined, use_of

MIB = 2**20
uses = st.builds(
    lambda name, size, share: PackUse(f"p{name}", size, round(size * share)),
    st.integers(0, 99), st.integers(0, 32 * MIB), st.floats(0, 1),
)  # fmt: skip
several = st.lists(uses, unique_by=lambda p: p.name, max_size=20)


@given(several, st.integers(0, 2**36))
def test_only_what_is_hardly_used_goes_within_its_share(packs: list[PackUse], stream: int) -> None:
    found = declined(packs, stream_bytes=stream)
    chosen = [p for p in packs if p.name in found]
    assert all(p.use < LEAST_USE for p in chosen)
    assert len(chosen) <= 1 or sum(p.used_bytes for p in chosen) <= SHARE * stream
    left = [p for p in packs if p.use < LEAST_USE and p.name not in found]
    assert all(c.use <= p.use for c in chosen for p in left)
    assert bool(chosen) == any(p.use < LEAST_USE for p in packs)


@given(several)
def test_damage_is_never_reused_whatever_it_costs(packs: list[PackUse]) -> None:
    found = declined(packs, stream_bytes=0, damaged={p.name for p in packs}, share=0)
    assert found == {p.name: "damaged" for p in packs}


def test_another_key_comes_before_what_is_hardly_used() -> None:
    old = PackUse("old", MIB, MIB, b"one")
    empty = PackUse("empty", MIB, 0, b"two")
    sparse = PackUse("sparse", MIB, MIB // 4, b"two")
    found = declined([sparse, old, empty], stream_bytes=20 * MIB, newest_key=b"two")
    assert found == {"old": "other-key", "empty": "hardly-used"}
    assert declined([old], stream_bytes=20 * MIB) == {}


def test_a_block_counts_once_however_often_it_is_used() -> None:
    blocks = [make_block(bytes([n]) * 4096 + n.to_bytes(3, "big") * 5000) for n in range(10)]
    box = build_box("packs/a/b/c", blocks, None)
    table = read_table("packs/a/b/c", box, len(box), None)
    use = use_of("c", table, [(0, 3), (2, 2), (2, 2)])
    assert use.size_bytes == sum(len(b.stored) for b in blocks)
    assert use.used_bytes == sum(len(b.stored) for b in blocks[:4])
