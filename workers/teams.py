"""What becomes of teams at their deadline: closing, rescue, decision; in bounded batches.

The scripts decide and know the time; this loop only asks, often enough. A team that is closing is
looked at again and again until it is decided. Who is still paying when the closing is over leaves
first; then consenting members of a team that would fail are moved (rescue.py); then it is decided.
Teams of a cancelled campaign do not wait for their deadline (cancelled.py), nor is anybody moved.
"""

import logging
from collections.abc import Awaitable, Iterable, Sequence

from sqlalchemy import select

from campaigns.order.models import Order
from engine import keys
from engine.errors import Unavailable
from engine.teams import Teams
from workers.alarms import end_alarm, raise_alarm
from workers.cancelled import CancelledTeams, honour
from workers.loop import Parts, describe, each, is_outage
from workers.rescue import Leftover, Member, OpenTeam, plan

log = logging.getLogger(__name__)

ROUNDS_MAX = 3  # plans of one offer in a turn: a seat that was just lost asks for another
_MEMBER = ("state", "seat", "consent", "newcomer", "paid_at_ms")


class TeamWatch:
    """The turns of one process."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._teams = Teams(parts.inventory.wire, parts.inventory.epochs)
        self._cancelled = CancelledTeams(parts)
        self._refused: set[str] = set()  # teams and offers whose trouble has been told
        self._waited: set[str] = (
            set()
        )  # teams that waited for others which close with the next turn

    async def run_once(self) -> int:
        """A batch of each shard; how many teams past their deadline were looked at."""
        looked_at, unreachable = 0, None
        for shard in range(self._parts.settings.shards):
            try:
                looked_at += await self._shard(shard)
            except Unavailable as error:  # reopening, or no campaign there yet
                unreachable = error
        if unreachable is not None and not self._parts.inventory.wire.connected:
            raise unreachable
        return looked_at

    async def _shard(self, shard: int) -> int:
        settings = self._parts.settings
        early = await self._cancelled.due(shard)
        reply = await self._teams.close(
            shard, settings.team_batch_max, again_ms=settings.team_again_ms, early=early
        )
        if reply.what != "closing":
            return 0
        closing = reply.details[1:]
        await each(closing, lambda one: self._isolated(one, self._let_unpaid_go(shard, one)))
        put_off = await self._rescue(shard, closing)
        decided: list[str] = []
        due = [team_id for team_id in closing if team_id not in put_off]
        await each(due, lambda one: self._isolated(one, self._decide(shard, one, decided)))
        if decided:
            async with self._parts.db.begin() as session:
                await end_alarm(session, *map(_alarm_of, decided))
            self._refused -= set(decided)
            self._waited -= set(decided)
        return int(reply.details[0])

    async def _isolated(self, team_id: str, work: Awaitable[None]) -> None:
        """What one team does not allow is a bug that somebody must see, and stands in no other
        team's way: an alarm, which ends when the team is decided after all."""
        try:
            await work
        except Exception as error:
            if is_outage(error):
                raise
            if team_id in self._refused:
                return
            log.exception("team %s", team_id)
            detail = {"team_id": team_id, "why": describe(error)}
            async with self._parts.db.begin() as session:
                await raise_alarm(
                    session, _alarm_of(team_id), kind="not_decided", shard=None, detail=detail
                )
            self._refused.add(team_id)

    async def _let_unpaid_go(self, shard: int, team_id: str) -> None:
        """When the closing is over, those who still have not paid leave."""
        team = await self._teams.state(shard, team_id)
        if team.get("state") != "closing" or team["paying"] == "0":
            return
        closing_ms = int(await self._of_offer(shard, team["offer_id"], "closing_max_ms"))
        if await hot_now_ms(self._teams) < int(team["deadline_ms"]) + closing_ms:
            return
        reply = await self._teams.decide(shard, team_id, await self._unpaid(team_id))
        log.info("team %s: the closing is over: %s", team_id, reply)

    async def _unpaid(self, team_id: str) -> list[str]:
        query = (
            select(Order.claim_id)
            .where(Order.team_id == team_id, Order.seat == "taken", Order.claim_state == "paying")
            .order_by(Order.claim_id)
            .limit(self._parts.settings.team_unpaid_max)
        )
        async with self._parts.db.begin() as session:
            return list(await session.scalars(query))

    async def _decide(self, shard: int, team_id: str, decided: list[str]) -> None:
        reply = await self._teams.decide(shard, team_id)
        if reply.what == "honours":
            await honour(self._parts.db, self._teams, shard, team_id)
        if reply.what in ("formed", "failed"):
            decided.append(team_id)
            log.info("team %s is %s", team_id, reply.what)

    async def _rescue(self, shard: int, closing: Sequence[str]) -> set[str]:
        """Move whom a plan moves; the teams whose decision waits for the rest of their plan."""
        by_offer: dict[str, list[str]] = {}

        async def sort(team_id: str) -> None:
            team = await self._teams.state(shard, team_id)
            if team.get("kind") != "team" or not _would_fail(team):
                return
            if await self._of_offer(shard, team["offer_id"], "state") != "cancelled":
                by_offer.setdefault(team["offer_id"], []).append(team_id)

        for team_id in closing:
            await self._isolated(team_id, sort(team_id))
        put_off: set[str] = set()

        async def of(offer_id: str, team_ids: Sequence[str]) -> None:
            put_off.update(await self._rescue_of(shard, offer_id, team_ids))

        for offer_id, team_ids in by_offer.items():
            await self._isolated(offer_id, of(offer_id, team_ids))
        return put_off

    async def _rescue_of(self, shard: int, offer_id: str, team_ids: Sequence[str]) -> set[str]:
        settings = self._parts.settings
        left = settings.rescue_batch_max
        for _ in range(ROUNDS_MAX):
            leftovers = await self._leftovers(shard, team_ids)
            if not any(member.consent for one in leftovers for member in one.members):
                return set()
            planned = plan(
                leftovers,
                await self._open_teams(shard, offer_id),
                newcomers_only=await self._of_offer(shard, offer_id, "newcomers_only") == "1",
                moves_max=left,
            )
            refused = 0
            for move in planned.moves:
                reply = await self._teams.move(shard, move.claim_id, move.team_id)
                left -= reply.what == "moved"
                refused += reply.what != "moved"
                log.info("rescue of %s into %s: %s", move.claim_id, move.team_id, reply.what)
            if planned.put_off:
                # A run that could move nobody has no reason to wait for another.
                return set(planned.put_off) if left < settings.rescue_batch_max else set()
            if not refused:
                break
        # Whose deadline has passed since this turn began closes with the next: they may make one.
        first = set(team_ids) - self._waited
        if first and await self._others_are_due(shard, offer_id, team_ids):
            self._waited |= first  # each waits for that once
            return first
        return set()

    async def _others_are_due(self, shard: int, offer_id: str, team_ids: Sequence[str]) -> bool:
        """Whether another team of the offer is past its deadline and not yet closing."""
        due = await self._teams.due(shard, self._parts.settings.rescue_targets_max)
        for team_id in due:
            team = await self._teams.state(shard, team_id)
            ends = team.get("state") == "forming" and team["held"] == "0"
            if ends and team["offer_id"] == offer_id and team_id not in team_ids:
                return True
        return False

    async def _of_offer(self, shard: int, offer_id: str, field: str) -> str:
        raw: bytes = await self._teams.wire.call("HGET", keys.offers(shard) + offer_id, field)
        return raw.decode()

    async def _leftovers(self, shard: int, team_ids: Iterable[str]) -> list[Leftover]:
        found = []
        for team_id in team_ids:
            team = await self._teams.state(shard, team_id)
            if team.get("state") != "closing" or not _would_fail(team):
                continue
            seats = await self._teams.seats(shard, team_id)
            members = [await self._member(shard, *seat) for seat in seats.items()]
            paid = sorted(
                (one for one in members if one), key=lambda one: (one[0], one[1].claim_id)
            )
            missing = int(team["size"]) - int(team["paid"]) - int(team["subsidy"])
            found.append(Leftover(team_id, missing, tuple(member for _, member in paid)))
        return found

    async def _member(self, shard: int, buyer_id: str, claim_id: str) -> tuple[int, Member] | None:
        raw = await self._teams.wire.call("HMGET", keys.claims(shard) + claim_id, *_MEMBER)
        state, seat, consent, newcomer, paid_at_ms = ((part or b"").decode() for part in raw)
        if state != "paid" or seat != "1":
            return None
        return int(paid_at_ms or 0), Member(claim_id, buyer_id, consent == "1", newcomer == "1")

    async def _open_teams(self, shard: int, offer_id: str) -> list[OpenTeam]:
        now_ms, most = await hot_now_ms(self._teams), self._parts.settings.rescue_targets_max
        found = []
        for team_id in await self._teams.joinable(shard, offer_id, now_ms, most):
            team = await self._teams.state(shard, team_id)
            if team.get("state") != "forming":
                continue
            buyers = frozenset(await self._teams.seats(shard, team_id))
            taken = sum(int(team[one]) for one in ("held", "paying", "paid", "subsidy"))
            free = int(team["size"]) - taken
            found.append(OpenTeam(team_id, free, int(team["deadline_ms"]), buyers))
        return found


async def hot_now_ms(teams: Teams) -> int:
    """The hot store's clock."""
    seconds, micros = await teams.wire.call("TIME")
    return int(seconds) * 1_000 + int(micros) // 1_000


def _alarm_of(one_id: str) -> str:
    return f"not_decided:{one_id}"


def _would_fail(team: dict[str, str]) -> bool:
    """Nothing that could still fill it is under way."""
    return team["state"] == "closing" and team["held"] == "0" and team["paying"] == "0"
