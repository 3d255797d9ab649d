"""One customer's evening as a generator: each `yield` is a place where the load test may stop.

Every request has an intended start, planned before the last answer is known where the customer
would not wait for it (the race), and from the last answer on where they would (paying).
"""

import random
import secrets
import time
from collections.abc import Callable, Generator
from typing import Any, Protocol, TypeVar
from urllib.parse import urlsplit

from engine.audit.history import HistoryWriter
from loadtests.plan import EXPECTED, SEAT_EXPECTED, LoadPlan

TRIES_MAX = 4  # claims before a customer turns to the other offer
LOOKS_MAX = 200
HABITS = {"prompt": 60, "lapser": 18, "ditherer": 10, "returner": 12}
_NOT_YET = frozenset({"not_ordered", "busy", "reopening", "provider_unreachable"})
_LOST_RACE = frozenset({"not_payable", "pay_expired"})


T = TypeVar("T")
Steps = Generator[None, None, T]  # yields between two requests, returns what came of them
Document = dict[str, Any]


class Answer(Protocol):
    """What `Browser.ask` gives back."""

    status: int
    body: Document
    replay: bool


class Browser(Protocol):
    """What a journey needs from the load tool."""

    def sleep_until(self, at_ms: float) -> None: ...
    def ask(
        self,
        name: str,
        method: str,
        url: str,
        intended_ms: float,
        *,
        expected: frozenset[str] = ...,
        body: Document | None = ...,
        key: str = ...,
        is_claim: bool = ...,
    ) -> Answer: ...
    def note_ordered(self, took_ms: float) -> None: ...
    def links(self) -> list[str]: ...
    def surprise(self, what: str) -> None: ...


def _now() -> float:
    return time.time() * 1000


class Journey:
    """What one buyer does from the warm-up to the end."""

    def __init__(
        self,
        browser: Browser,
        plan: LoadPlan,
        buyer: str,
        history: HistoryWriter,
        rng: random.Random,
    ) -> None:
        self.browser = browser
        self.plan, self.buyer, self.history, self.rng = plan, buyer, history, rng
        self.habit = rng.choices(list(HABITS), list(HABITS.values()))[0]
        self.price_id = ""

    def life(self) -> Steps[None]:
        """Look around, race, pay or not, and stay a little."""
        yield from self._look_around()
        # The race: most want to be first, so intended starts crowd behind the opening.
        due = self.plan.sale_starts_at_ms + self.rng.expovariate(1 / 400)
        claim = yield from self._race(self.plan.hero_offer, due)
        if claim is None:
            claim = yield from self._race(self.plan.side_offer, _now() + self._think())
        if claim is not None:
            yield from self._after(claim)
        while True:
            due = _now() + self.rng.uniform(1_000, 3_000)
            self.browser.sleep_until(due)
            self._page(self.plan.side_offer, due)
            yield

    def _think(self) -> float:
        return self.rng.uniform(200, 1_200)

    def _page(self, offer_id: str, due: float) -> None:
        answer = self.browser.ask("offer page", "GET", f"/v1/offers/{offer_id}", due)
        self.price_id = answer.body.get("price_id", self.price_id)

    def _look_around(self) -> Steps[None]:
        due = _now()
        while True:
            self.browser.sleep_until(due)
            self._page(self.plan.hero_offer, due)
            yield
            due += self.rng.uniform(1_000, 2_000)
            if due >= self.plan.sale_starts_at_ms:
                return

    def _race(self, offer_id: str, due: float) -> Steps[Document | None]:
        """Claims at a pace that was planned before; returns the held claim, or None."""
        if offer_id != self.plan.hero_offer:
            self.browser.sleep_until(due)
            self._page(offer_id, due)
            yield
        for _ in range(TRIES_MAX):
            if due >= self.plan.sale_ends_at_ms:
                return None
            self.browser.sleep_until(due)
            qty = 2 if self.rng.random() < 0.15 else 1
            key = f"load-{secrets.token_hex(8)}"
            answer = self._claim(offer_id, qty, key, due)
            yield
            if answer.status == 201:
                if self.rng.random() < 0.25:
                    yield from self._repeat(offer_id, qty, key, answer.body)
                return answer.body
            code = answer.body.get("code")
            if code == "price_changed":
                self.price_id = answer.body["price_id"]
            elif code in ("limit_reached", "closed"):
                return None
            due += self.rng.uniform(600, 1_800)
        return None

    def _claim(
        self, offer_id: str, qty: int, key: str, due: float, seat: Document | None = None
    ) -> Answer:
        """Claim, or with `seat` (team_id, consent) take a seat."""
        invoked = self.history.invoke(
            "claim",
            buyer=self.buyer,
            offer=offer_id,
            key=key,
            qty=qty,
            price_id=self.price_id,
            **({"team_id": seat["team_id"]} if seat and seat.get("team_id") else {}),
        )
        answer = self.browser.ask(
            "seat" if seat else "claim",
            "POST",
            f"/v1/offers/{offer_id}/{'seats' if seat else 'claims'}",
            due,
            expected=SEAT_EXPECTED if seat else EXPECTED,
            body={"qty": qty, "price_id": self.price_id, **(seat or {})},
            key=key,
            is_claim=True,
        )
        body = answer.body
        if answer.status == 201:
            told = {name: body[name] for name in ("claim_id", "price_fen", "expires_at_ms")}
            self.history.ok(invoked, replay=answer.replay, **told)
        elif "code" in body:
            stored = {"claim_id": body["claim_id"]} if "claim_id" in body else {}
            self.history.fail(invoked, answer.status, body["code"], **stored)
        else:
            self.history.unknown(invoked, f"status {answer.status}")
        return answer

    def _repeat(
        self, offer_id: str, qty: int, key: str, first: Document, seat: Document | None = None
    ) -> Steps[None]:
        """The same key again answers the same; with another body it is refused."""
        again = self._claim(offer_id, qty, key, _now(), seat)
        if again.status == 201 and (not again.replay or again.body != first):
            self.browser.surprise("claim: a repeated key got another answer")
        yield
        other = self._claim(offer_id, qty + 1, key, _now(), seat)
        if other.status < 300 or other.body.get("code") not in ("key_reused", "busy", "reopening"):
            self.browser.surprise("claim: a reused key with another body was not refused")
        yield

    def _after(self, held: Document) -> Steps[None]:
        claim_id, answered = held["claim_id"], _now()
        seen = yield from self._watch(claim_id, lambda body: body["ordered"], answered, 50)
        if seen is None or not seen["ordered"]:
            return
        self.browser.note_ordered(_now() - answered)
        if self.habit == "lapser":
            yield from self._watch(claim_id, lambda body: body["state"] == "released", _now())
            return
        page = yield from self._begin_pay(claim_id)
        if page is None or self.habit == "ditherer":
            return
        if not (yield from self._pay(claim_id, page)):
            return
        seen = yield from self._watch(claim_id, lambda body: body["state"] == "paid", _now())
        if self.habit == "returner" and seen is not None and seen["state"] == "paid":
            yield from self._refund(seen)

    def _watch(
        self, claim_id: str, done: Callable[[Document], bool], due: float, every_ms: float = 250
    ) -> Steps[Document | None]:
        """Look at the claim again and again; the last view, None when there was none."""
        last: Document | None = None
        for _ in range(LOOKS_MAX):
            self.browser.sleep_until(due)
            invoked = self.history.invoke("look", claim_id=claim_id, buyer=self.buyer)
            answer = self.browser.ask(
                "claim view", "GET", f"/v1/claims/{claim_id}", due, expected=_NOT_YET
            )
            if answer.status == 200:
                last = answer.body
                self.history.ok(invoked, state=last["state"], ordered=last["ordered"])
                if done(last) or last["state"] in ("released", "returned"):
                    return last
            else:
                self.history.fail(invoked, answer.status or 503, answer.body.get("code", "none"))
            yield
            due += every_ms
            if due >= self.plan.ends_at_ms:
                return last
        return last

    def _begin_pay(self, claim_id: str) -> Steps[Document | None]:
        due = _now() + self._think()
        for _ in range(10):
            self.browser.sleep_until(due)
            invoked = self.history.invoke("pay", claim_id=claim_id, buyer=self.buyer)
            answer = self.browser.ask(
                "begin pay",
                "POST",
                f"/v1/claims/{claim_id}/pay",
                due,
                expected=_NOT_YET | _LOST_RACE,
                body={},
            )
            body, code = answer.body, answer.body.get("code", "none")
            if answer.status == 200:
                self.history.ok(
                    invoked, attempt_id=body["attempt_id"], amount_fen=body["amount_fen"]
                )
                return body
            self.history.fail(invoked, answer.status or 503, code)
            yield
            if code not in _NOT_YET:
                return None
            due += 300
        return None

    def _pay(self, claim_id: str, page: Document) -> Steps[bool]:
        due = _now() + self._think()
        self.browser.sleep_until(due)
        parts = urlsplit(page["pay_url"])
        invoked = self.history.invoke(
            "pay_done",
            attempt_id=page["attempt_id"],
            amount_fen=page["amount_fen"],
            claim_id=claim_id,
        )
        # Closed meanwhile: the provider says so with 409 and takes no money.
        answer = self.browser.ask(
            "sandbox pay",
            "POST",
            f"http://{parts.netloc}{parts.path}",
            due,
            expected=frozenset({"CLOSED", "EXPIRED"}),
            body={},
        )
        paid = answer.status == 200 and "transaction_id" in answer.body
        if paid:
            self.history.ok(invoked, transaction_id=answer.body["transaction_id"])
        else:
            self.history.fail(invoked, answer.status or 503, answer.body.get("code", "none"))
        yield
        return paid

    def _refund(self, seen: Document) -> Steps[None]:
        due = _now() + self._think()
        self.browser.sleep_until(due)
        key = f"refund-{secrets.token_hex(8)}"
        units = self.rng.randint(1, seen["units"])
        invoked = self.history.invoke(
            "refund", order_id=seen["order_id"], request_id=key, units=units
        )
        answer = self.browser.ask(
            "refund",
            "POST",
            f"/v1/orders/{seen['order_id']}/refunds",
            due,
            expected=frozenset({"not_refundable", "crowd_reached"}),
            body={"units": units},
            key=key,
        )
        body = answer.body
        if answer.status == 201:
            self.history.ok(invoked, refund_id=body["refund_id"], amount_fen=body["amount_fen"])
        else:
            self.history.fail(invoked, answer.status or 503, body.get("code", "none"))
        yield
