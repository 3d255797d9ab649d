"""Ledger rows. A posting names source and destination, so an unbalanced one cannot be written.

Append-only: the app's role may insert, never update or delete (the migration's grants and
trigger). Accounts that authorise keep a running balance and a version, which their postings
carry as a chain; accounts that only record are summed.
"""

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Identity, Index, SmallInteger, Text
from sqlalchemy.orm import Mapped, mapped_column

from engine.db import Base


class LedgerAccount(Base):
    """An account that authorises (promoter, store): balance in fen, version counts postings."""

    __tablename__ = "ledger_accounts"

    name: Mapped[str] = mapped_column(Text, primary_key=True)
    balance_fen: Mapped[int] = mapped_column(BigInteger)
    version: Mapped[int] = mapped_column(BigInteger)


class LedgerTransaction(Base):
    """A set of postings with one cause; `reference` is unique per cause."""

    __tablename__ = "ledger_transactions"
    __table_args__ = (Index("ledger_transactions_order", "order_id"),)

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    reference: Mapped[str] = mapped_column(Text, unique=True)
    kind: Mapped[str] = mapped_column(Text)
    order_id: Mapped[str | None] = mapped_column(Text)
    at_ms: Mapped[int] = mapped_column(BigInteger)


class Posting(Base):
    """`amount_fen` > 0 from source to destination; version and balance after, if authorising."""

    __tablename__ = "postings"
    __table_args__ = (
        CheckConstraint("amount_fen > 0", name="postings_amount_positive"),
        CheckConstraint("source <> destination", name="postings_two_accounts"),
        Index("postings_source", "source"),
        Index("postings_destination", "destination"),
    )

    transaction_id: Mapped[int] = mapped_column(
        BigInteger, ForeignKey("ledger_transactions.id"), primary_key=True
    )
    line: Mapped[int] = mapped_column(SmallInteger, primary_key=True)
    source: Mapped[str] = mapped_column(Text)
    destination: Mapped[str] = mapped_column(Text)
    amount_fen: Mapped[int] = mapped_column(BigInteger)
    source_version: Mapped[int | None] = mapped_column(BigInteger)
    source_balance_fen: Mapped[int | None] = mapped_column(BigInteger)
    destination_version: Mapped[int | None] = mapped_column(BigInteger)
    destination_balance_fen: Mapped[int | None] = mapped_column(BigInteger)
