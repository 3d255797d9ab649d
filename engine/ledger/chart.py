"""The chart of accounts: how each is named, and which ones authorise.

Names are typed constructors, never written by hand elsewhere. An account that *authorises*
(promoter, store) keeps a running balance and a version, because something may be refused for
its sake; one that only *records* (all others) is summed, so that it is never one lock for
everybody. Money enters and leaves through `clearing:<provider>`, the only account that stands
for the world outside: it is as far below zero as we hold money.
"""

import re
from enum import StrEnum
from functools import lru_cache
from typing import NewType

Account = NewType("Account", str)


class Kind(StrEnum):
    """What an account is for."""

    CLEARING = "clearing"  # the provider's side: received money comes out of it
    ESCROW = "escrow"  # received, and not yet standing
    HQ = "hq"  # the chain's own share
    FEES = "fees"
    GOODWILL = "goodwill"
    SUBSIDY = "subsidy"
    PENDING = "pending"  # commission inside its refund window
    AVAILABLE = "available"  # commission that may be paid out
    DEBT = "debt"  # at most zero: what clawback could not take, offset by later earnings
    STORE = "store"


ESCROW = Account("escrow")
HQ = Account("hq")
FEES = Account("fees")
GOODWILL = Account("goodwill")
SUBSIDY = Account("subsidy")

_SINGLE = frozenset({Kind.ESCROW, Kind.HQ, Kind.FEES, Kind.GOODWILL, Kind.SUBSIDY})
_PROMOTER = frozenset({Kind.PENDING, Kind.AVAILABLE, Kind.DEBT})
_AUTHORISE = _PROMOTER | {Kind.STORE}
_OWNER = re.compile(r"^[^\s:]{1,64}$")


def is_owner_id(text: str) -> bool:
    """True when `text` can name an account's owner: 1 to 64 printable characters, no colon."""
    return _OWNER.match(text) is not None and text.isprintable()


def _owned(text: str) -> str:
    if not is_owner_id(text):
        raise ValueError(f"{text!r} cannot name an account: 1 to 64 characters, no space or colon")
    return text


def clearing(provider: str) -> Account:
    """What the payment provider holds for us; below zero while it owes us the money."""
    return Account(f"clearing:{_owned(provider)}")


def promoter_pending(guide_id: str) -> Account:
    """Commission of a guide that a refund may still take back."""
    return Account(f"promoter:{_owned(guide_id)}:pending")


def promoter_available(guide_id: str) -> Account:
    """Commission of a guide that may be paid out."""
    return Account(f"promoter:{_owned(guide_id)}:available")


def promoter_debt(guide_id: str) -> Account:
    """At most zero: what a guide owes after a clawback that found nothing else to take."""
    return Account(f"promoter:{_owned(guide_id)}:debt")


def store(store_id: str) -> Account:
    """A store's share; below zero when refunds took more than it still holds."""
    return Account(f"store:{_owned(store_id)}")


@lru_cache(maxsize=8192)  # a batch asks some 8,000 times about a few hundred names
def kind_of(account: str) -> Kind:
    """The kind of a valid account name; ValueError for anything else."""
    match account.split(":"):
        case [single] if single in _SINGLE:
            return Kind(single)
        case ["clearing", owner] if is_owner_id(owner):
            return Kind.CLEARING
        case ["store", owner] if is_owner_id(owner):
            return Kind.STORE
        case ["promoter", owner, part] if part in _PROMOTER and is_owner_id(owner):
            return Kind(part)
        case _:
            raise ValueError(f"{account!r} is not an account")


def parse(text: str) -> Account:
    """`text` as an account; ValueError when it is none."""
    kind_of(text)
    return Account(text)


def owner_of(account: Account) -> str | None:
    """The guide, store or provider in the name; None for accounts there is one of."""
    parts = account.split(":")
    return parts[1] if len(parts) > 1 else None


def authorises(account: Account) -> bool:
    """True for accounts with a running balance and a version, locked before they are posted to."""
    return kind_of(account) in _AUTHORISE


def is_clawback(source: Account, destination: Account) -> bool:
    """True for a line that takes a share back: from a promoter or store to escrow.

    It must never fail for lack of money (the customer is refunded either way), so it is the one
    line that may leave a debt. Everything else from an authorising account needs the fen there.
    """
    return destination == ESCROW and authorises(source)
