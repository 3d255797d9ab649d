"""The typed commands on teams: a seat is a claim with its stock and limits, held before payment.

Paying, releasing and giving back a seat are the same commands as for any claim
(engine/inventory.py); here are those that only teams have.
"""

from collections.abc import Sequence

import msgspec

from engine import keys
from engine.commands import Commands, Reply
from engine.ids import new_nonce

_SEAT_FREE = (
    *("idem", "nonce", "buyer_id", "qty", "price_id", "key", "body_hash", "touch"),
    *("traits", "team_id", "consent"),
)


class Teams(Commands):
    """Commands on seats and teams over one wire."""

    async def seat(
        self,
        shard: int,
        *,
        offer_id: str,
        campaign_id: str,
        buyer_id: str,
        qty: int,
        price_id: str,
        key: str,
        body_hash: str,
        team_id: str = "",
        consent: bool = False,
        touch: str = "",
        traits: str = "",
    ) -> Reply:
        """held|stored (claim_id, price_id, price_fen, expires_at_ms) or why not.

        `team_id` "" opens a team, or takes a seat of the offer's crowd; `traits` as
        `Access.all_traits` has them.
        """
        idem = keys.idem(shard, buyer_id, offer_id, key)
        packed = self._ready("seat", (shard, offer_id, campaign_id), _SEAT_FREE).pack(
            *(idem, new_nonce(), buyer_id, str(qty), price_id, key, body_hash, touch),
            *(traits, team_id, "1" if consent else ""),
        )
        return await self._reply(self.wire.send(packed))

    async def close(
        self, shard: int, batch: int, *, again_ms: int, early: Sequence[str] = ()
    ) -> Reply:
        """closing (looked_at, team_id …): teams past their deadline, at most `batch`.

        `early` are teams of cancelled offers, which need not have come to theirs. All of these
        are looked at again after `again_ms`.
        """
        listed = msgspec.json.encode(list(early)).decode()
        return await self._run(
            "team_close", shard, None, batch=batch, again_ms=again_ms, early=listed
        )

    async def decide(self, shard: int, team_id: str, unpaid: Sequence[str] = ()) -> Reply:
        """formed | failed | honours (missing) | waiting (paying) | left (seats) |
        not_closing (state) | unknown.

        `unpaid` are claims that may still be paying: they leave when the closing is over.
        """
        listed = msgspec.json.encode(list(unpaid)).decode()
        return await self._run("team_decide", shard, None, team_id=team_id, unpaid=listed)

    async def move(self, shard: int, claim_id: str, team_id: str) -> Reply:
        """moved (new team's state) | not_paid | no_consent | no_seat | not_failing | unknown."""
        return await self._run("team_move", shard, None, claim_id=claim_id, team_id=team_id)

    async def subsidise(
        self,
        shard: int,
        team_id: str,
        *,
        command_id: str,
        seats: int,
        honour: bool = False,
        epoch: int | None = None,
    ) -> Reply:
        """subsidised (state) | over_budget (left) | no_seat (left) | not_open (state) | done |
        unknown.

        `honour`: because the offer was cancelled and promised it, whatever the budget.
        """
        return await self._run(
            "team_subsidise",
            shard,
            epoch,
            did=keys.did(shard, command_id),
            team_id=team_id,
            command_id=command_id,
            seats=seats,
            honour="1" if honour else "",
        )

    async def look(self, shard: int, team_id: str) -> Reply:
        """team (state, step) at this instant | unknown | reopening: a read behind the fence."""
        return await self._run("team_look", shard, None, team_id=team_id)

    async def state(self, shard: int, team_id: str) -> dict[str, str]:
        """The team's hash; empty when the hot store knows none of that id."""
        return await self.hash_of(keys.groups(shard) + team_id)

    async def seats(self, shard: int, team_id: str) -> dict[str, str]:
        """buyer_id → claim_id of those who sit in it."""
        return await self.hash_of(f"{keys.groups(shard)}{team_id}:seats")

    async def seat_of(self, shard: int, team_id: str, buyer_id: str) -> str | None:
        """The claim by which this buyer sits in it; a crowd's seats are too many to read."""
        found = await self.wire.call("HGET", f"{keys.groups(shard)}{team_id}:seats", buyer_id)
        return found.decode() if found is not None else None

    async def due(self, shard: int, most: int) -> list[str]:
        """Ids of teams to be looked at now: past their deadline, and open or closing."""
        seconds, micros = await self.wire.call("TIME")
        now_ms = int(seconds) * 1_000 + int(micros) // 1_000
        found = await self.wire.call(
            *("ZRANGE", f"{keys.groups(shard)}deadlines", "-inf", now_ms),
            *("BYSCORE", "LIMIT", 0, most),
        )
        return [one.decode() for one in found]

    async def joinable(self, shard: int, offer_id: str, now_ms: int, most: int) -> list[str]:
        """Ids of teams with a free seat, earliest deadline first."""
        found = await self.wire.call(
            *("ZRANGE", f"{keys.groups(shard)}joinable:{offer_id}", now_ms, "+inf"),
            *("BYSCORE", "LIMIT", 0, most),
        )
        return [one.decode() for one in found]
