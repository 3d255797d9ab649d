"""Stores, guides, members and staff.

What changes over time is dated and immutable: `guide_terms` and `bindings` are only ever
appended; the row in force at t is the one with the latest `from_ms` ≤ t. So a later change of
recruiter, store or guide never touches an earlier order.
"""

from sqlalchemy import BigInteger, Float, ForeignKey, LargeBinary, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from engine.db import Base


class Store(Base):
    """A shop with its place; `id` is the retailer's own store code."""

    __tablename__ = "stores"

    id: Mapped[str] = mapped_column(Text, primary_key=True)
    name: Mapped[str] = mapped_column(Text)
    city: Mapped[str] = mapped_column(Text)
    address: Mapped[str] = mapped_column(Text)
    latitude: Mapped[float] = mapped_column(Float)
    longitude: Mapped[float] = mapped_column(Float)


class Guide(Base):
    """A shopping guide; `id` is the retailer's own staff code."""

    __tablename__ = "guides"

    id: Mapped[str] = mapped_column(Text, primary_key=True)
    name: Mapped[str] = mapped_column(Text)


class GuideTerm(Base):
    """From `from_ms` on this guide works in this store and was recruited by this guide."""

    __tablename__ = "guide_terms"

    guide_id: Mapped[str] = mapped_column(ForeignKey("guides.id"), primary_key=True)
    from_ms: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    store_id: Mapped[str] = mapped_column(ForeignKey("stores.id"))
    recruiter_id: Mapped[str | None] = mapped_column(ForeignKey("guides.id"))


class Member(Base):
    """A customer. The phone number is kept encrypted, a keyed hash finds it at sign-in.

    `imported`: came with the retailer's own list of members, and not by signing in.
    """

    __tablename__ = "members"

    id: Mapped[str] = mapped_column(Text, primary_key=True)
    nickname: Mapped[str] = mapped_column(Text)
    phone_hash: Mapped[str] = mapped_column(Text, unique=True)
    phone_cipher: Mapped[bytes] = mapped_column(LargeBinary)
    phone_shown: Mapped[str] = mapped_column(Text)
    imported: Mapped[bool] = mapped_column(default=False, server_default=text("false"))


class Binding(Base):
    """From `from_ms` on this customer belongs to this guide (None: to nobody)."""

    __tablename__ = "bindings"

    member_id: Mapped[str] = mapped_column(ForeignKey("members.id"), primary_key=True)
    from_ms: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    guide_id: Mapped[str | None] = mapped_column(ForeignKey("guides.id"))


class Staff(Base):
    """Someone who signs in with a password (argon2id): HQ, or a guide (`guide_id`)."""

    __tablename__ = "staff"

    id: Mapped[str] = mapped_column(Text, primary_key=True)
    login: Mapped[str] = mapped_column(Text, unique=True)
    name: Mapped[str] = mapped_column(Text)
    role: Mapped[str] = mapped_column(Text)
    password_hash: Mapped[str] = mapped_column(Text)
    guide_id: Mapped[str | None] = mapped_column(ForeignKey("guides.id"))
