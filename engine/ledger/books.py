"""Running balances of one batch, in memory, while its account rows are locked.

`Books.take` turns the lines of an entry into the postings to write: it moves the balances,
counts the versions, and spreads a clawback over pending, then available, then debt. Pure: the
rows come in and go out in post.py.
"""

from collections.abc import Iterable, Iterator

import msgspec

from engine.errors import Conflict
from engine.ledger import chart
from engine.ledger.chart import Account, Kind
from engine.ledger.entries import Entry, Line


class Balance(msgspec.Struct):
    """What an authorising account holds in fen, and how many postings touched it."""

    balance_fen: int
    version: int


class Moved(msgspec.Struct, frozen=True):
    """A posting to write; version and balance *after* it, None for an account that records."""

    source: Account
    destination: Account
    amount_fen: int
    source_version: int | None
    source_balance_fen: int | None
    destination_version: int | None
    destination_balance_fen: int | None


def needed(entries: Iterable[Entry]) -> list[Account]:
    """The authorising accounts that posting these entries may touch, sorted (the lock order)."""
    names: set[Account] = set()
    for entry in entries:
        for line in entry.lines:
            names.update(a for a in (line.source, line.destination) if chart.authorises(a))
            names.update(_clawback_order(line))
    return sorted(names)


def _clawback_order(line: Line) -> tuple[Account, ...]:
    """Where a clawback looks, one after the other; empty for a line that is none."""
    if not chart.is_clawback(line.source, line.destination):
        return ()
    guide_id = chart.owner_of(line.source)
    if chart.kind_of(line.source) is not Kind.PENDING or guide_id is None:
        return (line.source,)
    return (line.source, chart.promoter_available(guide_id), chart.promoter_debt(guide_id))


class Books:
    """The locked accounts of one batch; `changed` are those to write back."""

    def __init__(self, accounts: dict[Account, Balance]) -> None:
        self._accounts = accounts
        self.changed: dict[Account, Balance] = {}

    def take(self, entry: Entry) -> list[Moved]:
        """The postings of `entry`, in order; Conflict `balance_too_low` when one may not pass."""
        return [
            self._move(source, line.destination, fen)
            for line in entry.lines
            for source, fen in self._sources(entry, line)
        ]

    def _sources(self, entry: Entry, line: Line) -> Iterator[tuple[Account, int]]:
        """The line itself, or the pieces of a clawback; its last account takes what is left."""
        left_fen = line.amount_fen
        *first, last = _clawback_order(line) or (line.source,)
        for account in first:
            piece_fen = min(left_fen, self._accounts[account].balance_fen)
            if piece_fen > 0:
                left_fen -= piece_fen
                yield account, piece_fen
        if not chart.is_clawback(line.source, line.destination):
            self._require(entry, last, left_fen)
        if left_fen > 0:
            yield last, left_fen

    def _require(self, entry: Entry, account: Account, fen: int) -> None:
        held = self._accounts.get(account)
        if held is not None and held.balance_fen < fen:
            raise Conflict(
                "balance_too_low",
                "The account does not hold that much; nothing was posted.",
                f"{account} holds {held.balance_fen} fen, {fen} are asked for.",
                reference=entry.reference,
                account=account,
            )

    def _move(self, source: Account, destination: Account, fen: int) -> Moved:
        return Moved(
            source,
            destination,
            fen,
            *self._change(source, -fen),
            *self._change(destination, fen),
        )

    def _change(self, account: Account, fen: int) -> tuple[int | None, int | None]:
        """Version and balance after; None for an account that only records."""
        held = self._accounts.get(account)
        if held is None:
            return None, None
        held.balance_fen += fen
        held.version += 1
        self.changed[account] = held
        return held.version, held.balance_fen
