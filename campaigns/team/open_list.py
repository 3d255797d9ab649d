"""The list of open teams of an offer: came by this captain's link, same store, fewest seats
missing, earliest deadline.

However many buyers look, a process reads an offer's teams at most once per `KEEP_MS`; only the
order is each buyer's own. A link names a team, so that no page ever carries a member's id.
"""

import asyncio
from typing import NamedTuple

from campaigns.catalog import Catalog, Listed
from campaigns.team.hot import TeamNow, from_hot
from campaigns.team.people import nicknames, stores_of
from campaigns.team.schemas import OpenTeam, OpenTeams
from engine import keys
from engine.db import Database
from engine.ids import now_ms, shard_of_team
from engine.teams import Teams

KEEP_MS = 500
OFFERS_KEPT_MAX = 1_000
LOOK_MAX = 200  # teams read, earliest deadline first
SHOWN_MAX = 50


class _Open(NamedTuple):
    team: TeamNow
    captain: str
    store_id: str | None


class _Read(NamedTuple):
    at_ms: int
    teams: tuple[_Open, ...]
    available: int


class OpenTeamList:
    """The open teams that one process knows."""

    def __init__(self, db: Database, teams: Teams, catalog: Catalog) -> None:
        self._db = db
        self._teams = teams
        self._catalog = catalog
        self._kept: dict[str, _Read] = {}
        self._reading: dict[str, asyncio.Lock] = {}

    async def show(self, offer_id: str, *, captain: str | None, store_id: str | None) -> OpenTeams:
        """Teams that can be joined; none for offers of other kinds.

        `captain`: the team of the link that was followed. Missing `offer_not_found`; Unavailable
        while the hot store is away: a list that cannot be joined is of no use.
        """
        listed = await self._catalog.find(offer_id)
        rules = listed.config.team
        now = now_ms()
        if rules is None or not rules.size:
            return OpenTeams(teams=(), stock_for_one=False, stock_for_new=False, server_time_ms=now)
        read = await self._read(listed)
        linked = await self._captain_of(captain, read)
        shown = [
            OpenTeam(
                team_id=one.team.team_id,
                captain=one.captain,
                linked=linked is not None and one.team.captain_id == linked,
                same_store=store_id is not None and one.store_id == store_id,
                size=one.team.size,
                seats_left=one.team.left,
                deadline_ms=one.team.deadline_ms,
            )
            for one in read.teams
            if one.team.deadline_ms > now
        ]
        shown.sort(
            key=lambda one: (not one.linked, not one.same_store, one.seats_left, one.deadline_ms)
        )
        return OpenTeams(
            teams=tuple(shown[:SHOWN_MAX]),
            stock_for_one=read.available >= rules.seat_qty,
            stock_for_new=read.available >= rules.size * rules.seat_qty,
            server_time_ms=now,
        )

    async def _captain_of(self, team_id: str | None, read: _Read) -> str | None:
        if team_id is None:
            return None
        for one in read.teams:
            if one.team.team_id == team_id:
                return one.team.captain_id
        shard = shard_of_team(team_id)
        hot = await self._teams.state(shard, team_id) if shard is not None else {}
        return hot.get("captain_id") or None

    async def _read(self, listed: Listed) -> _Read:
        kept = self._kept.get(listed.offer_id)
        if kept is not None and now_ms() - kept.at_ms < KEEP_MS:
            return kept
        async with self._reading.setdefault(listed.offer_id, asyncio.Lock()):
            kept = self._kept.get(listed.offer_id)
            if kept is None or now_ms() - kept.at_ms >= KEEP_MS:
                self._kept.pop(listed.offer_id, None)
                while len(self._kept) >= OFFERS_KEPT_MAX:
                    oldest = next(iter(self._kept))
                    del self._kept[oldest]
                    self._reading.pop(oldest, None)
                kept = self._kept[listed.offer_id] = await self._ask(listed)
            return kept

    async def _ask(self, listed: Listed) -> _Read:
        shard, offer_id, now = listed.shard, listed.offer_id, now_ms()
        ids = await self._teams.joinable(shard, offer_id, now, LOOK_MAX)
        offer, *found = await asyncio.gather(
            self._teams.hash_of(keys.offers(shard) + offer_id),
            *(self._teams.state(shard, team_id) for team_id in ids),
        )
        teams = [from_hot(team_id, hot) for team_id, hot in zip(ids, found, strict=True) if hot]
        if offer.get("state") not in ("open", "finishing"):  # nobody is seated any more
            offer, teams = {}, []
        teams = [team for team in teams if team.state == "forming" and team.left]
        captains = {team.captain_id for team in teams}
        async with self._db.begin() as session:
            names = await nicknames(session, captains)
            stores = await stores_of(session, captains)
        return _Read(
            now,
            tuple([_Open(one, names[one.captain_id], stores[one.captain_id]) for one in teams]),
            int(offer.get("available", 0)),
        )
