"""Journeys of group buys: a rush for the last seats of few teams, and a crowd at its thresholds.

As in journey.py each `yield` is a place where the load test may stop, and intended starts are
planned before the answers are known wherever a customer would not wait for them.
"""

import secrets

from loadtests.journey import Document, Journey, Steps, _now

SEAT_TRIES_MAX = 8
SHARED_AFTER = 0.2  # of the sale's time, then captains have opened, paid and shared
WAITS_MAX = 50


class RushJourney(Journey):
    """Captains open teams and share them; everybody else rushes for their few seats."""

    def life(self) -> Steps[None]:
        yield from self._look_around()
        claim = yield from (
            self._open() if self.buyer in self.plan.captains else self._rush(self._rush_at_ms())
        )
        if claim is not None:
            yield from self._after(claim)
        yield from self._stay()

    def _rush_at_ms(self) -> float:
        begins, ends = self.plan.sale_starts_at_ms, self.plan.sale_ends_at_ms
        return begins + (ends - begins) * SHARED_AFTER + self.rng.expovariate(1 / 400)

    def _open(self) -> Steps[Document | None]:
        """Open a team, pay, share: then there is no more for a captain to do."""
        self.habit = "prompt"
        due = self.plan.sale_starts_at_ms + self.rng.uniform(0, 100)
        held = yield from self._seat("", due)
        if held is None:
            return None
        yield from self._after(held)
        self.browser.links().append(held["team_id"])
        return None

    def _rush(self, due: float) -> Steps[Document | None]:
        """The seats of the shared teams at a planned pace; a seat that lapses is worth a try."""
        for _ in range(WAITS_MAX):
            if self.browser.links() or due >= self.plan.sale_ends_at_ms:
                break
            due += 100
            self.browser.sleep_until(due)
            yield
        for _ in range(SEAT_TRIES_MAX):
            links = self.browser.links()
            if due >= self.plan.sale_ends_at_ms or not links:
                return None
            held = yield from self._seat(self.rng.choice(links), due)
            if held is not None:
                return held
            due += self.rng.uniform(300, 1_200)
        return None

    def _seat(self, team_id: str, due: float) -> Steps[Document | None]:
        """One try for a seat; some repeat their key."""
        self.browser.sleep_until(due)
        key = f"load-{secrets.token_hex(8)}"
        seat = {"team_id": team_id, "consent": self.rng.random() < 0.5}
        offer_id = self.plan.hero_offer
        answer = self._claim(offer_id, 1, key, due, seat)
        yield
        if answer.body.get("code") == "price_changed":
            self.price_id = answer.body["price_id"]
        if answer.status != 201:
            return None
        if self.rng.random() < 0.25:
            yield from self._repeat(offer_id, 1, key, answer.body, seat)
        return answer.body

    def _stay(self) -> Steps[None]:
        while True:
            due = _now() + self.rng.uniform(1_000, 3_000)
            self.browser.sleep_until(due)
            self._page(self.plan.hero_offer, due)
            yield


class CrowdJourney(RushJourney):
    """Everybody takes a seat of the one crowd while its price steps down under them."""

    def life(self) -> Steps[None]:
        yield from self._look_around()
        length = self.plan.sale_ends_at_ms - self.plan.sale_starts_at_ms
        due = self.plan.sale_starts_at_ms + self.rng.uniform(0, length * 0.8)
        for _ in range(SEAT_TRIES_MAX):
            if due >= self.plan.sale_ends_at_ms:
                break
            claim = yield from self._seat("", due)
            if claim is not None:
                yield from self._after(claim)
                break
            due += self.rng.uniform(100, 400)
        yield from self._stay()
