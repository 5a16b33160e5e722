"""What a scan of a chain decides: which block comes next, whether a branch was left, and what a block pays to us. Pure.

Theory of operation. The *trail* is what has been scanned: the last blocks, each the child of the one before. Ahead of
it the next block is found by its height, but it belongs to the trail only if its parent is the trail's end. If not, the
best chain has left the trail: from the new block one walks back, by the hashes of parents, until one lies on the trail.
What is on the trail above that common ancestor is gone and undone in the store, newest block first, and the scan goes
on from the ancestor. As every step is decided by hashes, it does not matter if the node changes its mind in between, or
if another node answers: a block either continues the trail or it does not.

A node may also lag: its head lies on the trail, below the end. Then nothing has happened.
"""

import itertools
from collections.abc import Mapping, Sequence

from attrs import field, frozen
from attrs.validators import ge

from chains.node import Block, BlockId, Payment


@frozen
class Extends:
    """The block continues the trail."""

    block: Block


@frozen
class Known:
    """The block is on the trail: there is nothing new."""


@frozen
class NeedsParent:
    """The walk back has not arrived at the trail yet: fetch the block of this hash."""

    hash: str


@frozen
class Fork:
    """The best chain has left the trail behind `ancestor`; `gone` is no longer part of it, newest first."""

    ancestor: BlockId
    gone: tuple[BlockId, ...]

    @property
    def depth(self) -> int:
        """How many blocks were undone."""
        return len(self.gone)


@frozen
class Beyond:
    """The best chain has left the trail farther back than the trail reaches: nothing can be said about it."""

    height: int
    """Of the oldest block of the trail."""


Verdict = Extends | Known | NeedsParent | Fork | Beyond


@frozen
class Trail:
    """The last scanned blocks, oldest first, without gaps; empty before the first."""

    blocks: tuple[BlockId, ...] = ()

    @property
    def end(self) -> BlockId | None:
        """The newest."""
        return self.blocks[-1] if self.blocks else None

    def at(self, height: int) -> BlockId | None:
        """The block of this height; None outside the trail."""
        if not self.blocks:
            return None
        place = height - self.blocks[0].height
        return self.blocks[place] if 0 <= place < len(self.blocks) else None

    def extended(self, block: BlockId, keep: int) -> "Trail":
        """With one more block, and at most `keep` of them."""
        return Trail((*self.blocks, block)[-keep:])

    def back_to(self, ancestor: BlockId) -> "Trail":
        """Without what is above this block of it."""
        return Trail(tuple(block for block in self.blocks if block.height <= ancestor.height))

    def check(self) -> None:
        """AssertionError where heights are not consecutive."""
        for below, above in itertools.pairwise(self.blocks):
            if above.height != below.height + 1:
                raise AssertionError(f"the trail has height {above.height} after {below.height}")


def next_height(trail: Trail, head: BlockId, birthday: int) -> int | None:
    """The height to look at now; None where all that the node has is scanned.

    A head that is not above the trail's end is looked at only if it is not part of the trail: then it is a branch that
    is shorter and still better. One that is part of it is that of a node that lags.
    """
    end = trail.end
    if end is None:
        return birthday if head.height >= birthday else None
    if head.height > end.height:
        return end.height + 1
    return None if trail.at(head.height) == head or head.height < trail.blocks[0].height else head.height


def connect(trail: Trail, walked: Sequence[Block]) -> Verdict:
    """What a block says about the trail, or the walk back from it.

    Args:
        trail: What was scanned.
        walked: Blocks, newest first, each the parent of the one before. Only the oldest decides.
    """
    oldest, end = walked[-1], trail.end
    if end is None:
        return Extends(oldest)
    if trail.at(oldest.id.height) == oldest.id:
        return Known()
    parent = trail.at(oldest.id.height - 1)
    if parent is not None and parent.hash == oldest.parent:
        if parent == end:
            return Extends(oldest)
        return Fork(parent, tuple(reversed([block for block in trail.blocks if block.height > parent.height])))
    if oldest.id.height - 1 <= trail.blocks[0].height:
        return Beyond(trail.blocks[0].height)
    return NeedsParent(oldest.parent)


def is_linked(child: Block, parent: Block) -> bool:
    """Whether a node that was asked for a parent has given it: hash and height fit."""
    return child.parent == parent.id.hash and child.id.height == parent.id.height + 1


# ---------------------------------------------------------------------------------------------------------------- depth


@frozen
class Depth:
    """How many blocks must lie on top of a payment's own block; more for larger amounts.

    A reorganisation of up to `blocks` blocks never touches what was credited. `tiers` are (amount, blocks) with rising
    amounts, in engine units: from that amount on, so many.
    """

    blocks: int = field(validator=ge(0))
    tiers: tuple[tuple[int, int], ...] = ()

    def __attrs_post_init__(self) -> None:
        rising = ((0, self.blocks), *self.tiers)
        for (less, shallow), (more, deep) in itertools.pairwise(rising):
            if more <= less or deep < shallow:
                raise ValueError(f"tiers: ({more}, {deep}) must be above ({less}, {shallow})")

    def of(self, amount: int) -> int:
        """The depth for this amount."""
        return max([self.blocks, *(blocks for least, blocks in self.tiers if amount >= least)])

    @property
    def deepest(self) -> int:
        """Of any amount."""
        return max([self.blocks, *(blocks for _, blocks in self.tiers)])

    def reached(self, amount: int, height: int, tip: int) -> bool:
        """Whether a payment of this amount in a block of this height may count under a chain that ends at `tip`."""
        return tip - height >= self.of(amount)


# ------------------------------------------------------------------------------------------------------------- payments


@frozen
class Found:
    """A payment to one of our deposit addresses, and whose it is."""

    payment: Payment
    account: int


def deposits(block: Block, owners: Mapping[str, int]) -> tuple[Found, ...]:
    """What a block pays to our deposit addresses, in its order. Payments of nothing are none."""
    return tuple(
        Found(payment, owners[payment.address])
        for payment in block.payments
        if payment.address in owners and payment.amount > 0
    )


def deposit_id(chain: str, payment: Payment) -> str:
    """What the engine and the store call a deposit: the same whichever block has it."""
    return f"{chain}:{payment.txid}:{payment.n}"


@frozen
class Converted:
    """An amount of the chain in engine units, and what is too small for one, in the chain's own."""

    amount: int
    dust: int


def to_engine(base_units: int, decimals: int, scale: int) -> Converted:
    """Convert down: an asset has `decimals` on its chain and `scale` in the engine."""
    if decimals < scale:
        return Converted(base_units * int(10 ** (scale - decimals)), 0)
    return Converted(*divmod(base_units, int(10 ** (decimals - scale))))


def to_chain(amount: int, decimals: int, scale: int) -> int:
    """Convert up; ValueError where an engine unit is less than the chain's smallest."""
    if decimals >= scale:
        return amount * int(10 ** (decimals - scale))
    units, rest = divmod(amount, int(10 ** (scale - decimals)))
    if rest:
        raise ValueError(f"amount: {amount} at scale {scale} is no whole number of units with {decimals} decimals")
    return units
