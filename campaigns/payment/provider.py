"""The payment provider as the engine sees it: a port that any provider's adapter fits.

ProviderError (an engine.errors.KaituanError)
├── ProviderUnreachable  503  no answer that can be trusted: the outcome is UNKNOWN, ask or repeat
├── ProviderRefused      409  the provider said no and did nothing; `code` is the provider's word
└── BadSignature         401  a callback that the provider did not sign, or not just now

Every operation may be repeated with the same arguments and has one effect: an attempt is named
by our `attempt_id` (out_trade_no), a refund by our `refund_no`. The shapes follow WeChat Pay v3.
"""

from collections.abc import Mapping
from typing import Annotated, Literal, Protocol

import msgspec

from engine.errors import KaituanError
from engine.money import FEN_MAX

Fen = Annotated[int, msgspec.Meta(ge=1, le=FEN_MAX)]
Ms = Annotated[int, msgspec.Meta(ge=0, le=2**53)]
Id = Annotated[str, msgspec.Meta(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_-]+\Z")]
Currency = Annotated[str, msgspec.Meta(pattern=r"^[A-Z]{3}\Z")]
Code = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
Period = Annotated[str, msgspec.Meta(min_length=1, max_length=16, pattern=r"^[0-9-]+\Z")]


class ProviderError(KaituanError):
    """Base of what goes wrong between us and the provider."""

    status = 503


class ProviderUnreachable(ProviderError):
    """Timeout, lost connection, 5xx, 429 or an answer nobody can read: it may have happened."""

    def __init__(self, reason: str) -> None:
        super().__init__("provider_unreachable", "The payment provider did not answer.", reason)
        self.reason = reason


class ProviderRefused(ProviderError):
    """The provider answered no: nothing changed there. `code` and `message` are its own words."""

    status = 409

    def __init__(self, code: str, message: str) -> None:
        super().__init__(code, message)
        self.message = message


class BadSignature(ProviderError):
    """Not from the provider, or not now. `reason`: malformed, stale, unknown_serial or wrong."""

    status = 401

    def __init__(self, reason: Literal["malformed", "stale", "unknown_serial", "wrong"]) -> None:
        super().__init__("bad_signature", "This message is not signed by the payment provider.")
        self.reason = reason


class _Shape(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Frozen and strict: an unknown field in a money answer is a misunderstanding."""


class Prepay(_Shape, frozen=True):
    """An attempt the customer can now pay, at `pay_url`."""

    pay_url: str
    prepay_id: Id


class Payment(_Shape, frozen=True):
    """Money the provider took, in the amount and currency it really took."""

    transaction_id: Id
    amount_fen: Fen
    currency: Currency
    paid_at_ms: Ms


class PaymentStatus(_Shape, frozen=True):
    """What became of an attempt; `payment` is there exactly when the state is `paid`.

    `closed` is not for ever at every provider: a payment that was under way can still arrive.
    """

    state: Literal["unknown", "pending", "paid", "closed"]
    payment: Payment | None = None

    def __post_init__(self) -> None:
        if (self.state == "paid") != (self.payment is not None):
            raise ValueError("a payment belongs to the state `paid` and to no other")


class CloseResult(_Shape, frozen=True):
    """What a close ended in; `payment` is there exactly when it was `already_paid`.

    `unknown`: the provider never saw this attempt, and a later prepay of it would still work.
    """

    state: Literal["closed", "already_paid", "unknown"]
    payment: Payment | None = None

    def __post_init__(self) -> None:
        if (self.state == "already_paid") != (self.payment is not None):
            raise ValueError("a payment belongs to the state `already_paid` and to no other")


class RefundStatus(_Shape, frozen=True):
    """What became of a refund.

    `code` says why it `failed` (repeating the same number tries it again), `done_at_ms` when it
    succeeded. `unknown` comes only from a query: no refund of that number ever arrived.
    """

    refund_no: Id
    state: Literal["unknown", "processing", "success", "failed"]
    amount_fen: Fen | None = None
    code: Code | None = None
    done_at_ms: Ms | None = None

    def __post_init__(self) -> None:
        if (self.state == "failed") != (self.code is not None):
            raise ValueError("a code belongs to the state `failed` and to no other")
        if (self.state == "success") != (self.done_at_ms is not None):
            raise ValueError("done_at_ms belongs to the state `success` and to no other")
        if (self.state == "unknown") != (self.amount_fen is None):
            raise ValueError("every refund that is known has an amount")


class BillRow(_Shape, frozen=True):
    """One movement of money: a payment in, or (with its `refund_no`) a refund out."""

    row: Annotated[int, msgspec.Meta(ge=1)]
    kind: Literal["payment", "refund"]
    attempt_id: Id
    transaction_id: Id
    amount_fen: Fen
    currency: Currency
    at_ms: Ms
    refund_no: Id | None = None

    def __post_init__(self) -> None:
        if (self.kind == "refund") != (self.refund_no is not None):
            raise ValueError("a refund_no belongs to a refund and to no other row")


class Bill(_Shape, frozen=True):
    """Everything that moved in a closed period, in the provider's order; it never changes again."""

    period: Period
    rows: tuple[BillRow, ...]


class Notification(_Shape, frozen=True):
    """A callback whose signature holds: this attempt was paid. May repeat, or never come."""

    attempt_id: Id
    transaction_id: Id
    amount_fen: Fen
    currency: Currency
    paid_at_ms: Ms


class PaymentProvider(Protocol):
    """The port. Every call raises ProviderUnreachable (unknown) or ProviderRefused (no effect)."""

    # The body to answer a callback with (status 200, JSON) once its fact is committed.
    callback_success: bytes

    async def prepay(
        self,
        attempt_id: str,
        amount_fen: int,
        description: str,
        expires_at_ms: int,
        notify_url: str,
    ) -> Prepay:
        """Announce an attempt. A repeat gives the same answer; other arguments are refused."""
        ...

    async def query(self, attempt_id: str) -> PaymentStatus:
        """What became of the attempt."""
        ...

    async def close(self, attempt_id: str) -> CloseResult:
        """Take back an attempt that was not paid; a repeat is harmless."""
        ...

    async def refund(
        self, refund_no: str, transaction_id: str, amount_fen: int, total_fen: int, reason: str
    ) -> RefundStatus:
        """Give `amount_fen` of a payment of `total_fen` back.

        The same number on every retry is the same refund; another amount, total or transaction
        under it is ProviderRefused. At most 50 refunds of one payment, together at most paid.
        """
        ...

    async def query_refund(self, refund_no: str) -> RefundStatus:
        """What became of the refund."""
        ...

    async def bill(self, period: str) -> Bill:
        """Payments and successful refunds of a closed period; ProviderRefused while it is open."""
        ...

    def verify_callback(self, headers: Mapping[str, str], raw_body: bytes) -> Notification:
        """The notification, if the provider signed these very bytes just now; or BadSignature.

        ProviderRefused (`bad_notification`) when the signature holds and the body is not ours.
        """
        ...
