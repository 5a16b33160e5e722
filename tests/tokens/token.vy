# pragma version ~=0.4.0
# A token that keeps to ERC-20 or breaks it, as its maker chooses. For tests; tests/tokens/compile.py makes token.json.

event Transfer:
    sender: indexed(address)
    receiver: indexed(address)
    amount: uint256

HONEST: constant(uint256) = 0
KEEPS_A_TENTH: constant(uint256) = 1  # of every transfer; its log tells the whole
ONLY_LOGS: constant(uint256) = 2  # says that it moved what it did not
RETURNS_FALSE: constant(uint256) = 3  # and does nothing
RETURNS_NOTHING: constant(uint256) = 4  # as USDT does

decimals: public(uint8)
balanceOf: public(HashMap[address, uint256])
manner: uint256


@deploy
def __init__(manner: uint256, decimals: uint8, supply: uint256):
    self.manner = manner
    self.decimals = decimals
    self.balanceOf[msg.sender] = supply
    log Transfer(sender=empty(address), receiver=msg.sender, amount=supply)


@internal
def _move(receiver: address, amount: uint256) -> bool:
    if self.manner == RETURNS_FALSE:
        return False
    if self.manner != ONLY_LOGS:
        self.balanceOf[msg.sender] -= amount
        self.balanceOf[receiver] += amount - (amount // 10 if self.manner == KEEPS_A_TENTH else 0)
    log Transfer(sender=msg.sender, receiver=receiver, amount=amount)
    return True


@external
@raw_return
def transfer(receiver: address, amount: uint256) -> Bytes[32]:
    moved: bool = self._move(receiver, amount)
    if self.manner == RETURNS_NOTHING:
        return b""
    return abi_encode(moved)


@external
def twice(receiver: address, amount: uint256):
    self._move(receiver, amount)
    self._move(receiver, amount)


@external
def fail(receiver: address, amount: uint256):
    self._move(receiver, amount)
    raise "after all"
