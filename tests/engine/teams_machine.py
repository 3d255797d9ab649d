"""A machine of seats, teams and crowds: each rule is a command, on the scripts and on the model.

Seats are taken in `seats_machine`; here is what becomes of them.
"""

from collections.abc import Sequence
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from engine.ids import now_ms
from engine.inventory import Reply
from engine.replay import decide, decide_payments, decide_teams
from engine.replay.state import Team
from engine.replay.view import shard_of_view
from tests.engine.hotshard import HOUR_MS
from tests.engine.parity import EPOCH
from tests.engine.seats_machine import BUYERS, DEADLINES, Seats, attempts, places

seldom = st.sampled_from((False, False, False, True))


class TeamScripts(Seats):
    """Payments, releases, refunds, and what only teams are commanded."""

    @precondition(lambda self: self.model.claims)
    @rule(place=places, attempt_id=attempts, other=seldom)
    def pay_begin(self, place: int, attempt_id: str, other: bool) -> None:
        held = self.claims(lambda one: other or one.state == "held")
        claim_id = self.pick(held, place)
        if claim_id is not None:
            self._pay_begin(claim_id, attempt_id)

    def _pay_begin(self, claim_id: str, attempt_id: str) -> None:
        self.check(
            lambda: self.bench.inventory.pay_begin(0, claim_id, attempt_id),
            lambda at, _: decide_payments.pay_begin(
                self.model, claim_id=claim_id, attempt_id=attempt_id, now_ms=at
            ),
        )

    @precondition(lambda self: self.claims(lambda one: one.state in ("held", "paying")))
    @rule(place=places)
    def pay(self, place: int) -> None:
        """A payment that comes while it is asked for."""
        claim_id = self.pick(self.claims(lambda one: one.state in ("held", "paying")), place)
        if claim_id is not None:
            self._confirm(claim_id, self.fresh("fct"), "ok")

    @precondition(lambda self: self.late())
    @rule(place=places)
    def pay_late(self, place: int) -> None:
        claim_id = self.pick(self.late(), place)
        assert claim_id is not None
        self._confirm(claim_id, self.fresh("fct"), "ok")

    def late(self) -> list[str]:
        """Claims whose units or seat came free; the last first."""
        return self.claims(
            lambda one: one.state == "released" or (one.state == "paying" and one.seat != "1")
        )[::-1]

    @precondition(lambda self: self.model.claims)
    @rule(
        place=places,
        again=places,
        verdict=st.sampled_from(("ok", "wrong_amount")),
        old=st.booleans(),
    )
    def pay_anyhow(self, place: int, again: int, verdict: str, old: bool) -> None:
        claim_id = self.pick(self.claims(lambda one: True), place)
        fact_id = (self.pick(self.facts, again) if old else None) or self.fresh("fct")
        if claim_id is not None:
            self._confirm(claim_id, fact_id, verdict)

    @precondition(lambda self: self.claims(lambda one: one.state in ("held", "paying")))
    @rule(
        place=places,
        attempt_id=attempts,
        why=st.sampled_from(("closed", "void", "rejected", "cancelled", "cancelled")),
    )
    def release(self, place: int, attempt_id: str, why: str) -> None:
        claim_id = self.pick(self.claims(lambda one: one.state in ("held", "paying")), place)
        if claim_id is not None:
            self._release(claim_id, attempt_id, why)

    def _release(self, claim_id: str, attempt_id: str, why: str) -> None:
        self.check(
            lambda: self.bench.inventory.release(0, claim_id, attempt_id=attempt_id, why=why),
            lambda at, _: decide.release(
                self.model, claim_id=claim_id, attempt_id=attempt_id, why=why, now_ms=at
            ),
        )

    @precondition(lambda self: self.claims(lambda one: one.state == "paid"))
    @rule(
        place=places,
        units=st.sampled_from((1, 1, 2)),
        again=st.sampled_from((False, False, False, True)),
    )
    def give_back(self, place: int, units: int, again: bool) -> None:
        claim_id = self.pick(self.claims(lambda one: one.state == "paid"), place)
        if claim_id is None:
            return
        named: dict[str, Any] = {
            **{"claim_id": claim_id, "units": units},
            "refund_id": "rfd_again" if again else self.fresh("rfd"),
        }
        self.check(
            lambda: self.bench.inventory.give_back(0, **named),
            lambda at, _: decide_payments.give_back(self.model, **named, now_ms=at),
        )

    @rule(batch=st.integers(1, 4), all_settled=st.sampled_from((True, True, False)))
    def sweep(self, batch: int, all_settled: bool) -> None:
        if all_settled:
            self.settled(0)
        self._sweep(batch)

    def _sweep(self, batch: int) -> None:
        self.check(
            lambda: self.bench.inventory.sweep(0, batch),
            lambda at, _: decide.sweep(self.model, batch=batch, now_ms=at),
        )

    @rule(
        batch=st.integers(1, 3),
        again_ms=st.sampled_from((0, 0, HOUR_MS)),
        named=st.sampled_from((True, True, False)),
    )
    def close(self, batch: int, again_ms: int, named: bool) -> None:
        """Some are named as teams of a cancelled offer, whether they are or not."""
        early = [one.team_id for one in self.undecided()] if named else []
        decided = [one.team_id for one in self.model.teams.values() if not one.is_undecided]
        self._close(batch, again_ms, early=[*early, *decided[:1], "tem_x"])

    def _close(self, batch: int, again_ms: int, early: Sequence[str] = ()) -> None:
        before = self.scores()
        cancelled = [
            one.team_id
            for one in self.undecided()
            if one.team_id in early and self.model.offers[one.offer_id].state == "cancelled"
        ]

        def due(at: int) -> list[str]:
            passed = sorted((score, one) for one, score in before.items() if score <= at)
            return [one for _, one in passed[:batch]]

        begun = now_ms()
        self.check(
            lambda: self.world.teams.close(0, batch, again_ms=again_ms, early=early),
            lambda at, _: decide_teams.team_close(self.model, due=due(at), early=early, now_ms=at),
            but=DEADLINES.encode(),
        )
        looked = {*due(begun), *cancelled}
        self.looked.update(looked)
        for one, score in self.scores().items():
            if one in looked:
                assert begun - 5 <= score - again_ms <= now_ms() + 5
            else:
                assert score == before[one]

    @precondition(lambda self: self.open())
    @rule(
        place=places,
        payers=st.sampled_from((0, 0, 1, 2)),
        gone=st.sampled_from(("", "early", "late")),
        rescued=st.booleans(),
    )
    def begin_to_close(self, place: int, payers: int, gone: str, rescued: bool) -> None:
        """The deadline of one passes while some are paying; unpaid seats lapse, and it closes.

        One who had `gone` before pays, early or late.
        """
        team = self.pick(self.open(), place)
        assert team is not None
        leaver = self._stranger(team) if gone else None
        if leaver is not None:
            self._release(leaver, "", "cancelled")
            if gone == "early":
                self._confirm(leaver, self.fresh("fct"), "ok")
        for claim_id in [self._stranger(team) for _ in range(payers)]:
            if claim_id is not None:
                self._pay_begin(claim_id, "att_1")
        self._deadline(self.model.teams[team.team_id], HOUR_MS // 2)
        self.settled(0)
        self._sweep(9)
        self._close(9, 0)
        if leaver is not None and gone == "late":
            self._confirm(leaver, self.fresh("fct"), "ok")
        if rescued and self.rescues():
            self._move(*self.rescues()[place % len(self.rescues())])

    def _stranger(self, team: Team) -> str | None:
        """The claim of somebody new, who may be moved, if there is a seat."""
        price_id = decide.price_now(self.model, team.offer_id, now_ms())[0]
        for buyer_id in BUYERS:
            if (team.team_id, buyer_id) not in self.model.seats:
                reply = self._seat(
                    team.offer_id, buyer_id, team.team_id, price_id, consent=True, newcomer=True
                )
                if reply.what != "limit_reached":
                    return reply.details[0] if reply.what == "held" else None
        return None

    @precondition(lambda self: self.model.teams)
    @rule(place=places, closing=st.sampled_from((True, True, False)), told=st.integers(0, 3))
    def decide(self, place: int, closing: bool, told: int) -> None:
        teams = [
            one.team_id for _, one in sorted(self.model.teams.items()) if one.state == "closing"
        ]
        if not closing or not teams:
            teams = sorted(self.model.teams)
        team_id = self.pick(teams, place) or "tem_x"
        unpaid = self.claims(lambda one: one.state == "paying" and one.team_id == team_id)
        unpaid += [*self.claims(lambda one: one.team_id != team_id)[:1], "clm_x"]
        self._decide(team_id, unpaid[:told] if told < 3 else unpaid)

    def _decide(self, team_id: str, unpaid: list[str]) -> None:
        self.check(
            lambda: self.world.teams.decide(0, team_id, unpaid),
            lambda at, _: decide_teams.team_decide(
                self.model, team_id=team_id, unpaid=unpaid, now_ms=at
            ),
        )

    def rescues(self) -> list[tuple[str, str]]:
        """(claim, team) of moves that may well be made."""
        near = [one for one in self.undecided() if one.has_seat and one.state != "opening"]
        failing = [one for one in near if one.state == "closing" and not one.paying]
        return [
            (claim_id, other.team_id)
            for team in failing
            for other in near
            if other is not team and other.offer_id == team.offer_id
            for claim_id in self.claims(lambda one: one.state == "paid" and one.consent == "1")
            if self.model.claims[claim_id].team_id == team.team_id
        ]

    @precondition(lambda self: self.rescues())
    @rule(place=places)
    def rescue(self, place: int) -> None:
        self._move(*self.rescues()[place % len(self.rescues())])

    @precondition(lambda self: self.model.claims)
    @rule(place=places, where=places)
    def move_anyhow(self, place: int, where: int) -> None:
        claim_id = self.pick([*self.claims(lambda one: True), "clm_x"], place)
        team_id = self.pick([*sorted(self.model.teams), "tem_x"], where)
        assert claim_id is not None
        assert team_id is not None
        self._move(claim_id, team_id)

    def _move(self, claim_id: str, team_id: str) -> None:
        self.check(
            lambda: self.world.teams.move(0, claim_id, team_id),
            lambda at, _: decide_teams.team_move(
                self.model, claim_id=claim_id, team_id=team_id, now_ms=at
            ),
        )
        self.tick()

    @precondition(lambda self: self.model.teams)
    @rule(
        place=places,
        seats=st.sampled_from((1, 1, 2)),
        again=st.sampled_from((False, False, False, True)),
        honour=st.booleans(),
    )
    def subsidise(self, place: int, seats: int, again: bool, honour: bool) -> None:
        team_id = self.pick([*sorted(self.model.teams), "tem_x"], place)
        assert team_id is not None
        self._subsidise(team_id, seats, "cmd_again" if again else self.fresh("cmd"), honour)

    def _subsidise(self, team_id: str, seats: int, command_id: str, honour: bool) -> None:
        named: dict[str, Any] = {
            **{"team_id": team_id, "seats": seats, "command_id": command_id, "honour": honour}
        }
        self.check(
            lambda: self.world.teams.subsidise(0, **named),
            lambda at, _: decide_teams.team_subsidise(self.model, **named, now_ms=at),
        )

    @rule(behind=st.integers(0, 3))
    def settled(self, behind: int) -> None:
        seq = max(self.model.seq - behind, 0)
        reply = self.world.run(self.bench.inventory.settled(0, seq, epoch=EPOCH))
        assert reply == Reply("settled", (str(seq),))
        self.model.settle(seq)

    @rule()
    def snapshot(self) -> None:
        """A model that begins at the hot state goes on as well as the old one."""
        replayed = shard_of_view(0, self.world.run(self.bench.view()))
        replayed.configs, replayed.unsettled = self.configs, self.model.unsettled
        self.model = replayed
