"""What the events of teams and crowds do; called by `Shard.apply`.

The claim's own event has taken the seat or let it go (`engine.replay.seats`); the team's event
must count as the state does. Raises Contradiction for what no script can have said: a ladder's
step too early, a decision that the seats do not bear out, anything after a decision.
"""

from typing import TYPE_CHECKING

from engine.events import (
    AnyEvent,
    Closing,
    CrowdFormed,
    CrowdReached,
    CrowdSeatLeft,
    Decided,
    SeatEvent,
    SeatLeft,
    SeatMoved,
    TeamFormed,
    TeamOpened,
    TeamSubsidised,
)
from engine.replay.seats import leave, sit, undecided
from engine.replay.state import Contradiction, Team

if TYPE_CHECKING:
    from engine.replay.shard import Shard


def apply(shard: "Shard", event: AnyEvent) -> None:
    """An event of a team or crowd."""
    match event:
        case TeamOpened():
            _open(shard, event)
        case SeatMoved():
            _move(shard, event)
        case SeatLeft() | CrowdSeatLeft():
            _left(shard, event)
        case SeatEvent():
            team = _counted(shard, event)
            if team.state == "opening":
                team.state = "forming"
        case TeamSubsidised():
            _subsidise(shard, event)
        case CrowdReached():
            _reach(shard, event)
        case Closing():
            team = undecided(shard, event.team_id)
            if team.state == "closing" or team.held:
                raise Contradiction(f"{team} cannot begin to close")
            if (team.paying, team.paid) != (event.paying, event.paid):
                raise Contradiction(f"{event} does not count as {team}")
            _close(shard, team, event)
        case Decided():
            _decide(shard, event)


def is_honoured(shard: "Shard", team: Team) -> bool:
    """Whether its campaign was cancelled with the promise that who has paid gets it."""
    offer = shard.offers[team.offer_id]
    is_cancelled = (offer.state, offer.config.on_cancel) == ("cancelled", "honour")
    return is_cancelled and team.kind == "team" and team.paid > 0


def _close(shard: "Shard", team: Team, event: Closing) -> None:
    team.state = "closing"
    if event.deadline_ms:
        is_cancelled = shard.offers[team.offer_id].state == "cancelled"
        if not is_cancelled or not event.at_ms <= event.deadline_ms <= team.deadline_ms:
            raise Contradiction(f"{event} is no deadline for {team}")
        team.deadline_ms = event.deadline_ms


def _counted(shard: "Shard", event: SeatEvent) -> Team:
    """The event's team, which counts as the event says; its claim sits there, paid, or has left."""
    team = undecided(shard, event.team_id)
    claim = shard.claims.get(event.claim_id)
    if claim is None or team.paid != event.paid:
        raise Contradiction(f"{event} does not count as {team}")
    if not isinstance(event, SeatLeft | CrowdSeatLeft):
        sits = claim.seat == "1" and claim.team_id == team.team_id
        if not sits or claim.state != "paid":
            raise Contradiction(f"{event} does not fit {claim}")
    return team


def _open(shard: "Shard", event: TeamOpened) -> None:
    config = shard.configs[event.offer_id]
    if event.team_id in shard.teams or config.team is None:
        raise Contradiction(f"{event} is there already, or its offer has no teams")
    if shard.offers[event.offer_id].state != "open":
        raise Contradiction(f"{event} of an offer that opens no team")
    team = shard.teams[event.team_id] = Team(
        team_id=event.team_id,
        kind=event.team_kind,
        state="forming" if event.team_kind == "crowd" else "opening",
        offer_id=event.offer_id,
        campaign_id=event.campaign_id,
        version=event.version,
        opener_id=event.opener_id,
        captain_id=event.opener_id,
        size=event.size,
        deadline_ms=event.deadline_ms,
        keep_until_ms=config.keep_until_ms,
    )
    if team.opener_id:
        if (team.offer_id, team.opener_id) in shard.openers:
            raise Contradiction(f"{team.opener_id} has an open team already")
        shard.openers[team.offer_id, team.opener_id] = team.team_id


def _left(shard: "Shard", event: SeatLeft | CrowdSeatLeft) -> None:
    claim = shard.claims[event.claim_id]
    if event.why == "unpaid":
        if claim.state != "paying" or claim.seat != "1" or claim.team_id != event.team_id:
            raise Contradiction(f"{event} does not fit {claim}")
        leave(shard, claim, "paying")
    elif claim.seat == "1" and claim.team_id == event.team_id:
        raise Contradiction(f"{event} leaves {claim} in its seat")
    team = _counted(shard, event)
    if event.captain_id == team.captain_id:
        return
    opened, before, team.captain_id = (
        (team.offer_id, team.opener_id),
        team.captain_id,
        event.captain_id,
    )
    if before == team.opener_id and shard.openers.get(opened) == team.team_id:
        del shard.openers[opened]
    elif team.captain_id == team.opener_id:
        shard.openers.setdefault(opened, team.team_id)


def _move(shard: "Shard", event: SeatMoved) -> None:
    claim = shard.claims[event.claim_id]
    fits = claim.state == "paid" and claim.seat == "1" and claim.consent == "1"
    if not fits or claim.team_id != event.from_team_id or event.team_id == event.from_team_id:
        raise Contradiction(f"{event} does not fit {claim}")
    undecided(shard, claim.team_id)
    leave(shard, claim, "paid")
    claim.team_id = event.team_id
    sit(shard, undecided(shard, event.team_id), claim, "paid")


def _subsidise(shard: "Shard", event: TeamSubsidised) -> None:
    team, offer = undecided(shard, event.team_id), shard.offers[event.offer_id]
    rules = offer.config.team
    if event.honour:
        if team.state != "closing" or not is_honoured(shard, team):
            raise Contradiction(f"{event} is not what {team} was promised")
        team.honoured += event.seats
    else:
        offer.subsidised += event.seats
    if rules is None or offer.subsidised > rules.subsidy_max:
        raise Contradiction(f"{event} goes beyond the budget of {offer}")
    team.count("subsidy", event.seats)
    shard.do(event.command_id, event.at_ms)


def _reach(shard: "Shard", event: CrowdReached) -> None:
    team, rules = undecided(shard, event.team_id), shard.configs[event.offer_id].team
    steps = rules.steps if rules else ()
    if event.step != team.step + 1 or event.step > len(steps) or event.paid != team.paid:
        raise Contradiction(f"{event} does not fit {team}")
    least, price_id, fen = steps[event.step - 1]
    if event.paid < least or (event.price_id, event.price_fen) != (price_id, fen):
        raise Contradiction(f"{event} is not the ladder's {steps[event.step - 1]}")
    team.step = event.step
    if team.state == "forming":
        team.state = "reached"


def _decide(shard: "Shard", event: Decided) -> None:
    team = undecided(shard, event.team_id)
    if (team.paid, team.subsidy, team.step) != (event.paid, event.subsidy, event.step):
        raise Contradiction(f"{event} does not count as {team}")
    formed = isinstance(event, TeamFormed | CrowdFormed)
    full = team.kind == "team" and team.paid + team.subsidy == team.size
    reached = team.kind == "crowd" and team.step > 0
    empty = team.kind == "team" and team.taken == team.subsidy
    closed = team.state == "closing" and team.held + team.paying == 0
    is_cancelled = shard.offers[team.offer_id].state == "cancelled"
    over = closed and not formed and not full and not reached
    fits = {
        "full": formed and full,
        "reached": formed and reached and closed,
        "empty": not formed and empty,
        "deadline": over and not is_cancelled,
        "cancelled": over and is_cancelled and not is_honoured(shard, team),
    }
    if not fits.get(event.why, False):
        raise Contradiction(f"{event} does not fit {team}")
    team.state = "formed" if formed else "failed"
    if not formed:
        shard.offers[team.offer_id].subsidised -= team.subsidy - team.honoured
    if shard.openers.get((team.offer_id, team.opener_id)) == team.team_id:
        del shard.openers[team.offer_id, team.opener_id]
