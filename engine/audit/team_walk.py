"""Teams as the archive tells them, event by event, and what of it breaks a law. Pure.

`TeamWalk` takes the settled events of a shard in their order and keeps who sits where. Each step
first asks the laws (capacity, nobody twice, no seat after the decision, nobody held past the
deadline, the price in force), then follows the event, so one fault is not told for ever.
"""

from collections import Counter
from collections.abc import Mapping

from engine.audit import team_rights
from engine.audit.team_rights import Asked, LawName
from engine.audit.team_states import DECIDED, WalkClaim, WalkTeam, mend
from engine.events import (
    AnyEvent,
    ClaimHeld,
    ClaimPaid,
    ClaimPaying,
    ClaimReleased,
    ClaimReturned,
    Closing,
    CrowdFormed,
    CrowdProgress,
    CrowdReached,
    CrowdSeatLeft,
    Decided,
    Event,
    OfferClosed,
    OfferOpened,
    SeatFilled,
    SeatLeft,
    SeatMoved,
    TeamFormed,
    TeamOpened,
    TeamSubsidised,
)
from engine.offers import OfferConfig

LAW_NAMES: tuple[LawName, ...] = ("I9", "T1", "T2", "T3", "T4", "T6", "T7")


class TeamWalk:
    """The walk over one shard after the other; `problems` by law, `facts` looked at by law."""

    def __init__(self, configs: Mapping[str, OfferConfig]) -> None:
        self._configs = configs
        self.teams: dict[str, WalkTeam] = {}
        self.claims: dict[str, WalkClaim] = {}
        self.commands: dict[str, int] = {}  # of subsidies: seats
        self.problems: dict[LawName, list[str]] = {law: [] for law in LAW_NAMES}
        self.facts: dict[LawName, int] = dict.fromkeys(LAW_NAMES, 0)
        self.unsure: set[str] = set()  # teams, claims and commands with dead letters
        self._openers: dict[tuple[str, str], str] = {}
        self._shard = self._epoch = 0
        self._offers: list[str] = []  # opened in this shard
        self._filled_seats: Counter[str] = Counter()  # by the merchant, of each offer
        self._closed: dict[str, str] = {}  # offers that are not open any more, and how

    def expect(self, law: LawName, holds: bool, text: str) -> None:
        """Count a fact of this law."""
        self.facts[law] += 1
        if not holds:
            self.problems[law].append(text)

    def _ask(self, asked: Asked) -> None:
        for law, holds, text in asked:
            self.expect(law, holds, text)

    def read(self, event: AnyEvent, shard: int, epoch: int) -> None:
        """The next settled event; shards one after the other, each from its first epoch."""
        if shard != self._shard:
            self._offers = []
        elif epoch != self._epoch:
            self._mend()
        self._shard, self._epoch = shard, epoch
        match event:
            case OfferOpened():
                self._offers.append(event.offer_id)
            case OfferClosed():
                self._closed[event.offer_id] = event.state
            case TeamOpened():
                self._opened(event)
            case ClaimHeld():
                if event.team_id:
                    self._held(event)
            case ClaimPaying() | ClaimReleased() | ClaimReturned():
                self._claim(event)
            case ClaimPaid():
                self._paid(event)
            case SeatFilled() | CrowdProgress():
                self._filled(event)
            case SeatLeft() | CrowdSeatLeft():
                self._left(event)
            case SeatMoved():
                self._moved(event)
            case CrowdReached():
                self._reached(event)
            case TeamSubsidised():
                self._subsidised(event)
            case Closing():
                self._closing(event)
            case Decided():
                self._decided(event)
            case _:
                pass
        team = self.teams.get(getattr(event, "team_id", ""))
        if team is not None:
            team.note_full(event.at_ms)

    def end(self) -> None:
        """After the last event: nothing is owed, and who sits is held, paying or paid."""
        for team_id, team in self.teams.items():
            if team.state in DECIDED:
                continue
            self.expect("T1", not team.owes, f"team {team_id} owes {team.owes}")
            for claim_id in team.seats.values():
                state = self.claims[claim_id].state
                sits = state in ("held", "paying", "paid")
                self.expect("T3", sits, f"claim {claim_id} is {state} and sits in team {team_id}")

    def set_aside(self) -> None:
        """Say nothing of teams with dead letters: I10 does, until a person has resolved them."""
        teams = {self.claims[one].team_id for one in self.unsure if one in self.claims}
        self.unsure |= teams
        if self.unsure:
            self.unsure |= {
                claim_id for claim_id, one in self.claims.items() if one.team_id in self.unsure
            }
        for law, problems in self.problems.items():
            self.problems[law] = [
                text for text in problems if not any(one in text for one in self.unsure)
            ]

    def _mend(self) -> None:
        """A new epoch: what a lost script's tail would have said has been made up for."""
        for offer_id in self._offers:
            config = self._configs.get(offer_id)
            crowd_id = config.team.crowd_id if config is not None and config.team else ""
            if config is not None and crowd_id and crowd_id not in self.teams:
                self.teams[crowd_id] = WalkTeam(
                    *("crowd", offer_id, "", 0, config.ends_at_ms, "forming", self._shard)
                )
        mend(self.teams, self.claims, self._shard, self._due_step)
        self._openers = {
            whose: team_id
            for whose, team_id in self._openers.items()
            if whose[1] in self.teams[team_id].seats
        }

    def _team(self, event: Event, team_id: str, owed: str = "") -> WalkTeam | None:
        """The event's team, which must not be decided; what it owes must be this event."""
        kind, at = event.__struct_config__.tag, f"seq {event.seq} of epoch {self._epoch}"
        team = self.teams.get(team_id)
        if team is None:
            self.expect("T3", False, f"{at}: {kind} of team {team_id}, which nobody opened")
            return None
        text = f"{at}: {kind} of team {team_id}, which is {team.state}"
        self.expect("T4", team.state not in DECIDED, text)
        if team.owes:
            self.expect("T1", team.owes == owed, f"{at}: {kind} of {team_id}, it owes {team.owes}")
            team.owes = ""
        return team

    def _opened(self, event: TeamOpened) -> None:
        name = f"team {event.team_id} of offer {event.offer_id}"
        self.expect("T4", event.team_id not in self.teams, f"{name} was opened twice")
        config = self._configs.get(event.offer_id)
        ends_at_ms = config.ends_at_ms if config is not None else event.deadline_ms
        self.expect("T6", event.deadline_ms <= ends_at_ms, f"{name} outlives it: {ends_at_ms}")
        self.teams[event.team_id] = WalkTeam(
            kind=event.team_kind,
            offer_id=event.offer_id,
            opener_id=event.opener_id,
            captain=event.opener_id,
            size=event.size,
            deadline_ms=event.deadline_ms,
            state="forming" if event.team_kind == "crowd" else "opening",
            shard=self._shard,
        )
        if event.opener_id:
            whose = (event.offer_id, event.opener_id)
            other = self._openers.get(whose)
            text = f"{name} was opened by {event.opener_id}, who had {other} open"
            self.expect("T2", other is None, text)
            self._openers[whose] = event.team_id

    def _sit(self, team_id: str, team: WalkTeam, claim_id: str, claim: WalkClaim) -> None:
        text = f"buyer {claim.buyer_id} has two seats in team {team_id}"
        self.expect("T2", claim.buyer_id not in team.seats, text)
        team.seats[claim.buyer_id] = claim_id
        claim.team_id, claim.seat = team_id, "taken"
        if team.kind == "team":
            taken = len(team.seats) + team.subsidy
            text = f"team {team_id} of {team.size} has {taken} seats taken, by {claim_id}"
            self.expect("T1", taken <= team.size, text)
            # Of all who ask for a last seat one holds it: the same count, asked of held seats.
            self.expect("T7", taken <= team.size, text)

    def _held(self, event: ClaimHeld) -> None:
        team = self._team(event, event.team_id)
        if team is None:
            return
        claim = WalkClaim(event.buyer_id, event.team_id, event.offer_id, event.consent == "1")
        claim.held_in = self._epoch
        config = self._configs.get(event.offer_id)
        if config is not None and config.team is not None:
            self._ask(team_rights.held(event, team, config))
        closed = self._closed.get(event.offer_id, "")
        on_sale = not closed or (closed == "finishing" and team.state in ("forming", "reached"))
        self.expect("I9", on_sale, f"claim {event.claim_id} is of an offer that is {closed}")
        self.claims[event.claim_id] = claim
        inside = event.at_ms < team.deadline_ms and event.expires_at_ms <= team.deadline_ms
        text = f"claim {event.claim_id} is held until {event.expires_at_ms}"
        self.expect("T6", inside, f"{text}, team {event.team_id} ends at {team.deadline_ms}")
        self._sit(event.team_id, team, event.claim_id, claim)

    def _claim(self, event: ClaimPaying | ClaimReleased | ClaimReturned) -> None:
        claim = self.claims.get(event.claim_id)
        if claim is None:
            return
        if isinstance(event, ClaimPaying):
            claim.state = "paying"
            team = self.teams.get(claim.team_id)
            if team is not None and claim.seat == "taken":
                text = f"claim {event.claim_id} may be paid until {event.pay_expires_at_ms}"
                inside = event.pay_expires_at_ms <= team.deadline_ms
                self.expect("T6", inside, f"{text}, its team ends at {team.deadline_ms}")
        elif isinstance(event, ClaimReleased):
            claim.state = "released"
        elif event.left == 0:
            claim.state = "returned"

    def _paid(self, event: ClaimPaid) -> None:
        claim = self.claims.get(event.claim_id)
        if claim is None:
            return
        claim.state = "paid"
        if event.landed:
            team = self._team(event, event.team_id)
            if team is not None:
                config = self._configs.get(team.offer_id)
                self._ask(team_rights.landed(event, claim, team, config))
                self._sit(event.team_id, team, event.claim_id, claim)
        seated = claim.seat == "taken" and claim.team_id == event.team_id
        self.expect("T3", seated, f"claim {event.claim_id} was paid without a seat")

    def _filled(self, event: SeatFilled | CrowdProgress) -> None:
        team = self._team(event, event.team_id)
        claim = self.claims.get(event.claim_id)
        if team is None or claim is None:
            return
        if claim.moving == event.team_id:
            claim.moving = ""
            self._sit(event.team_id, team, event.claim_id, claim)
        sits = team.seats.get(claim.buyer_id) == event.claim_id and claim.state == "paid"
        self.expect("T3", sits, f"claim {event.claim_id} fills no seat of team {event.team_id}")
        team.paid.add(event.claim_id)
        self._count(event.team_id, team, event.paid)
        if team.state == "opening":
            team.state = "forming"
        if team.kind == "team" and len(team.paid) + team.subsidy >= team.size:
            team.owes = "team.formed"
        if self._due_step(team) > team.step:
            team.owes = "crowd.reached"

    def _due_step(self, team: WalkTeam) -> int:
        """The highest step whose seats are paid now."""
        config = self._configs.get(team.offer_id)
        steps = config.team.steps if config is not None and config.team is not None else ()
        return sum(1 for least, _, _ in steps if team.kind == "crowd" and len(team.paid) >= least)

    def _count(self, team_id: str, team: WalkTeam, said: int) -> None:
        text = f"team {team_id} says {said} paid seats, its events make {len(team.paid)}"
        self.expect("T3", said == len(team.paid), text)

    def _left(self, event: SeatLeft | CrowdSeatLeft) -> None:
        team = self._team(event, event.team_id)
        claim = self.claims.get(event.claim_id)
        if team is None or claim is None:
            return
        sat = team.seats.get(claim.buyer_id) == event.claim_id
        self.expect("T3", sat, f"claim {event.claim_id} leaves team {event.team_id}, not in it")
        if sat:
            del team.seats[claim.buyer_id]
        team.paid.discard(event.claim_id)
        claim.seat = "left"
        if team.kind == "team":
            self._ask(team_rights.led(event.team_id, team, claim.buyer_id, event.captain_id))
            team.captain = event.captain_id
        if self._openers.get((team.offer_id, claim.buyer_id)) == event.team_id:
            del self._openers[team.offer_id, claim.buyer_id]
        self._count(event.team_id, team, event.paid)

    def _moved(self, event: SeatMoved) -> None:
        source, target = self.teams.get(event.from_team_id), self._team(event, event.team_id)
        claim = self.claims.get(event.claim_id)
        if source is None or target is None or claim is None:
            return
        sides = (event.from_team_id, event.team_id)
        paying = {one for one in sides if self._is_paying(self.teams[one])}
        self._ask(team_rights.moved(event, claim, self.teams, paying))
        claim.moving = event.team_id

    def _is_paying(self, team: WalkTeam) -> bool:
        return any(self.claims[one].state == "paying" for one in team.seats.values())

    def _reached(self, event: CrowdReached) -> None:
        team = self._team(event, event.team_id, "crowd.reached")
        if team is None:
            return
        due = self._due_step(team)
        right = event.step == team.step + 1 and event.step <= due
        text = f"crowd {event.team_id} reached step {event.step} with {len(team.paid)} paid seats"
        self.expect("T1", right, f"{text} after step {team.step}")
        team.step = event.step
        team.state = "reached" if team.state == "forming" else team.state
        team.owes = "crowd.reached" if due > team.step else ""

    def _subsidised(self, event: TeamSubsidised) -> None:
        team = self._team(event, event.team_id)
        if team is None:
            return
        if event.honour:
            right = self._is_honoured(team) and team.state == "closing"
            text = f"the merchant honours team {event.team_id}"
            self.expect("T3", right, f"{text}, which was not promised")
        if not event.honour:
            self._filled_seats[event.offer_id] += event.seats
            team.budgeted += event.seats
        filled = self._filled_seats[event.offer_id]
        self._ask(team_rights.subsidised(event, team, self._configs.get(team.offer_id), filled))
        team.subsidy += event.seats
        self.commands[event.command_id] = event.seats
        taken = len(team.seats) + team.subsidy
        text = f"team {event.team_id} of {team.size} has {taken} seats taken, by a subsidy"
        self.expect("T1", taken <= team.size, text)
        if len(team.paid) + team.subsidy >= team.size:
            team.owes = "team.formed"

    def _is_honoured(self, team: WalkTeam) -> bool:
        """Its campaign was cancelled and promised that who has paid gets it."""
        config = self._configs.get(team.offer_id)
        promised = config is not None and config.on_cancel == "honour" and team.kind == "team"
        return promised and self._closed.get(team.offer_id) == "cancelled"

    def _closing(self, event: Closing) -> None:
        team = self._team(event, event.team_id)
        if team is None:
            return
        team.state = "closing"
        if event.deadline_ms:
            cancelled = self._closed.get(team.offer_id) == "cancelled"
            text = f"team {event.team_id} closes before its deadline"
            self.expect("T1", cancelled, f"{text}, its offer is not cancelled")
            team.deadline_ms = event.deadline_ms
        else:
            team.closed_at_ms = event.at_ms
        held = [
            claim_id
            for claim_id in team.seats.values()
            # What an older epoch held may have come back as paying, without an event of it.
            if self.claims[claim_id].state == "held"
            and self.claims[claim_id].held_in == self._epoch
        ]
        self.expect("T6", not held, f"team {event.team_id} closes while {held[:3]} are held")
        self._count(event.team_id, team, event.paid)

    def _decided(self, event: Decided) -> None:
        formed = isinstance(event, TeamFormed | CrowdFormed)
        team = self._team(event, event.team_id, "team.formed" if formed else "")
        if team is None or team.state in DECIDED:
            return
        name = f"team {event.team_id} is {'formed' if formed else 'failed'}"
        told = (len(team.paid), team.subsidy, team.step)
        said = (event.paid, event.subsidy, event.step)
        self.expect("T3", told == said, f"{name} with {said}, its events make {told}")
        if team.kind == "crowd":
            self.expect("T1", formed == (team.step > 0), f"{name} with step {team.step}")
        else:
            full = told[0] + team.subsidy == team.size
            self.expect("T1", formed == full, f"{name} with {told[0]} paid of {team.size}")
            left = not formed and team.paid and self._is_honoured(team)
            self.expect("T1", not left, f"{name}, which its cancelled campaign was to honour")
        cancelled = self._closed.get(team.offer_id) == "cancelled"
        true = {"cancelled": cancelled, "deadline": not cancelled}.get(event.why, True)
        self.expect("T1", true, f"{name} because of {event.why}, which is not so")
        # A failing team has let go of who has not paid, or waits for them.
        unpaid = set(team.seats.values()) - team.paid
        self.expect("T3", not unpaid, f"{name}, its seats {sorted(unpaid)[:3]} are not paid")
        team.state = "formed" if formed else "failed"
        if not formed:  # the merchant may fill other seats for these
            self._filled_seats[team.offer_id] -= team.budgeted
        if self._openers.get((team.offer_id, team.opener_id)) == event.team_id:
            del self._openers[team.offer_id, team.opener_id]
