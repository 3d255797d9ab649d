"""The hot path, `POST /v1/offers/{id}/claims` and `…/seats`: a thin ASGI handler, no SQL.

It decodes once, checks the signed token without a store, finds the shard in memory and runs one
script; all claims of a loop turn travel in one write (engine/wire.py), and those of an offer that
is sold out share one look at it (sold_out.py). Measured on two cores: the
framework's routing and injection cost 60 to 80 µs a request, more than all of this together.
`decide` and `decide_seat` are the same for the framework's routes (controller.py, ../team), which
document these paths and answer odd spellings of them.
"""

import hashlib
import re
import time
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from campaigns import problems
from campaigns.auth import not_allowed
from campaigns.catalog import Catalog
from campaigns.claim.replies import JSON, SOLD_OUT, Answer, failed, in_words
from campaigns.claim.schemas import ClaimIn
from campaigns.claim.sold_out import SoldOut
from campaigns.metrics import Metrics
from campaigns.team.replies import team_words
from campaigns.team.schemas import SeatIn
from engine.errors import BadInput, KaituanError
from engine.ids import now_ms, opened_team_id
from engine.inventory import Inventory
from engine.teams import Teams
from engine.tokens import Access, TokenKeys, bearer

Scope = Any
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]
Message = dict[str, Any]
Headers = list[tuple[bytes, bytes]]

_decode = msgspec.json.Decoder(ClaimIn, strict=True).decode
_decode_seat = msgspec.json.Decoder(SeatIn, strict=True).decode
_KEY = re.compile(rb"[A-Za-z0-9_-]{8,64}")
KEY_PATTERN = r"^[A-Za-z0-9_-]{8,64}\Z"

_HELD = (JSON,)
_STORED = (JSON, (b"idempotent-replay", b"true"))


def _messages(answer: Answer) -> tuple[Message, Message]:
    headers: Headers = [*answer.headers, (b"content-length", b"%d" % len(answer.body))]
    return (
        {"type": "http.response.start", "status": answer.status, "headers": headers},
        {"type": "http.response.body", "body": answer.body},
    )


_SOLD_OUT = _messages(SOLD_OUT)


class _Client(Exception):
    """The client went away before its request was complete."""


class HotClaims:
    """Answers claim requests; one per process."""

    def __init__(
        self,
        inventory: Inventory,
        teams: Teams,
        catalog: Catalog,
        tokens: TokenKeys,
        metrics: Metrics,
        sold_out: SoldOut,
        *,
        body_bytes_max: int,
        tokens_seen_max: int = 20_000,
    ) -> None:
        self._inventory = inventory
        self._teams = teams
        self._catalog = catalog
        self._tokens = tokens
        self._metrics = metrics
        self._sold_out = sold_out
        self._body_bytes_max = body_bytes_max
        self._seen: dict[bytes, Access] = {}
        self._seen_max = tokens_seen_max

    async def __call__(
        self, scope: Scope, receive: Receive, send: Send, offer_id: str, *, seat: bool = False
    ) -> None:
        """Answer one request; whatever goes wrong ends in a problem document."""
        began = time.perf_counter()
        try:
            answer = await self._answer(scope, receive, offer_id, seat)
        except _Client:
            self._metrics.claim("gone", time.perf_counter() - began)
            return
        except KaituanError as error:
            answer = failed(error)
        except Exception as error:
            answer = failed(problems.as_kaituan(error))
        start, body = _SOLD_OUT if answer is SOLD_OUT else _messages(answer)
        await send(start)
        await send(body)
        self._metrics.claim(answer.what, time.perf_counter() - began)

    async def _answer(self, scope: Scope, receive: Receive, offer_id: str, seat: bool) -> Answer:
        signed = key = b""
        for name, value in scope["headers"]:
            if name == b"authorization":
                signed = value
            elif name == b"idempotency-key":
                key = value
        now = now_ms()
        who = self._seen.get(signed)
        if who is None or now >= who.expires_at_ms:
            who = self._verified(signed, now)
        if who.role != "customer":
            raise not_allowed()
        if _KEY.fullmatch(key) is None:
            raise _bad_key()
        raw = await self._read(receive)
        try:
            if seat:
                wanted = _decode_seat(raw)
            else:
                claim = _decode(raw)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise problems.bad_body(error) from None
        if seat:
            return await self.decide_seat(who, offer_id, key.decode(), wanted)
        return await self.decide(who, offer_id, key.decode(), claim)

    def _verified(self, signed: bytes, now: int) -> Access:
        """Whoever comes again, as people do, is known by the header: 17,000 instructions less."""
        who = self._tokens.verify(bearer(signed), now)
        if len(self._seen) >= self._seen_max:
            self._seen.clear()
        self._seen[signed] = who
        return who

    async def _read(self, receive: Receive) -> bytes:
        message = await receive()
        if message["type"] != "http.request":
            raise _Client
        body: bytes = message.get("body", b"")
        if not message.get("more_body") and len(body) <= self._body_bytes_max:
            return body
        parts, size = [body], len(body)
        while message.get("more_body") and size <= self._body_bytes_max:
            message = await receive()
            if message["type"] != "http.request":
                raise _Client
            parts.append(message.get("body", b""))
            size += len(parts[-1])
        if size > self._body_bytes_max:
            raise _TooLarge(
                "body_too_large", "The request's body is too large.", "Nothing was changed."
            )
        return b"".join(parts)

    async def decide(self, who: Access, offer_id: str, key: str, claim: ClaimIn) -> Answer:
        """Run the script for a signed-in customer and put its reply into words."""
        listed = self._catalog.offers.get(offer_id) or await self._catalog.find(offer_id)
        known = self._sold_out.offers.get(offer_id)
        if known is not None and known.may_refuse(who, listed.config.audience):
            look = await known.look()
            if look is not None and look.refuses(who.subject, claim.qty, claim.price_id):
                self._metrics.from_memory += 1
                return SOLD_OUT
        reply = await self._inventory.claim(
            listed.shard,
            offer_id=offer_id,
            campaign_id=listed.config.campaign_id,
            buyer_id=who.subject,
            qty=claim.qty,
            price_id=claim.price_id,
            key=key,
            body_hash=body_hash(claim),
            traits=who.all_traits,
        )
        what, details = reply.what, reply.details
        if what in ("held", "stored"):
            return Answer(what, 201, _HELD if what == "held" else _STORED, _claim_out(*details))
        if what == "sold_out":
            self._sold_out.heard(listed.shard, offer_id)
            return SOLD_OUT
        return in_words(reply, listed)

    async def decide_seat(self, who: Access, offer_id: str, key: str, wanted: SeatIn) -> Answer:
        """As `decide`, for a seat. Who is new is what the token says; the script does the rest."""
        listed = self._catalog.offers.get(offer_id) or await self._catalog.find(offer_id)
        reply = await self._teams.seat(
            listed.shard,
            offer_id=offer_id,
            campaign_id=listed.config.campaign_id,
            buyer_id=who.subject,
            qty=wanted.qty,
            price_id=wanted.price_id,
            key=key,
            body_hash=seat_hash(wanted),
            team_id=wanted.team_id,
            consent=wanted.consent,
            traits=who.all_traits,
        )
        what, details = reply.what, reply.details
        if what in ("held", "stored"):
            rules = listed.config.team
            crowd_id = rules.crowd_id if rules else ""
            team_id = wanted.team_id or crowd_id or opened_team_id(details[0])
            headers = _HELD if what == "held" else _STORED
            return Answer(what, 201, headers, _seat_out(team_id, *details))
        if what == "sold_out":
            return SOLD_OUT
        return team_words(reply) or in_words(reply, listed)


def _claim_out(claim_id: str, price_id: str, price_fen: str, expires_at_ms: str) -> bytes:
    """ClaimOut as JSON. The script's words are ids and digits: nothing in them needs an escape."""
    return (
        f'{{"claim_id":"{claim_id}","price_id":"{price_id}",'
        f'"price_fen":{price_fen},"expires_at_ms":{expires_at_ms}}}'
    ).encode()


def _seat_out(
    team_id: str, claim_id: str, price_id: str, price_fen: str, expires_at_ms: str
) -> bytes:
    """SeatOut as JSON, likewise."""
    return (
        f'{{"claim_id":"{claim_id}","team_id":"{team_id}","price_id":"{price_id}",'
        f'"price_fen":{price_fen},"expires_at_ms":{expires_at_ms}}}'
    ).encode()


class _TooLarge(KaituanError):
    status = 413


def _bad_key() -> BadInput:
    return BadInput(
        "bad_idempotency_key",
        "A claim needs an Idempotency-Key header.",
        "Send 8 to 64 of A-Z a-z 0-9 _ - and keep the same key when you repeat the request.",
    )


def body_hash(claim: ClaimIn) -> str:
    """32 hex digits over the meaning of the body, so that its spelling does not matter."""
    meaning = f"{claim.qty} {claim.price_id}".encode()
    return hashlib.blake2b(meaning, digest_size=16).hexdigest()


def seat_hash(wanted: SeatIn) -> str:
    """As `body_hash`, over all fields: another team or another consent is another request."""
    meaning = f"{wanted.qty} {wanted.price_id} {wanted.team_id} {wanted.consent:d}".encode()
    return hashlib.blake2b(meaning, digest_size=16).hexdigest()
