"""A customer's phone: the product's HTTP interface as their app would use it, with a history.

Every claim, payment and refund is written to the history before it is sent and after it is
answered, so the audit can hold the server to what it said.
"""

import asyncio
import json
import random
import secrets
from typing import Any
from urllib.parse import urlsplit

from cli.demo.plan import Tally
from engine.audit.history import HistoryWriter
from loadtests.lean import Answer, LeanClient, Lost

TRIES_MAX = 60


class Phone:
    """One signed-in customer."""

    def __init__(
        self, base_url: str, number: str, tally: Tally, history: HistoryWriter, rng: random.Random
    ) -> None:
        self.tally, self.history, self.rng = tally, history, rng
        self.number = number
        self.buyer = ""
        self._token = ""
        self._app = LeanClient(base_url)

    async def close(self) -> None:
        await self._app.close()

    async def sign_in(self) -> None:
        """The code is shown in development mode; a real one arrives as a text message."""
        sent = await self._ask("POST", "/v1/sign-in/customer/code", {"phone": self.number})
        code = json.loads(sent.body)["sandbox_code"]
        session = await self._ask(
            "POST", "/v1/sign-in/customer", {"phone": self.number, "code": code}
        )
        document = json.loads(session.body)
        self._token, self.buyer = document["access_token"], document["subject"]
        self.tally.signed_in += 1

    async def _ask(
        self, method: str, path: str, body: dict[str, Any] | None = None, *, key: str = ""
    ) -> Answer:
        """Ask, and ask again with the same key while the answer is lost or 503."""
        for _ in range(TRIES_MAX):
            try:
                answer = await self._once(method, path, body, key=key)
            except Lost:
                self.tally.lost += 1
            else:
                if answer.status != 503:
                    return answer
                self.tally.retried += 1
            await asyncio.sleep(self.rng.uniform(0.1, 0.5))
        raise TimeoutError(f"{method} {path}: no answer after {TRIES_MAX} tries")

    async def _once(
        self, method: str, path: str, body: dict[str, Any] | None, *, key: str = ""
    ) -> Answer:
        self.tally.requests += 1
        return await self._app.request(
            method,
            path,
            body=json.dumps(body).encode() if body is not None else b"",
            token=self._token,
            headers={"idempotency-key": key} if key else None,
        )

    async def offer(self, offer_id: str) -> dict[str, Any]:
        """What the page shows."""
        document: dict[str, Any] = json.loads(
            (await self._ask("GET", f"/v1/offers/{offer_id}")).body
        )
        return document

    async def claim(
        self, offer_id: str, qty: int, price_id: str, *, key: str = ""
    ) -> tuple[int, dict[str, Any]]:
        """Claim until there is an answer; each try is its own entry of the history."""
        body = {"qty": qty, "price_id": price_id}
        return await self._hold(offer_id, "claims", body, key or f"demo-{secrets.token_hex(8)}")

    async def take_seat(
        self, offer_id: str, price_id: str, team_id: str = "", *, consent: bool = False
    ) -> tuple[int, dict[str, Any]]:
        """As `claim`, a seat of a team: without `team_id` a new one's, or the crowd's."""
        body = {"qty": 1, "price_id": price_id, "team_id": team_id, "consent": consent}
        return await self._hold(offer_id, "seats", body, f"seat-{secrets.token_hex(8)}")

    async def _hold(
        self, offer_id: str, what: str, body: dict[str, Any], key: str
    ) -> tuple[int, dict[str, Any]]:
        path = f"/v1/offers/{offer_id}/{what}"
        for _ in range(TRIES_MAX):
            invoked = self.history.invoke(
                "claim",
                buyer=self.buyer,
                offer=offer_id,
                key=key,
                qty=body["qty"],
                price_id=body["price_id"],
                team_id=body.get("team_id") or None,
            )
            try:
                answer = await self._once("POST", path, body, key=key)
            except Lost:
                self.tally.lost += 1
                self.history.unknown(invoked)
            else:
                document: dict[str, Any] = json.loads(answer.body)
                if answer.status == 201:
                    replay = "idempotent-replay" in answer.headers
                    self.tally.replayed += replay
                    told = {one: document[one] for one in ("claim_id", "price_fen", "price_id")}
                    until_ms = document["expires_at_ms"]
                    self.history.ok(invoked, replay=replay, expires_at_ms=until_ms, **told)
                    return 201, document
                self.history.fail(
                    invoked, answer.status, document["code"], claim_id=document.get("claim_id")
                )
                if answer.status != 503:
                    return answer.status, document
                self.tally.retried += 1
            await asyncio.sleep(self.rng.uniform(0.1, 0.5))
        raise TimeoutError(f"{what}: no answer")

    async def open_teams(self, offer_id: str) -> list[str]:
        """Teams of this offer that take members, as the page lists them."""
        answer = await self._ask("GET", f"/v1/offers/{offer_id}/teams")
        if answer.status != 200:
            return []
        listed = json.loads(answer.body)
        rows = listed if isinstance(listed, list) else listed["teams"]
        return [row["team_id"] for row in rows]

    async def watch(
        self, claim_id: str, wanted: tuple[str, ...], within_s: float
    ) -> dict[str, Any]:
        """Look at the claim until it is `ordered` or in one of the wanted states."""
        until = asyncio.get_running_loop().time() + within_s
        while True:
            answer = await self._ask("GET", f"/v1/claims/{claim_id}")
            document: dict[str, Any] = json.loads(answer.body)
            if answer.status != 200 or document["state"] in wanted:
                return document
            if "ordered" in wanted and document["ordered"]:
                return document
            if asyncio.get_running_loop().time() > until:
                return document
            await asyncio.sleep(self.rng.uniform(0.15, 0.3))

    async def begin_pay(self, claim_id: str) -> dict[str, Any] | None:
        """Where to pay; None when the claim cannot be paid any more."""
        for _ in range(TRIES_MAX):
            invoked = self.history.invoke("pay", claim_id=claim_id, buyer=self.buyer)
            answer = await self._ask("POST", f"/v1/claims/{claim_id}/pay", {})
            document: dict[str, Any] = json.loads(answer.body)
            if answer.status == 200:
                self.history.ok(
                    invoked,
                    attempt_id=document["attempt_id"],
                    amount_fen=document["amount_fen"],
                )
                return document
            self.history.fail(invoked, answer.status, document["code"])
            if document["code"] != "not_ordered":
                return None
            await asyncio.sleep(0.2)
        return None

    async def pay(self, page: dict[str, Any], claim_id: str, trouble: tuple[str, ...] = ()) -> bool:
        """Pay on the provider's page; True when the provider says that it has the money."""
        parts = urlsplit(page["pay_url"])
        provider = LeanClient(f"http://{parts.netloc}")
        invoked = self.history.invoke(
            "pay_done",
            attempt_id=page["attempt_id"],
            amount_fen=page["amount_fen"],
            claim_id=claim_id,
        )
        try:
            body = json.dumps({"trouble": list(trouble)}).encode()
            answer = await provider.request("POST", parts.path, body=body)
        except Lost:
            self.history.unknown(invoked)
            return False
        finally:
            await provider.close()
        document = json.loads(answer.body)
        if answer.status == 200:
            self.history.ok(invoked, transaction_id=document["transaction_id"])
            return True
        self.history.fail(invoked, answer.status, str(document.get("code", "refused")))
        return False

    async def refund(self, order_id: str, units: int) -> bool:
        """Give units back; the key makes it once."""
        key = f"refund-{secrets.token_hex(8)}"
        invoked = self.history.invoke(
            "refund", order_id=order_id, request_id=key, units=units, buyer=self.buyer
        )
        path = f"/v1/orders/{order_id}/refunds"
        answer = await self._ask("POST", path, {"units": units}, key=key)
        document = json.loads(answer.body)
        if answer.status == 201:
            self.history.ok(
                invoked, refund_id=document["refund_id"], amount_fen=document["amount_fen"]
            )
            return True
        self.history.fail(invoked, answer.status, document["code"])
        return False
