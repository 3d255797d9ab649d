"""What a claim's own events do to its seat; called by `Shard.apply`.

A seat is taken and let go here, in the same step as the claim's units; the seat's event behind it
says what its team makes of that (`engine.replay.teams`). Raises Contradiction for a seat too many,
a buyer twice, a hold or a time to pay beyond the deadline, or anything after a decision.
"""

from typing import TYPE_CHECKING

from engine.events import ClaimHeld, ClaimPaid, ClaimPaying
from engine.replay.state import SELLING, Claim, Contradiction, Team

if TYPE_CHECKING:
    from engine.replay.shard import Shard


def held(shard: "Shard", claim: Claim, event: ClaimHeld) -> None:
    """A new claim takes its seat."""
    team = undecided(shard, event.team_id)
    opens = team.state == "opening" and team.opener_id == claim.buyer_id and team.taken == 0
    if not (opens or team.is_open(event.at_ms)) or event.expires_at_ms > team.deadline_ms:
        raise Contradiction(f"{event} does not fit {team}")
    claim.team_id, claim.consent = team.team_id, event.consent
    claim.taken_at_ms = event.at_ms
    sit(shard, team, claim, "held")


def paying(shard: "Shard", claim: Claim, event: ClaimPaying) -> None:
    """A held seat is being paid, no longer than to its team's deadline."""
    if claim.seat != "1":
        return
    team = undecided(shard, claim.team_id)
    if event.pay_expires_at_ms > team.deadline_ms:
        raise Contradiction(f"{event} goes beyond {team}")
    team.count("held", -1)
    team.count("paying", 1)


def paid(shard: "Shard", claim: Claim, event: ClaimPaid, before: str) -> None:
    """A seat is paid, or lands: in its own team again, in another one, or in a new one."""
    claim.paid_at_ms = event.at_ms
    team = undecided(shard, event.team_id)
    if not event.landed:
        if claim.seat != "1" or claim.team_id != event.team_id:
            raise Contradiction(f"{claim} does not sit in {event.team_id}")
        team.count(before, -1)
        team.count("paid", 1)
        return
    own = event.team_id == claim.team_id
    opens = team.state == "opening" and team.opener_id == claim.buyer_id and team.taken == 0
    fits = {
        "seat": own and team.is_open(event.at_ms),
        "other": not own and claim.consent == "1" and team.is_open(event.at_ms),
        "new": not own and opens,
    }
    sells = shard.offers[claim.offer_id].state in SELLING
    if claim.seat == "1" or not sells or not fits.get(event.landed, False):
        raise Contradiction(f"{claim} cannot land as {event}")
    claim.team_id = event.team_id
    sit(shard, team, claim, "paid")


def released(shard: "Shard", claim: Claim) -> None:
    """A held or paying claim lets its seat go; team.seat_left follows."""
    if not claim.team_id:
        drop_right(shard, claim)
    elif claim.seat == "1":
        leave(shard, claim, claim.state)


def returned(shard: "Shard", claim: Claim) -> None:
    """No unit is left: the seat is free, unless its team is decided."""
    if not claim.team_id:
        drop_right(shard, claim)
    elif claim.seat == "1":
        leave(shard, claim, "paid")


def successor(shard: "Shard", team_id: str, without: str = "") -> str:
    """Who leads when the captain is gone: the earliest paid member, else the earliest seat."""
    seats = [
        (not one.paid_at_ms, one.paid_at_ms or one.taken_at_ms, one.claim_id.encode(), one.buyer_id)
        for one in shard.claims.values()
        if one.team_id == team_id and one.seat == "1" and one.claim_id != without
    ]
    return min(seats)[3] if seats else ""


def undecided(shard: "Shard", team_id: str) -> Team:
    """The team; Contradiction when there is none or it is decided."""
    team = shard.teams.get(team_id)
    if team is None or not team.is_undecided:
        raise Contradiction(f"no undecided team {team_id!r}: {team}")
    return team


def sit(shard: "Shard", team: Team, claim: Claim, state: str) -> None:
    """The claim takes a seat that counts as its `state`."""
    seat = (team.team_id, claim.buyer_id)
    if seat in shard.seats or team.offer_id != claim.offer_id:
        raise Contradiction(f"{claim.claim_id} cannot sit in {team}")
    take_right(shard, claim)
    shard.seats[seat] = claim.claim_id
    claim.seat = "1"
    team.count(state, 1)


def leave(shard: "Shard", claim: Claim, state: str) -> None:
    """The claim's seat, which counted as `state`, is free, unless its team is decided."""
    drop_right(shard, claim)
    team = shard.teams[claim.team_id]
    if not team.is_undecided:
        return
    claim.seat = ""
    del shard.seats[team.team_id, claim.buyer_id]
    team.count(state, -1)


def take_right(shard: "Shard", claim: Claim) -> None:
    """A claim by the right of a new customer takes it: one in a campaign."""
    if claim.newcomer == "1":
        right = (claim.campaign_id, claim.buyer_id)
        if right in shard.newcomers:
            raise Contradiction(f"{claim.buyer_id} was a new customer before")
        shard.newcomers[right] = claim.claim_id


def drop_right(shard: "Shard", claim: Claim) -> None:
    """The right is free again, also of a decided team: who got all money back is new again."""
    if claim.newcomer == "1":
        shard.newcomers.pop((claim.campaign_id, claim.buyer_id), None)
