"""Balances on the wire."""

import msgspec


class BalanceView(msgspec.Struct, frozen=True):
    """An account with what it holds, in fen; `owner` is a guide, store or provider id."""

    account: str
    kind: str
    owner: str | None
    balance_fen: int


class BalancePage(msgspec.Struct, frozen=True):
    """`accounts` of guides and stores by name; `house` are the chain's own, on the first page."""

    house: tuple[BalanceView, ...]
    accounts: tuple[BalanceView, ...]
    next: str | None
