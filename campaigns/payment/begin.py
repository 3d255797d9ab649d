"""From "pay" to a payment page: begin_payment.

Row `begun` → script (claim paying) → row `open` → provider → page. Each step may be the last
one before a crash, and each may be run by two requests at once: a repeat finds the same attempt
and goes on, the pay_watch loop ends what nobody repeats. No transaction is open while the
provider is asked.
"""

from typing import Final

import msgspec
from sqlalchemy import select

from campaigns.order.models import Order
from campaigns.payment import attempts
from campaigns.payment.models import PaymentAttempt
from campaigns.payment.provider import PaymentProvider, ProviderRefused, ProviderUnreachable
from engine.db import Database
from engine.errors import Conflict, Missing, Unavailable
from engine.ids import now_ms, parse_claim_id
from engine.inventory import Inventory
from engine.settings import Settings
from engine.shards import reopening

# Where the provider's callbacks arrive, below `settings.public_url`.
CALLBACK_PATH: Final = "/v1/payments/callback"
# Two begins at once: own attempt, then the one that was faster, then once more after its opening.
HOPS_MAX: Final = 4


class PayPage(msgspec.Struct, frozen=True):
    """Where the buyer pays, how much, and until when (ms, the hot store's clock)."""

    attempt_id: str
    pay_url: str
    amount_fen: int
    pay_expires_at_ms: int


async def begin_payment(
    db: Database,
    inventory: Inventory,
    provider: PaymentProvider,
    settings: Settings,
    *,
    claim_id: str,
    buyer_id: str,
) -> PayPage:
    """The payment page of a buyer's claim; a repeat gives the same one.

    Missing `claim_not_found`; Conflict `not_ordered` (still being written), `not_payable` (paid,
    released …), `not_new` (a newcomer's claim that is let go) or `pay_expired`; Unavailable
    `reopening`, `busy` or `provider_unreachable`.
    """
    order = await _payable_order(db, inventory, claim_id, buyer_id)
    attempt = await _attempt_of(db, order)
    for _ in range(HOPS_MAX):
        if attempt.state == "open":
            return await _page(db, provider, settings, attempt)
        attempt = await _open(db, inventory, settings, attempt)
    raise Unavailable("busy", "Several payments were begun at once", "Try again in a moment.")


async def _payable_order(db: Database, inventory: Inventory, claim_id: str, buyer_id: str) -> Order:
    parsed = parse_claim_id(claim_id)
    async with db.begin() as session:
        order = await session.scalar(select(Order).where(Order.claim_id == claim_id))
    if order is None and parsed is not None:
        claim = await inventory.claim_state(parsed.shard, claim_id)
        if claim.get("buyer_id") == buyer_id:
            raise Conflict(
                "not_ordered",
                "Your order is still being written",
                "The units are yours. Try again in a moment.",
            )
    if order is None or order.buyer_id != buyer_id:
        raise Missing("claim_not_found", "There is no such claim of yours")
    if order.state != "open":
        raise _not_payable(order.state)
    if order.release_due:
        raise Conflict(
            "not_new",
            "This was for new customers, and you have bought elsewhere meanwhile",
            "Nothing was charged, and the units go back on sale. Your other order stands.",
        )
    return order


def _not_payable(state: str) -> Conflict:
    return Conflict(
        "not_payable",
        "This order cannot be paid now",
        f"It is {state}. Nothing was charged by this request.",
        state=state,
    )


async def _attempt_of(db: Database, order: Order) -> PaymentAttempt:
    """The attempt that is there already, or a fresh row: committed before any script runs."""
    async with db.begin() as session:
        attempt = await attempts.live_attempt(session, order.claim_id)
        if attempt is not None and attempt.state == "paid":
            raise _not_payable("being confirmed as paid")
        return attempt or attempts.begun(session, order)


async def _open(
    db: Database, inventory: Inventory, settings: Settings, attempt: PaymentAttempt
) -> PaymentAttempt:
    """The attempt as open; or the other one that the claim is being paid by (open or begun)."""
    reply = await inventory.pay_begin(attempt.shard, attempt.claim_id, attempt.id)
    match reply.what:
        case "reopening":
            raise reopening()
        case "paying":
            opened = await attempts.open_attempt(
                db,
                attempt.id,
                pay_expires_at_ms=int(reply.details[0]),
                send_until_ms=now_ms() + settings.lease_ms,
            )
            return opened or await _opened_or_voided(db, inventory, attempt.id)
        case "other_attempt":
            await attempts.refuse_begun(db, attempt.id, "other_attempt")
            return await _opened_or_voided(db, inventory, reply.details[0])
        case state:
            await attempts.refuse_begun(db, attempt.id, state)
            raise _not_payable(state)


async def _opened_or_voided(db: Database, inventory: Inventory, attempt_id: str) -> PaymentAttempt:
    attempt = await attempts.read_attempt(db, attempt_id)
    if attempt is not None and attempt.state in ("begun", "open"):
        return attempt
    # The watch voided it before the script ran: nobody may pay by it, so the claim goes back.
    await attempts.release_by_receipt(db, inventory, attempt_id)
    raise _not_payable("no longer open" if attempt is None else attempt.state)


async def _page(
    db: Database, provider: PaymentProvider, settings: Settings, attempt: PaymentAttempt
) -> PayPage:
    assert attempt.pay_expires_at_ms is not None
    if attempt.reason == attempts.VOIDING or now_ms() >= attempt.pay_expires_at_ms:
        raise _expired()
    pay_url = attempt.pay_url or await _announce(db, provider, settings, attempt)
    return PayPage(attempt.id, pay_url, attempt.amount_fen, attempt.pay_expires_at_ms)


def _expired() -> Conflict:
    return Conflict(
        "pay_expired",
        "The time to pay is over",
        "If you have paid in the meantime, the payment is found and booked or refunded.",
    )


async def _announce(
    db: Database, provider: PaymentProvider, settings: Settings, attempt: PaymentAttempt
) -> str:
    """Ask the provider for the page, inside the lease: the watch voids nothing that is on its way.

    Arguments are the row's own, so that a repeat is the same question to the provider.
    """
    assert attempt.pay_expires_at_ms is not None
    if attempt.send_until_ms < now_ms() + 2 * settings.provider_timeout_ms:
        until = now_ms() + settings.lease_ms
        if await attempts.lease_sending(db, attempt.id, send_until_ms=until) is None:
            raise _expired()
    try:
        prepay = await provider.prepay(
            attempt.id,
            attempt.amount_fen,
            f"开团 {attempt.order_id}",
            attempt.pay_expires_at_ms,
            settings.public_url + CALLBACK_PATH,
        )
    except ProviderUnreachable as error:
        raise Unavailable(
            "provider_unreachable",
            "The payment provider does not answer",
            "Your units stay reserved and nothing was charged. Try again in a moment.",
        ) from error
    except ProviderRefused as error:
        # Paid, closed or expired there: the watch finds out which, from the provider itself.
        await attempts.ask_now(db, attempt.id)
        raise _not_payable(f"refused by the payment provider ({error.code})") from error
    if await attempts.keep_pay_url(db, attempt.id, prepay.pay_url) is None:
        raise _expired()
    return prepay.pay_url
