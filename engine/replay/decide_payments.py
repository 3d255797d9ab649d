"""Payments and refunds as pure functions of the state, in the manner of `decide`."""

from typing import TypedDict

from engine.events import (
    ClaimPaid,
    ClaimPaying,
    ClaimReturned,
    PaymentLate,
    PaymentRefused,
    TeamOpened,
)
from engine.inventory import Reply
from engine.replay.draft import Draft, Outcome, say
from engine.replay.landing import Landing, land
from engine.replay.shard import Claim, Shard
from engine.replay.waiting import NONCE, SCAN_MAX, serve


class _About(TypedDict):
    """What all events of a payment fact say."""

    claim_id: str
    offer_id: str
    fact_id: str
    attempt_id: str


def pay_begin(shard: Shard, *, claim_id: str, attempt_id: str, now_ms: int) -> Outcome:
    """paying pay_expires_at_ms | other_attempt attempt_id | the state | unknown."""
    claim = shard.claims.get(claim_id)
    if claim is None:
        return say("unknown")
    offer = shard.offers[claim.offer_id]
    expires_at_ms = now_ms + offer.config.pay_ms
    team = shard.teams.get(claim.team_id) if claim.seat == "1" else None
    if claim.state == "paying":
        if claim.attempt_id != attempt_id:
            return say("other_attempt", claim.attempt_id)
        if not claim.unsaid:
            return say("paying", claim.pay_expires_at_ms)
        expires_at_ms = claim.pay_expires_at_ms
    elif claim.state != "held":
        return say(claim.state)
    elif team is not None:  # nobody is told a time to pay that the team has not got
        is_on = now_ms < team.deadline_ms and offer.state != "cancelled"
        state = team.state if is_on else "closing"
        if state not in ("opening", "forming", "reached"):
            return say("team_over", state)
        expires_at_ms = min(expires_at_ms, team.deadline_ms)
    event = ClaimPaying(
        seq=shard.seq + 1,
        at_ms=now_ms,
        claim_id=claim_id,
        offer_id=claim.offer_id,
        attempt_id=attempt_id,
        pay_expires_at_ms=expires_at_ms,
    )
    return Outcome(Reply("paying", (str(event.pay_expires_at_ms),)), (event,))


def pay_confirm(
    shard: Shard,
    *,
    claim_id: str,
    attempt_id: str,
    fact_id: str,
    verdict: str,
    nonce: str,
    now_ms: int,
    scan_max: int = SCAN_MAX,
) -> Outcome:
    """paid | retaken | landed how team_id | late why | refused why | done | unknown."""
    if fact_id in shard.did:
        return say("done")
    claim = shard.claims.get(claim_id)
    if claim is None:
        return say("unknown")
    if claim.payment_id == fact_id:
        return say("done")
    draft = Draft(shard, now_ms)
    about: _About = {
        "claim_id": claim_id,
        "offer_id": claim.offer_id,
        "fact_id": fact_id,
        "attempt_id": attempt_id,
    }
    is_live = claim.state in ("held", "paying")
    if verdict != "ok":
        draft.emit(PaymentRefused, **about, why=verdict)
        if claim.state == "paying" and claim.attempt_id == attempt_id:
            draft.release(claim_id, verdict, attempt_id)
            serve(draft, claim.offer_id, nonce, scan_max)
        return draft.done("refused", verdict)
    if not is_live and claim.state != "released":
        draft.emit(PaymentRefused, **about, why="second_payment")
        return draft.done("refused", "second_payment")
    if is_live and (not claim.team_id or claim.seat == "1"):
        return _stands(draft, claim, about, landing=None)
    landing = land(shard, claim, is_live=is_live, nonce=nonce, now_ms=now_ms)
    if isinstance(landing, str):
        draft.emit(PaymentLate, **about, why=landing)
        if is_live:
            draft.release(claim_id, "late", attempt_id)
        return draft.done("late", landing)
    return _stands(draft, claim, about, landing)


def _stands(draft: Draft, claim: Claim, about: "_About", landing: Landing | None) -> Outcome:
    """claim.paid, and what its seat makes of that."""
    retaken = 0 if claim.state in ("held", "paying") else 1
    if not claim.team_id:
        draft.emit(ClaimPaid, **about, units=claim.units, retaken=retaken)
        return draft.done("retaken" if retaken else "paid")
    if landing is not None and landing.opens is not None:
        draft.emit(TeamOpened, **landing.opens)
    draft.emit(
        ClaimPaid,
        **about,
        units=claim.units,
        retaken=retaken,
        team_id=landing.team_id if landing else claim.team_id,
        landed=landing.how if landing else "",
    )
    draft.filled(claim.claim_id)
    if landing is None:
        return draft.done("paid")
    return draft.done("landed", landing.how, landing.team_id)


def give_back(
    shard: Shard,
    *,
    claim_id: str,
    units: int,
    refund_id: str,
    now_ms: int,
    nonce: str = NONCE,
    scan_max: int = SCAN_MAX,
) -> Outcome:
    """returned left | done | not_paid state | too_many left | unknown."""
    if refund_id in shard.did:
        return say("done")
    claim = shard.claims.get(claim_id)
    if claim is None:
        return say("unknown")
    if claim.state != "paid":
        return say("not_paid", claim.state)
    if units > claim.units:
        return say("too_many", claim.units)
    sat = claim.seat == "1" and shard.teams[claim.team_id].is_undecided
    draft = Draft(shard, now_ms)
    left = claim.units - units
    draft.emit(
        ClaimReturned,
        claim_id=claim_id,
        offer_id=claim.offer_id,
        refund_id=refund_id,
        units=units,
        left=left,
    )
    if left == 0 and sat:
        draft.left(claim.team_id, claim_id, "refunded")
    serve(draft, claim.offer_id, nonce, scan_max)
    return draft.done("returned", left)
