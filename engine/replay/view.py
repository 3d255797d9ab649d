"""A shard seen as plain values, from the model and from a hot store, so that they can be compared.

The model's view derives stock, holds, deadlines and counters from the claims. A hot store that
shows the same view therefore keeps I1, I2 and I8, and with `replay` before it I11.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import msgspec

from engine import keys
from engine.offers import OfferConfig, config_of
from engine.replay.shard import Answer, Claim, Offer, Shard, Team, Wait
from engine.replay.state import listed
from engine.replay.view_groups import read_groups
from engine.replay.view_waits import read_waits


class OfferView(msgspec.Struct, frozen=True, kw_only=True):
    """One offer's hash and price list; counters as the hot store keeps them. `config` is as it
    was opened, `prices` the list that holds now: a crowd's is switched by its steps."""

    config: OfferConfig
    prices: tuple[tuple[str, int, int], ...]
    state: str
    total: int
    available: int
    held: int
    sold: int
    subsidised: int
    waiting: int
    wait_place: int


class View(msgspec.Struct, frozen=True, kw_only=True):
    """All that a shard's keys say, less its stream. `holds` and `deadlines` are by claim id,
    `limits` by offer or campaign and buyer (never zero), `answers` by (buyer, offer, key).

    `seats` are claim ids by (team, buyer), `joinable` deadlines by (offer, team), `openers` teams
    by (offer, buyer), `newcomers` claims by (campaign, buyer). `undecided` teams stand in the list
    of deadlines; when each is looked at next is nobody's truth, and not compared.
    `waits` are the entries of the waiting lists by (offer, buyer).
    """

    epoch: int
    seq: int
    settled_seq: int
    offers: dict[str, OfferView]
    claims: dict[str, Claim]
    holds: dict[str, int]
    deadlines: dict[str, int]
    limits: dict[tuple[str, str], int]
    answers: dict[tuple[str, str, str], Answer]
    did: frozenset[str]
    teams: dict[str, Team]
    seats: dict[tuple[str, str], str]
    joinable: dict[tuple[str, str], int]
    openers: dict[tuple[str, str], str]
    newcomers: dict[tuple[str, str], str]
    undecided: frozenset[str]
    waits: dict[tuple[str, str], Wait]

    def differences(self, other: "View") -> list[str]:
        """One line for each thing in which `other` differs; for people and the audit."""
        lines = []
        for name in self.__struct_fields__:
            mine, theirs = getattr(self, name), getattr(other, name)
            if mine == theirs:
                continue
            if isinstance(mine, dict):
                for key in sorted({*mine, *theirs}, key=str):
                    if mine.get(key) != theirs.get(key):
                        lines.append(f"{name} {key}: {mine.get(key)} / {theirs.get(key)}")
            else:
                lines.append(f"{name}: {mine} / {theirs}")
        return lines


def view_of(shard: Shard) -> View:
    """The model's view, with everything derived from offers, claims and teams."""
    live = [claim for claim in shard.claims.values() if claim.is_live]
    limits: Counter[tuple[str, str]] = Counter()
    held: Counter[str] = Counter()
    sold: Counter[str] = Counter()
    for claim in live:
        limits[claim.offer_id, claim.buyer_id] += claim.units
        limits[claim.campaign_id, claim.buyer_id] += claim.units
        (sold if claim.state == "paid" else held)[claim.offer_id] += claim.units
    waiting = Counter(offer_id for offer_id, _ in shard.waits)
    seated = [claim for claim in shard.claims.values() if claim.seat == "1"]
    teams = _counted(shard.teams, seated)
    return View(
        epoch=shard.epoch,
        seq=shard.seq,
        settled_seq=shard.settled_seq,
        offers={
            offer_id: OfferView(
                config=offer.config,
                prices=listed(offer.config, _step(offer.config, teams)),
                state=offer.state,
                total=offer.total,
                available=offer.total - held[offer_id] - sold[offer_id],
                held=held[offer_id],
                sold=sold[offer_id],
                subsidised=offer.subsidised,
                waiting=waiting[offer_id],
                wait_place=offer.wait_place,
            )
            for offer_id, offer in shard.offers.items()
        },
        claims=dict(shard.claims),
        holds={claim.claim_id: claim.units for claim in live if claim.state != "paid"},
        deadlines={claim.claim_id: claim.expires_at_ms for claim in live if claim.state == "held"},
        limits=dict(limits),
        answers=dict(shard.answers),
        did=frozenset(shard.did),
        teams=teams,
        seats={(claim.team_id, claim.buyer_id): claim.claim_id for claim in seated},
        joinable={
            (team.offer_id, team.team_id): team.deadline_ms
            for team in teams.values()
            if team.kind == "team" and team.state == "forming" and team.has_seat
        },
        openers=dict(shard.openers),
        newcomers={
            (claim.campaign_id, claim.buyer_id): claim.claim_id
            for claim in live
            if claim.newcomer == "1" and (claim.seat == "1" or not claim.team_id)
        },
        undecided=frozenset(team.team_id for team in teams.values() if team.is_undecided),
        waits=dict(shard.waits),
    )


def _counted(teams: Mapping[str, Team], seated: Iterable[Claim]) -> dict[str, Team]:
    """The teams with their seats counted anew; a decided one keeps what it had then."""
    found = {
        team_id: replace(team, held=0, paying=0, paid=0) if team.is_undecided else team
        for team_id, team in teams.items()
    }
    for claim in seated:
        if found[claim.team_id].is_undecided:
            found[claim.team_id].count(claim.state, 1)
    return found


def _step(config: OfferConfig, teams: Mapping[str, Team]) -> int:
    crowd = teams.get(config.team.crowd_id) if config.team is not None else None
    return crowd.step if crowd is not None else 0


def shard_of_view(number: int, view: View) -> Shard:
    """A model that begins where `view` stands, such as an epoch's opening snapshot."""
    return Shard(
        shard=number,
        epoch=view.epoch,
        configs={offer_id: offer.config for offer_id, offer in view.offers.items()},
        seq=view.seq,
        settled_seq=view.settled_seq,
        offers={
            offer_id: Offer(
                offer.config,
                offer.total,
                offer.state,
                taken=offer.held + offer.sold,
                subsidised=offer.subsidised,
                waiting=offer.waiting,
                wait_place=offer.wait_place,
            )
            for offer_id, offer in view.offers.items()
        },
        claims={claim_id: replace(claim) for claim_id, claim in view.claims.items()},
        answers=dict(view.answers),
        did=dict.fromkeys(view.did, 0),
        limits=Counter(view.limits),
        teams={team_id: replace(team) for team_id, team in view.teams.items()},
        openers=dict(view.openers),
        seats=dict(view.seats),
        newcomers=dict(view.newcomers),
        waits=dict(view.waits),
    )


def view_of_hot(number: int, meta: Mapping[str, str], hot: Mapping[str, Any]) -> View:
    """The hot store's view: `hot` is key → value of all keys of the shard but meta, token and
    streams (hashes and sorted sets as dicts of strings), such as an epoch's opening snapshot.

    ValueError for a key that no script of ours writes.
    """
    prefixes = {
        keys.offers(number): "offers",
        keys.holds(number): "holds",
        keys.limits(number): "limits",
        keys.claims(number): "claims",
        keys.answers(number): "answers",
        keys.did(number, ""): "did",
        keys.deadlines(number): "deadlines",
        keys.groups(number): "groups",
        keys.waits(number): "waits",
    }
    found: dict[str, dict[str, Any]] = {name: {} for name in prefixes.values()}
    for key, value in hot.items():
        prefix = next((prefix for prefix in prefixes if key.startswith(prefix)), None)
        if prefix is None:
            raise ValueError(f"{key} is none of the shard's keys")
        found[prefixes[prefix]][key.removeprefix(prefix)] = value
    groups = read_groups(found["groups"])
    return View(
        epoch=int(meta["epoch"]),
        seq=int(meta["seq"]),
        settled_seq=int(meta["settled_seq"]),
        offers={
            offer_id: _offer(fields, groups.teams) for offer_id, fields in found["offers"].items()
        },
        claims={claim_id: _claim(claim_id, one) for claim_id, one in found["claims"].items()},
        holds={
            claim_id: int(units)
            for holds in found["holds"].values()
            for claim_id, units in holds.items()
        },
        deadlines={
            claim_id: int(score)
            for deadlines in found["deadlines"].values()
            for claim_id, score in deadlines.items()
        },
        limits={
            (scope, buyer): int(units)
            for scope, buyers in found["limits"].items()
            for buyer, units in buyers.items()
            if int(units)
        },
        answers={_asked(name): _answer(text) for name, text in found["answers"].items()},
        did=frozenset(found["did"]),
        teams=groups.teams,
        seats=groups.seats,
        joinable=groups.joinable,
        openers=groups.openers,
        newcomers=groups.newcomers,
        undecided=groups.undecided,
        waits=read_waits(found["waits"]),
    )


def _offer(fields: Mapping[str, str], teams: Mapping[str, Team]) -> OfferView:
    crowd = teams.get(fields.get("crowd_id", ""))
    prices = [one.split("|") for one in reversed(fields["prices"].split())]
    return OfferView(
        config=config_of(fields, crowd.step if crowd is not None else 0),
        prices=tuple((price_id, int(fen), int(since)) for price_id, fen, since in prices),
        state=fields["state"],
        total=int(fields["total"]),
        available=int(fields["available"]),
        held=int(fields["held"]),
        sold=int(fields["sold"]),
        subsidised=int(fields.get("subsidised", "0")),
        waiting=int(fields.get("waiting", "0")),
        wait_place=int(fields.get("wait_place", "0")),
    )


def _claim(claim_id: str, fields: Mapping[str, str]) -> Claim:
    return msgspec.convert({**fields, "claim_id": claim_id}, Claim, strict=False)


def _asked(name: str) -> tuple[str, str, str]:
    buyer_id, offer_id, key = name.split(":", 2)
    return buyer_id, offer_id, key


def _answer(text: str) -> Answer:
    body_hash, claim_id, price_id, fen, expires_at_ms = text.split(" ")
    return Answer(body_hash, claim_id, price_id, int(fen), int(expires_at_ms))
