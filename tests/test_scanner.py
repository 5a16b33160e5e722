"""What a scan decides: which block is next, what left the best chain, what a block pays to us."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chains import scanner
from chains.node import Block, BlockId, Payment
from chains.scanner import (
    Beyond,
    Converted,
    Depth,
    Extends,
    Fork,
    Found,
    Known,
    NeedsParent,
    Trail,
    Verdict,
    connect,
    next_height,
)


def block(height: int, branch: str = "a", parent_branch: str | None = None, *payments: Payment) -> Block:
    """A block called after its height and branch."""
    parent = f"{height - 1}{parent_branch or branch}"
    return Block(BlockId(height, f"{height}{branch}"), parent, 0, payments)


def trail(first: int, last: int, branch: str = "a") -> Trail:
    """These heights of a branch."""
    return Trail(tuple(BlockId(height, f"{height}{branch}") for height in range(first, last + 1)))


# Which block is next --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("head", "birthday", "expected"),
    [
        (BlockId(9, "9a"), 0, 0),
        (BlockId(9, "9a"), 9, 9),
        (BlockId(9, "9a"), 10, None),
    ],
)
def test_the_first_block_is_the_birthday(head: BlockId, birthday: int, expected: int | None) -> None:
    """Once the chain has come so far."""
    assert next_height(Trail(), head, birthday) == expected


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (BlockId(9, "9a"), 6),
        (BlockId(6, "6b"), 6),
        (BlockId(5, "5a"), None),
        (BlockId(5, "5b"), 5),
        (BlockId(4, "4a"), None),
        (BlockId(4, "4b"), 4),
        (BlockId(1, "1a"), None),
    ],
)
def test_then_the_one_above_the_end_or_a_better_branch(head: BlockId, expected: int | None) -> None:
    """A head on the trail is that of a node that lags; one far below it says nothing."""
    assert next_height(trail(2, 5), head, 0) == expected


# What a block says about the trail ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("walked", "expected"),
    [
        ([block(6)], Extends(block(6))),
        ([block(5)], Known()),
        ([block(3)], Known()),
        ([block(6, "b", "a")], Extends(block(6, "b", "a"))),
        ([block(6, "b")], NeedsParent("5b")),
        ([block(6, "b"), block(5, "b")], NeedsParent("4b")),
        ([block(6, "b"), block(5, "b", "a")], Fork(BlockId(4, "4a"), (BlockId(5, "5a"),))),
        (
            [block(5, "b"), block(4, "b"), block(3, "b", "a")],
            Fork(BlockId(2, "2a"), (BlockId(5, "5a"), BlockId(4, "4a"), BlockId(3, "3a"))),
        ),
        ([block(4, "b", "a")], Fork(BlockId(3, "3a"), (BlockId(5, "5a"), BlockId(4, "4a")))),
        ([block(4, "b"), block(3, "b")], Beyond(2)),
        ([block(2, "b")], Beyond(2)),
    ],
)
def test_what_a_walk_back_finds(walked: list[Block], expected: Verdict) -> None:
    """It goes on, knows it, walks farther, finds the ancestor, or has come to the end of what is remembered."""
    assert connect(trail(2, 5), walked) == expected


def test_any_block_begins_an_empty_trail() -> None:
    """There is nothing to contradict it."""
    assert connect(Trail(), [block(7)]) == Extends(block(7))


@given(st.lists(st.tuples(st.integers(1, 12), st.integers(1, 6)), max_size=12), st.integers(3, 40))
def test_a_trail_follows_the_best_chain_through_any_reorganisations(reorgs: list[tuple[int, int]], keep: int) -> None:
    """After each, walking by the rules ends at the new head, or says that it reaches too far back."""
    best = [block(height) for height in range(10)]
    known = {each.id.hash: each for each in best}
    followed = Trail(tuple(each.id for each in best[-keep:]))
    for number, (depth, length) in enumerate(reorgs):
        best = best[: max(1, len(best) - depth)]
        for _ in range(length):
            parent = best[-1]
            height = parent.id.height + 1
            best.append(Block(BlockId(height, f"{height}-{number}"), parent.id.hash, 0, ()))
            known[best[-1].id.hash] = best[-1]
        head = best[-1].id
        while (height_or_none := next_height(followed, head, 0)) is not None:
            walked = [best[height_or_none]]
            while isinstance(verdict := connect(followed, walked), NeedsParent):
                walked.append(known[verdict.hash])
                assert scanner.is_linked(walked[-2], walked[-1])
            match verdict:
                case Extends():
                    followed = followed.extended(verdict.block.id, keep)
                case Fork():
                    assert best[verdict.ancestor.height].id == verdict.ancestor
                    assert not {each.hash for each in verdict.gone} & {each.id.hash for each in best}
                    followed = followed.back_to(verdict.ancestor)
                case _:
                    assert isinstance(verdict, Beyond)
                    assert best[verdict.height].id != followed.blocks[0]
                    followed = Trail()
            followed.check()
        if followed.end is None or followed.end != head:
            # A node that lags far behind looks the same: it is waited for until it is ahead again.
            assert followed.blocks[0].height > head.height


def test_a_trail_with_a_gap_is_a_bug() -> None:
    """And said to be one."""
    with pytest.raises(AssertionError, match="height 4 after 2"):
        Trail((BlockId(2, "2a"), BlockId(4, "4a"))).check()


# Depth ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("amount", "blocks"), [(1, 2), (99, 2), (100, 6), (1_000, 30), (10**9, 30)])
def test_larger_amounts_lie_deeper(amount: int, blocks: int) -> None:
    """By tiers; exactly so many blocks on top are enough."""
    depth = Depth(2, ((100, 6), (1_000, 30)))
    assert depth.of(amount) == blocks
    assert depth.reached(amount, 50, 50 + blocks)
    assert not depth.reached(amount, 50, 49 + blocks)
    assert depth.deepest == 30


@pytest.mark.parametrize("tiers", [((100, 1),), ((100, 6), (100, 7)), ((100, 6), (50, 7)), ((0, 5),)])
def test_tiers_that_do_not_rise_are_refused(tiers: tuple[tuple[int, int], ...]) -> None:
    """In amount and in depth."""
    with pytest.raises(ValueError, match="tiers"):
        Depth(2, tiers)


# Payments -------------------------------------------------------------------------------------------------------------


def test_what_a_block_pays_to_us() -> None:
    """Each payment to an address of ours, in order; nothing is no payment."""
    payments = (
        Payment("t1", 0, "ours", 5),
        Payment("t1", 1, "other", 6),
        Payment("t1", 2, "ours", 7),
        Payment("t2", 0, "ours too", 0),
        Payment("t3", 0, "ours too", 8),
    )
    found = scanner.deposits(block(1, "a", None, *payments), {"ours": 1, "ours too": 2})
    assert found == (Found(payments[0], 1), Found(payments[2], 1), Found(payments[4], 2))
    assert scanner.deposit_id("bitcoin", payments[2]) == "bitcoin:t1:2"


@pytest.mark.parametrize(
    ("base_units", "decimals", "scale", "expected"),
    [
        (123, 8, 8, Converted(123, 0)),
        (1_999_999_999, 18, 9, Converted(1, 999_999_999)),
        (999_999_999, 18, 9, Converted(0, 999_999_999)),
        (7, 0, 2, Converted(700, 0)),
        (0, 18, 9, Converted(0, 0)),
    ],
)
def test_amounts_are_converted_down(base_units: int, decimals: int, scale: int, expected: Converted) -> None:
    """What is too small for the engine is dust."""
    assert scanner.to_engine(base_units, decimals, scale) == expected


@given(st.integers(0, 2**62), st.integers(0, 30), st.integers(0, 9))
def test_what_is_converted_up_comes_down_again(amount: int, decimals: int, scale: int) -> None:
    """Exactly, or it is refused."""
    try:
        up = scanner.to_chain(amount, decimals, scale)
    except ValueError:
        assert amount % 10 ** (scale - decimals)
        return
    assert scanner.to_engine(up, decimals, scale) == Converted(amount, 0)
