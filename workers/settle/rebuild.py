"""Rebuild a shard's hot state from PostgreSQL: offers, claims, limits, answers, teams and lists.

Read are offers that were opened and the orders of campaigns that are not past their keeping
time, by `claim_state` (never by their money's state). A held order with an open payment attempt
or an undecided fact comes back as paying: its units may only come free with a receipt. Written
in bounded batches by a script that carries the new epoch and refuses once a newer one has begun.
"""

from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import msgspec
from sqlalchemy import text

from engine import keys
from engine.db import Database
from engine.errors import Unavailable
from engine.ids import now_ms, parse_claim_id
from engine.inventory import OfferConfig
from engine.scripts import load_all
from engine.wire import Wire
from workers.settle import positions
from workers.settle.mend import mend_teams
from workers.settle.rebuild_teams import TEAMS, RebuiltTeams
from workers.settle.rebuild_waits import WAITS, RebuiltWaits

Command = list[str]
_LIVE = ("held", "paying", "paid")

_OFFERS = text(
    "SELECT id, state, config, total FROM offers WHERE shard = :shard AND state <> 'scheduled'"
    " AND total > 0 ORDER BY id"  # cancelled before its host launched it: nobody has seen it
)
_ORDERS = text(
    """
    SELECT o.id, o.claim_id, o.offer_id, o.campaign_id, o.buyer_id, o.units, o.price_id,
           o.unit_price_fen, o.claim_state, o.expires_at_ms, o.pay_expires_at_ms, o.attempt_id,
           o.payment_id, o.idem_key, o.body_hash, o.claimed_at_ms, o.paid_at_ms, o.team_id,
           o.seat, o.consent, o.newcomer, a.id AS open_attempt,
           a.pay_expires_at_ms AS open_until_ms
    FROM orders o
    LEFT JOIN LATERAL (
      SELECT id, pay_expires_at_ms FROM payment_attempts
      WHERE claim_id = o.claim_id AND o.claim_state = 'held' AND (state = 'open' OR EXISTS (
        SELECT 1 FROM payment_facts f WHERE f.attempt_id = payment_attempts.id
                                        AND f.outcome IS NULL))
      ORDER BY created_at_ms LIMIT 1
    ) a ON true
    WHERE o.shard = :shard AND o.id > :after ORDER BY o.id LIMIT :limit
    """
)
# The guard rejected these and their release never reached the stream: the rebuild is it.
_DROP_REJECTED = text(
    "UPDATE orders SET claim_state = 'released', release_due = false"
    " WHERE shard = :shard AND state = 'rejected' AND claim_state IN ('held', 'paying')"
)


class Rebuilder:
    """Writes one shard's state under one new epoch."""

    def __init__(self, db: Database, wire: Wire, shard: int, epoch: int, batch_max: int) -> None:
        self._db, self._wire = db, wire
        self._shard, self._epoch, self._batch_max = shard, epoch, batch_max
        self._write = load_all()["rebuild_write"]
        self._teams = RebuiltTeams(shard, (), ())
        self._waits = RebuiltWaits(shard, (), ())
        self._units: dict[str, Counter[str]] = {"held": Counter(), "sold": Counter()}

    async def run(self) -> None:
        """Clear what is left of the shard, then write everything but meta."""
        await self._clear()
        async with self._db.begin() as session:
            # An abandoned rebuild may wake up after a newer one: it must not touch orders then.
            await positions.hold(session, self._shard, self._epoch)
            await session.execute(_DROP_REJECTED, {"shard": self._shard})
            await mend_teams(session, self._shard)
            offers = (await session.execute(_OFFERS, {"shard": self._shard})).all()
            teams = (await session.execute(TEAMS, {"shard": self._shard})).mappings().all()
            waits = (await session.execute(WAITS, {"shard": self._shard})).all()
        configs = {row[0]: msgspec.convert(row[2], OfferConfig) for row in offers}
        kept = {one for one, config in configs.items() if config.keep_until_ms > now_ms()}
        self._teams = RebuiltTeams(self._shard, teams, kept)
        self._waits = RebuiltWaits(self._shard, waits, kept)
        async for orders in self._orders():
            commands: list[Command] = []
            for order in orders:
                if order["offer_id"] in kept:
                    commands += self._claim(order, configs[order["offer_id"]])
            await self._send(commands)
        commands = []
        for offer_id, state, _, total in offers:
            if offer_id in kept:
                commands += self._offer(offer_id, state, configs[offer_id], total)
        await self._send(commands + self._teams.commands(configs) + self._waits.commands())

    async def _clear(self) -> None:
        token = keys.token(self._shard).encode()
        await self._send([["DEL", keys.meta(self._shard)]])
        cursor = b"0"
        while True:
            cursor, found = await self._wire.call(
                "SCAN", cursor, "MATCH", keys.every(self._shard), "COUNT", 1_000
            )
            await self._send([["DEL", key.decode()] for key in found if key != token])
            if cursor == b"0":
                return

    async def _orders(self) -> AsyncIterator[list[dict[str, Any]]]:
        after = ""
        while True:
            async with self._db.begin() as session:
                rows = await session.execute(
                    _ORDERS, {"shard": self._shard, "after": after, "limit": self._batch_max}
                )
                page = [dict(row._mapping) for row in rows]
            if not page:
                return
            yield page
            after = page[-1]["id"]

    def _claim(self, order: dict[str, Any], config: OfferConfig) -> list[Command]:
        claim_id, offer_id, buyer = order["claim_id"], order["offer_id"], order["buyer_id"]
        state, units, shard = order["claim_state"], order["units"], self._shard
        born = parse_claim_id(claim_id)
        assert born is not None
        keep, expires = str(config.keep_until_ms), str(order["expires_at_ms"])
        fields = {
            "state": state,
            "offer_id": offer_id,
            "campaign_id": order["campaign_id"],
            "buyer_id": buyer,
            "units": str(units),
            "price_id": order["price_id"],
            "price_fen": str(order["unit_price_fen"]),
            "expires_at_ms": expires,
            "epoch": str(born.epoch),
            "seq": str(born.seq),
            "keep_until_ms": keep,
        }
        if order["open_attempt"]:
            # Its claim.paying was lost with the store: pay_begin of that attempt says it again.
            state = fields["state"] = "paying"
            fields["attempt_id"], fields["unsaid"] = order["open_attempt"], "1"
            fields["pay_expires_at_ms"] = str(order["open_until_ms"] or expires)
        elif order["attempt_id"]:
            fields["attempt_id"] = order["attempt_id"]
            fields["pay_expires_at_ms"] = str(order["pay_expires_at_ms"])
        if order["payment_id"]:
            fields["payment_id"] = order["payment_id"]
        seat, commands = self._teams.seat(order, state)
        fields |= seat
        key = keys.claims(shard) + claim_id
        flat = [part for pair in fields.items() for part in pair]
        commands.append(["HSET", key, *flat])
        answer = " ".join(
            (order["body_hash"], claim_id, order["price_id"], fields["price_fen"], expires)
        )
        idem = keys.idem(shard, buyer, offer_id, order["idem_key"])
        commands.append(["SET", idem, answer, "PXAT", keep])
        if state in ("held", "paying"):
            self._units["held"][offer_id] += units
            commands.append(["HSET", keys.holds(shard) + offer_id, claim_id, str(units)])
            if state == "held":
                commands.append(["ZADD", keys.deadlines(shard), expires, claim_id])
        elif state == "paid":
            self._units["sold"][offer_id] += units
        limits = keys.limits(shard)
        if state not in _LIVE:
            # An API process tells buyers without an entry `sold_out` from its memory; this one
            # has a stored answer.
            nothing = ["HINCRBY", limits + offer_id, buyer, "0"]
            return [*commands, nothing, ["PEXPIREAT", key, keep]]
        commands.append(["HINCRBY", limits + offer_id, buyer, str(units)])
        commands.append(["HINCRBY", limits + order["campaign_id"], buyer, str(units)])
        return commands

    def _offer(self, offer_id: str, state: str, config: OfferConfig, total: int) -> list[Command]:
        held, sold = self._units["held"][offer_id], self._units["sold"][offer_id]
        assert held + sold <= total, f"offer {offer_id}: {held} held + {sold} sold of {total}"
        fields = {
            **config.flat(),
            **self._teams.offer_fields(offer_id, config),
            **self._waits.offer_fields(offer_id),
            "state": state,
            "total": str(total),
            "available": str(total - held - sold),
            "held": str(held),
            "sold": str(sold),
            "rev": "0",
        }
        flat = [part for pair in fields.items() for part in pair]
        return [["HSET", keys.offers(self._shard) + offer_id, *flat]]

    async def _send(self, commands: list[Command]) -> None:
        for start in range(0, len(commands), self._batch_max):
            batch = msgspec.json.encode(commands[start : start + self._batch_max]).decode()
            reply = await self._wire.call(
                *self._write.command(token=keys.token(self._shard), epoch=self._epoch, batch=batch)
            )
            if reply[0] != b"written":
                raise Unavailable("reopening", "A newer rebuild of this shard has begun")
