"""Client order ids: what is one, who keeps it, when it is free again."""

import pytest

from book.client_order_ids import FINISHED_IDS, ClientOrderIds, is_client_order_id


@pytest.mark.parametrize("text", ["a", "Z9", "a.b_c:d/e-f", "x" * 36, "auto-1"])
def test_these_are_client_order_ids(text: str) -> None:
    """Letters, digits and a few marks, up to 36."""
    assert is_client_order_id(text)


@pytest.mark.parametrize("text", ["", "x" * 37, "a b", "a\n", "\n", "ä", "a\x00", "\ud800", "\u0661", "a" * 1_000])
def test_these_are_not(text: str) -> None:
    """Empty, over-long, spaces, line ends, other alphabets and lone surrogates."""
    assert not is_client_order_id(text)


def test_an_id_is_kept_while_the_order_lives_and_for_the_last_finished_ones() -> None:
    """The id that ended first becomes free when one more than the bound has ended; a live one never does."""
    ids = ClientOrderIds()
    ids.claim("live", 1)
    for number in range(2, FINISHED_IDS + 2):
        ids.finish(ids.claim(f"order-{number}", number))
    assert ids.get("order-2") == 2
    ids.finish(ids.claim("one-more", FINISHED_IDS + 2))
    assert ids.get("order-2") == 0
    assert ids.get("order-3") == 3
    assert ids.get("live") == 1
    assert len(ids.finished()) == FINISHED_IDS
    ids.check({"live": 1})


def test_an_id_is_made_where_the_client_gave_none() -> None:
    """The made id follows from the order id."""
    assert ClientOrderIds().claim("", 7) == "auto-7"


def test_a_made_id_steps_aside_for_one_a_client_chose() -> None:
    """Whatever a client calls its orders, a made id is another."""
    ids = ClientOrderIds()
    ids.claim("auto-7", 1)
    ids.claim("auto-7-1", 2)
    assert ids.claim("", 7) == "auto-7-2"
    assert ids.get("auto-7") == 1
    assert ids.get("auto-7-2") == 7


def test_check_finds_ids_that_are_not_those_of_the_live_orders() -> None:
    """A forgotten id, one too many, one of another order, one finished twice, one that finished unclaimed."""
    ids = ClientOrderIds()
    ids.claim("a", 1)
    ids.finish(ids.claim("b", 2))
    ids.check({"a": 1})
    for live in ({}, {"a": 2}, {"a": 1, "c": 3}):
        with pytest.raises(AssertionError):
            ids.check(live)
    ids.finish("b")
    with pytest.raises(AssertionError):
        ids.check({"a": 1})


def test_check_finds_an_id_forgotten_too_early() -> None:
    """A finished order's id is remembered until the bound forgets it."""
    ids = ClientOrderIds()
    ids.finish(ids.claim("b", 2))
    del ids._order_ids["b"]
    with pytest.raises(AssertionError):
        ids.check({})
