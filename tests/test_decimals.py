"""Decimal text: what is taken, what is refused and why, and that nothing is lost on the way out and back."""

import contextlib
from decimal import Decimal

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from book.decimals import MAX_CHARACTERS, NotADecimal, TooPrecise, format_units, parse_units


@pytest.mark.parametrize(
    ("text", "scale", "units"),
    [
        ("0", 0, 0),
        ("0", 8, 0),
        ("0.0", 0, 0),
        ("1", 8, 100_000_000),
        ("0.00000001", 8, 1),
        ("50000.01", 2, 5_000_001),
        ("007.50", 1, 75),
        ("1.10000000000", 1, 11),
        ("3.000", 0, 3),
        ("9" * 40, 0, 10**40 - 1),
        ("9" * 20 + "." + "9" * 19, 19, 10**39 - 1),
        ("1" + "0" * 39, 18, 10**57),
    ],
)
def test_reads_a_decimal_exactly(text: str, scale: int, units: int) -> None:
    """A well-formed decimal becomes the exact number of units, however large."""
    assert parse_units(text, scale) == units


@pytest.mark.parametrize(
    "text",
    [
        *("", ".", "1.", ".1", "1..2", "1.2.3", "+1", "-1", "-0", "1e3", "1E3", "1_0", "1,5", " 1", "1 ", "1\n", "0x1"),
        *("1. 5", "1.+5", "1.-5", "1._5", "1._", "NaN", "nan", "inf", "Infinity", "\x00", "1\x00", "\ud800"),
        *("١", "1.١", "²", "1.²", "\uff11", "1.\uff11", "1\u00a0"),  # noqa: RUF001 -- digits that int() or isdigit() take
        *("0" * 41, "0." + "0" * 39, "9" * 10_000),
    ],
)
def test_refuses_what_is_not_a_decimal(text: str) -> None:
    """Signs, exponents, spaces, other alphabets' digits, half a number and over-long text are not numbers."""
    with pytest.raises(NotADecimal):
        parse_units(text, 8)


@pytest.mark.parametrize(("text", "scale"), [("0.1", 0), ("1.01", 1), ("0.000000001", 8), ("1.00000000000001", 6)])
def test_refuses_more_decimals_than_there_are(text: str, scale: int) -> None:
    """A non-zero digit beyond the scale is its own error, never rounded away."""
    with pytest.raises(TooPrecise):
        parse_units(text, scale)


@pytest.mark.parametrize(
    ("units", "scale", "text"),
    [(0, 0, "0"), (0, 2, "0.00"), (1, 2, "0.01"), (10, 2, "0.10"), (100, 2, "1.00"), (12, 0, "12"), (-5, 3, "-0.005")],
)
def test_writes_exactly_the_decimals_of_the_scale(units: int, scale: int, text: str) -> None:
    """Text always has the decimals of its unit, no more and no fewer."""
    assert format_units(units, scale) == text


@given(st.integers(0, 10**38), st.integers(0, 18))
@example(0, 18)
@example(10**18, 18)
def test_reading_undoes_writing(units: int, scale: int) -> None:
    """Whatever is written is read back as the same number."""
    text = format_units(units, scale)
    if len(text) <= MAX_CHARACTERS:
        assert parse_units(text, scale) == units


@given(st.text(alphabet="0123456789.", max_size=12), st.integers(0, 9))
def test_agrees_with_decimal_arithmetic(text: str, scale: int) -> None:
    """Where the standard library's exact decimals can read a text, both agree on its value."""
    try:
        units = parse_units(text, scale)
    except TooPrecise:
        assert Decimal(text).scaleb(scale) % 1 != 0
    except NotADecimal:
        assert not (text.replace(".", "", 1).isdigit() and text[0] != "." and text[-1] != ".")
    else:
        assert Decimal(text).scaleb(scale) == units


@given(st.text(max_size=60), st.integers(0, 18))
def test_any_text_gives_a_number_or_one_of_two_errors(text: str, scale: int) -> None:
    """No text at all makes the parser fail in another way."""
    with contextlib.suppress(NotADecimal, TooPrecise):
        assert parse_units(text, scale) >= 0
