"""A customer who is signed in already: the demo's phone, with what tests want to see besides.

Every request is in the history, so the audit can hold the house to its answers.
"""

import asyncio
import json
import random
from typing import Any

from cli.demo.phone import TRIES_MAX, Phone
from cli.demo.plan import Tally
from engine.audit.history import HistoryWriter
from loadtests.lean import LeanClient, Lost

_OF_HISTORY = ("claim_id", "price_id", "price_fen", "expires_at_ms")


class Buyer(Phone):
    """One customer; `app` is a connection that they share with others, one after the other."""

    def __init__(
        self,
        base_url: str,
        buyer: str,
        token: str,
        *,
        tally: Tally,
        history: HistoryWriter,
        rng: random.Random,
        app: LeanClient | None = None,
    ) -> None:
        super().__init__(base_url, "", tally, history, rng)
        self.buyer, self._token = buyer, token
        if app is not None:
            self._app = app

    async def try_claim(
        self, offer_id: str, price_id: str, *, key: str, qty: int = 1
    ) -> tuple[int, dict[str, Any]]:
        """One request, whatever comes of it; (0, {}) when the answer was lost."""
        invoked = self.history.invoke(
            "claim", buyer=self.buyer, offer=offer_id, key=key, qty=qty, price_id=price_id
        )
        body = {"qty": qty, "price_id": price_id}
        try:
            answer = await self._once("POST", f"/v1/offers/{offer_id}/claims", body, key=key)
        except Lost:
            self.history.unknown(invoked)
            return 0, {}
        document: dict[str, Any] = json.loads(answer.body)
        if answer.status == 201:
            replay = "idempotent-replay" in answer.headers
            self.history.ok(invoked, replay=replay, **document)
        else:
            self.history.fail(
                invoked, answer.status, document["code"], claim_id=document.get("claim_id")
            )
        return answer.status, document

    async def look(self, claim_id: str) -> dict[str, Any]:
        """What the claim's page says; a problem document when it says no."""
        invoked = self.history.invoke("look", claim_id=claim_id, buyer=self.buyer)
        answer = await self._ask("GET", f"/v1/claims/{claim_id}")
        document: dict[str, Any] = json.loads(answer.body)
        if answer.status == 200:
            told = {name: document.get(name) for name in ("state", "ordered", "order_id")}
            self.history.ok(invoked, **told)
        else:
            self.history.fail(invoked, answer.status, document["code"])
        return document

    async def cancel(self, claim_id: str) -> str:
        """`released`, or the problem's code."""
        invoked = self.history.invoke("cancel", claim_id=claim_id, buyer=self.buyer)
        answer = await self._ask("POST", f"/v1/claims/{claim_id}/cancel")
        document = json.loads(answer.body)
        if answer.status == 200:
            self.history.ok(invoked, state=document["state"])
            return str(document["state"])
        self.history.fail(invoked, answer.status, document["code"])
        return str(document["code"])

    async def open_teams(self, offer_id: str) -> list[str]:
        """Ids of the offer's teams that can be joined, as the page lists them."""
        answer = await self._ask("GET", f"/v1/offers/{offer_id}/teams")
        assert answer.status == 200, answer
        return [one["team_id"] for one in json.loads(answer.body)["teams"]]

    async def seat(
        self,
        offer_id: str,
        price_id: str,
        team_id: str = "",
        *,
        key: str,
        qty: int = 1,
        consent: bool = False,
    ) -> tuple[int, dict[str, Any]]:
        """Take a seat (of a new team, when none is named); asks again while lost or 503."""
        body = {"qty": qty, "price_id": price_id, "team_id": team_id, "consent": consent}
        for _ in range(TRIES_MAX):
            invoked = self.history.invoke(
                "claim", buyer=self.buyer, offer=offer_id, key=key, qty=qty, price_id=price_id
            )
            try:
                answer = await self._once("POST", f"/v1/offers/{offer_id}/seats", body, key=key)
            except Lost:
                self.tally.lost += 1
                self.history.unknown(invoked)
            else:
                document: dict[str, Any] = json.loads(answer.body)
                if answer.status == 201:
                    replay = "idempotent-replay" in answer.headers
                    self.tally.replayed += replay
                    told = {name: document[name] for name in _OF_HISTORY}
                    self.history.ok(invoked, replay=replay, **told)
                    return 201, document
                claim_id = document.get("claim_id")
                self.history.fail(invoked, answer.status, document["code"], claim_id=claim_id)
                if answer.status != 503:
                    return answer.status, document
                self.tally.retried += 1
            await asyncio.sleep(self.rng.uniform(0.1, 0.5))
        raise TimeoutError("seat: no answer")
