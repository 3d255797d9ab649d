"""What must hold at rest after any fault: hot state = rows = replay of the archive.

`rows_view` is the pure fold of the orders, written apart from the rebuild that it judges. The
view's counters are derived from the claims, so an equal hot store keeps I1, I2 and I8 as well.
"""

import dataclasses
from collections import Counter
from typing import Any

import msgspec
from sqlalchemy import text

from engine import keys
from engine.events import AnyEvent, ClaimHeld, decode
from engine.ids import parse_claim_id
from engine.inventory import OfferConfig
from engine.replay.shard import Answer, Claim, Offer, Shard, Team, Wait
from engine.replay.view import View, shard_of_view, view_of, view_of_hot
from tests.workers.stage import Stage
from workers.settle.batch import unpack
from workers.settle.snapshot import read_hot


async def rows(stage: Stage, sql: str, **given: object) -> list[dict[str, Any]]:
    """Rows of a query, as dicts."""
    async with stage.db.begin() as session:
        return [dict(row._mapping) for row in await session.execute(text(sql), given)]


async def hot_view(stage: Stage, shard: int) -> View:
    """The shard's hot state as values; it must be open."""
    meta = await stage.inventory.hash_of(keys.meta(shard))
    assert meta, f"shard {shard} has no meta"
    assert meta["sealed"] == "", meta
    return view_of_hot(shard, meta, await read_hot(stage.wire, shard))


async def rows_view(stage: Stage, shard: int, unsaid: dict[str, tuple[str, int]]) -> View:
    """What PostgreSQL says the hot state is; `unsaid` as in `check`."""
    offers, configs = {}, {}
    for row in await rows(
        stage, "SELECT * FROM offers WHERE shard = :s AND state <> 'scheduled'", s=shard
    ):
        configs[row["id"]] = msgspec.convert(row["config"], OfferConfig)
        offers[row["id"]] = Offer(configs[row["id"]], row["total"], row["state"])
    model = Shard(shard=shard, epoch=0, configs=configs, offers=offers)
    for row in await rows(stage, "SELECT * FROM orders WHERE shard = :s", s=shard):
        born = parse_claim_id(row["claim_id"])
        assert born is not None
        claim = Claim(
            claim_id=row["claim_id"],
            offer_id=row["offer_id"],
            campaign_id=row["campaign_id"],
            buyer_id=row["buyer_id"],
            units=row["units"],
            price_id=row["price_id"],
            price_fen=row["unit_price_fen"],
            expires_at_ms=row["expires_at_ms"],
            epoch=born.epoch,
            seq=born.seq,
            keep_until_ms=configs[row["offer_id"]].keep_until_ms,
            state=row["claim_state"],
            attempt_id=row["attempt_id"] or "",
            pay_expires_at_ms=row["pay_expires_at_ms"] or 0,
            payment_id=row["payment_id"] or "",
            newcomer="1" if row["newcomer"] else "",
        )
        if row["team_id"] is not None:
            claim.team_id, claim.seat = row["team_id"], "1" if row["seat"] == "taken" else ""
            claim.consent = "1" if row["consent"] else ""
            claim.taken_at_ms, claim.paid_at_ms = row["claimed_at_ms"], row["paid_at_ms"] or 0
        if claim.claim_id in unsaid:
            assert claim.state == "held"
            claim.state, claim.unsaid = "paying", 1
            claim.attempt_id, claim.pay_expires_at_ms = unsaid[claim.claim_id]
        model.claims[claim.claim_id] = claim
        model.answers[row["buyer_id"], row["offer_id"], row["idem_key"]] = Answer(
            row["body_hash"],
            row["claim_id"],
            row["price_id"],
            row["unit_price_fen"],
            row["expires_at_ms"],
        )
    await _add_teams(stage, model)
    for row in await rows(stage, "SELECT * FROM waits WHERE shard = :s", s=shard):
        asked = (row["qty"], row["price_id"], row["idem_key"], row["body_hash"], row["touch"])
        model.waits[row["offer_id"], row["buyer_id"]] = Wait(*asked, row["place"])
    return view_of(model)


async def _add_teams(stage: Stage, model: Shard) -> None:
    seated = {
        (claim.team_id, claim.buyer_id) for claim in model.claims.values() if claim.seat == "1"
    }
    filled = await rows(
        stage,
        "SELECT team_id, sum(seats) AS seats FROM team_commands"
        " WHERE kind = 'honour' AND applied_seq IS NOT NULL GROUP BY 1",
    )
    honoured = {row["team_id"]: int(row["seats"]) for row in filled}
    for row in await rows(stage, "SELECT * FROM teams WHERE shard = :s", s=model.shard):
        named = {one: row[one] for one in Team.__dataclass_fields__ if one in row}
        keep = model.configs[row["offer_id"]].keep_until_ms
        team = Team(team_id=row["id"], keep_until_ms=keep, **named)
        team.honoured = honoured.get(team.team_id, 0)
        model.teams[team.team_id] = team
        if team.state != "failed":  # it gave them back
            model.offers[team.offer_id].subsidised += team.subsidy - team.honoured
        leads = team.captain_id == team.opener_id
        if leads and team.is_undecided and (team.team_id, team.opener_id) in seated:
            model.openers[team.offer_id, team.opener_id] = team.team_id


def timeless(view: View) -> View:
    """Without what a reopening may change: epoch, seqs, the markers of applied rows, which attempt
    a claim was once paying by, and places of those who do not wait any more."""
    claims = {
        claim.claim_id: claim
        if claim.state == "paying"
        else dataclasses.replace(claim, attempt_id="", pay_expires_at_ms=0, unsaid=0)
        for claim in view.claims.values()
    }
    offers = {
        one: msgspec.structs.replace(offer, wait_place=0) for one, offer in view.offers.items()
    }
    return msgspec.structs.replace(
        view, epoch=0, seq=0, settled_seq=0, did=frozenset(), claims=claims, offers=offers
    )


async def check(
    stage: Stage, unsaid: dict[str, tuple[str, int]] | None = None, *, thorough: bool = True
) -> None:
    """All laws of this file on all shards; everything must be settled.

    `unsaid`: claim_id → (attempt_id, pay_expires_at_ms) of held orders that came back as paying.
    Not `thorough`: only that the hot state is what the rows say.
    """
    for shard in range(stage.settings.shards):
        hot = await hot_view(stage, shard)
        mine = {
            claim_id: attempt
            for claim_id, attempt in (unsaid or {}).items()
            if claim_id.startswith(f"clm-s{shard}-")
        }
        wanted = await rows_view(stage, shard, mine)
        assert timeless(wanted).differences(timeless(hot)) == []
        if thorough:
            await check_lifetimes(stage, shard, hot)
            await check_archive(stage, shard, hot)
    if thorough:
        await check_counters(stage)
        await check_postings(stage)


async def check_lifetimes(stage: Stage, shard: int, hot: View) -> None:
    """Live claims stay, ended ones and stored answers go at the offer's keeping time."""
    for claim in hot.claims.values():
        ends = await stage.wire.call("PEXPIRETIME", keys.claims(shard) + claim.claim_id)
        assert ends == (-1 if claim.is_live else claim.keep_until_ms), claim
    for buyer, offer_id, key in hot.answers:
        ends = await stage.wire.call("PEXPIRETIME", keys.idem(shard, buyer, offer_id, key))
        assert ends == hot.offers[offer_id].config.keep_until_ms


async def check_counters(stage: Stage) -> None:
    """The offers' guarded counters are the sums over the orders, rejected ones left out."""
    wrong = await rows(
        stage,
        "SELECT id, held, sold, h, s FROM (SELECT f.id, f.held, f.sold,"
        " coalesce(sum(o.units) FILTER (WHERE o.claim_state IN ('held', 'paying')), 0) h,"
        " coalesce(sum(o.units) FILTER (WHERE o.claim_state = 'paid'), 0) s FROM offers f"
        " LEFT JOIN orders o ON o.offer_id = f.id AND o.state <> 'rejected'"
        " GROUP BY f.id) x WHERE held <> h OR sold <> s",
    )
    assert wrong == []


async def check_postings(stage: Stage) -> None:
    """Each order that stands has its split posted once, and no other order has one.

    Without a team it stands once it was paid; a seat does if its team has formed, and then for
    what was paid less what went back before.
    """
    wrong = await rows(
        stage,
        "SELECT o.claim_id, o.paid_fen, count(t.id) FROM orders o LEFT JOIN ledger_transactions t"
        " ON t.reference = 'split:' || o.id GROUP BY o.id"
        " HAVING count(t.id) <> (CASE WHEN o.split_fen > 0 THEN 1 ELSE 0 END)",
    )
    assert wrong == []
    wrong = await rows(
        stage,
        "SELECT o.claim_id, o.split_fen, t.state FROM orders o"
        " LEFT JOIN teams t ON t.id = o.team_id"
        " WHERE (o.team_id IS NULL AND o.split_fen IS DISTINCT FROM nullif(o.paid_fen, 0))"
        " OR (t.kind = 'team' AND (o.split_fen IS NOT NULL)"
        "     <> (o.seat = 'taken' AND o.payment_id IS NOT NULL AND t.state = 'formed'))",
    )
    assert wrong == []


async def archived(stage: Stage, shard: int) -> dict[int, list[AnyEvent]]:
    """epoch → its settled events; each epoch's batches must be gapless from 1 to its last seq."""
    ends = {
        row["epoch"]: row["last_seq"]
        for row in await rows(
            stage,
            "SELECT e.epoch, coalesce(e.last_seq, p.seq) AS last_seq FROM shard_epochs e"
            " JOIN shard_position p USING (shard) WHERE shard = :s ORDER BY e.epoch",
            s=shard,
        )
    }
    found: dict[int, list[AnyEvent]] = {epoch: [] for epoch in ends}
    for row in await rows(
        stage,
        "SELECT * FROM event_batches WHERE shard = :s AND NOT orphaned ORDER BY epoch, first_seq",
        s=shard,
    ):
        entries = unpack(row["payload"])
        assert (row["first_seq"], row["last_seq"]) == (entries[0][0], entries[-1][0])
        found[row["epoch"]] += [decode(seq, fields) for seq, fields in entries]
    for epoch, events in found.items():
        seqs = [event.seq for event in events]
        assert seqs == list(range(1, ends[epoch] + 1)), f"epoch {epoch} of shard {shard}"
    return found


async def check_archive(stage: Stage, shard: int, hot: View) -> None:
    """The archive is complete, has each claim once, and replays to the hot state that is there."""
    epochs = await archived(stage, shard)
    claims = Counter(
        event.claim_id
        for events in epochs.values()
        for event in events
        if isinstance(event, ClaimHeld)
    )
    orders = await rows(stage, "SELECT claim_id FROM orders WHERE shard = :s", s=shard)
    assert claims == Counter(row["claim_id"] for row in orders)
    last = max(epochs)
    (opened,) = await rows(
        stage, "SELECT snapshot FROM shard_epochs WHERE shard = :s AND epoch = :e", s=shard, e=last
    )
    state = msgspec.msgpack.decode(opened["snapshot"])
    meta = {"epoch": str(last), "seq": "0", "settled_seq": "0"}
    model = shard_of_view(shard, view_of_hot(shard, meta, state))
    model.configs = {offer_id: offer.config for offer_id, offer in hot.offers.items()}
    for event in epochs[last]:
        model.apply(event)
    model.settle(model.seq)
    for team in model.teams.values():  # tests move deadlines, never clocks
        team.deadline_ms = hot.teams[team.team_id].deadline_ms
    assert view_of(model).differences(hot) == []
