"""Money is `int` fen (CNY minor units), never a float; shares are `int` basis points (bps).

Fen are divided in two places only: `largest_remainder`, whose parts sum to the amount exactly,
and `floor_share`, whose rest stays where it was. `yuan` is for people's eyes.
"""

from collections.abc import Sequence

BPS = 10_000
FEN_MAX = 10**12  # ten thousand million yuan: far above any order, far below 2**53


def largest_remainder(amount_fen: int, weights: Sequence[int]) -> list[int]:
    """Divide `amount_fen` by integer `weights` so that the parts sum to it exactly.

    Each part is the floor of its exact share; the fen left over go one each to the largest
    fractions, earlier parts first. Raises ValueError for a negative amount or weights that
    are negative or all zero.
    """
    total = sum(weights)
    if amount_fen < 0 or total <= 0 or min(weights) < 0:
        raise ValueError("amount must be >= 0, weights >= 0 and not all zero")
    floors = [amount_fen * weight // total for weight in weights]
    left = amount_fen - sum(floors)
    by_fraction = sorted(range(len(weights)), key=lambda i: (-(amount_fen * weights[i] % total), i))
    for index in by_fraction[:left]:
        floors[index] += 1
    return floors


def floor_share(amount_fen: int, share_bps: int) -> int:
    """`share_bps` of `amount_fen`, rounded down: it never oversteps a cap of as many bps."""
    if amount_fen < 0 or not 0 <= share_bps <= BPS:
        raise ValueError("amount must be >= 0, share between 0 and 10000 bps")
    return amount_fen * share_bps // BPS


def yuan(amount_fen: int) -> str:
    """`1234567` fen as `¥12,345.67`."""
    sign = "-" if amount_fen < 0 else ""
    whole, fen = divmod(abs(amount_fen), 100)
    return f"{sign}¥{whole:,}.{fen:02d}"
