"""Amounts of money -> words for people. Whatever shows USD to a person takes its form from here."""

from __future__ import annotations

from decimal import Decimal

PICO = 10**12
_LEAST_DIGITS = 2
"""Of an amount too small for the decimals that it would have."""


def pico(usd: float) -> int:
    return round(usd * PICO)


def usd_words(pico_usd: int, decimals: int | None = None) -> str:
    """Cents from a dollar on, four decimals below it, or as many as are asked for; more where a small amount would look
    like nothing.

    >>> usd_words(6_870_000_000_000), usd_words(4_900_000_000), usd_words(30_000_000), usd_words(0)
    ('$6.87', '$0.0049', '$0.00003', '$0.00')
    >>> usd_words(6_870_000_000_000, decimals=4), usd_words(123_456, decimals=4), usd_words(0, decimals=4)
    ('$6.8700', '$0.00000012', '$0.0000')
    """
    usd = abs(Decimal(pico_usd).scaleb(-12))
    if decimals is None:
        decimals = 2 if usd >= 1 or usd == 0 else 4
    sign = "-" if pico_usd < 0 else ""
    text = f"{usd:,.{decimals}f}"
    return f"{sign}${text}" if usd == 0 or text.strip("0.") else f"{sign}${_first_digits(usd)}"


def paid_words(pico_usd: int) -> str:
    """What something has cost, to a hundredth of a cent, so that the parts of a bill add up."""
    return usd_words(pico_usd, decimals=4)


def _first_digits(usd: Decimal) -> str:
    decimals = _LEAST_DIGITS - 1 - usd.adjusted()
    return f"{usd:.{decimals}f}".rstrip("0")


def usd_apart(pico_usd: int, other: int) -> tuple[str, str]:
    """Two sums in words that show how they differ.

    >>> usd_apart(1_912_300_000, 1_912_200_000)
    ('$0.0019123', '$0.0019122')
    """
    words = usd_words(pico_usd), usd_words(other)
    if words[0] != words[1] or pico_usd == other:
        return words
    exact = [f"{Decimal(usd).scaleb(-12):,.12f}".rstrip("0") for usd in (pico_usd, other)]
    return f"${exact[0]}", f"${exact[1]}"


def limit_words(usd: float) -> str:
    """What somebody wrote down, with all of its digits.

    >>> limit_words(10.0), limit_words(0.125), limit_words(1000)
    ('$10.00', '$0.125', '$1,000.00')
    """
    return f"${at_least_cents(Decimal(str(usd)))}"


def at_least_cents(amount: Decimal) -> str:
    """
    >>> at_least_cents(Decimal("2.5")), at_least_cents(Decimal("0.125"))
    ('2.50', '0.125')
    """
    text = f"{amount.normalize():,f}"
    return text if len(text.partition(".")[2]) > 2 else f"{amount:,.2f}"


def usd_exact(pico_usd: int) -> str:
    """For machines, without a sign of the currency: 0.0205."""
    return f"{Decimal(pico_usd).scaleb(-12).normalize():f}"
