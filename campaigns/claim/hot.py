"""The hot path, `POST /v1/offers/{offer_id}/claims`: a thin ASGI handler, no framework, no SQL.

It decodes once, checks the signed token without a store, finds the shard in memory and runs one
script; all claims of a loop turn travel in one write (engine/wire.py). Measured on two cores: the
framework's routing and injection cost 60 to 80 µs a request, more than all of this together.
`decide` is the same for the framework's route (controller.py), which documents this path and
answers odd spellings of it.
"""

import hashlib
import re
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import msgspec

from campaigns import problems
from campaigns.auth import not_allowed
from campaigns.catalog import Catalog, Listed
from campaigns.claim.schemas import ClaimIn
from campaigns.metrics import Metrics
from engine.errors import BadInput, KaituanError
from engine.ids import now_ms
from engine.inventory import Inventory, Reply
from engine.shards import reopening
from engine.tokens import Access, TokenKeys, bearer

Scope = Any
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]

_decode = msgspec.json.Decoder(ClaimIn, strict=True).decode
_KEY = re.compile(rb"[A-Za-z0-9_-]{8,64}")
KEY_PATTERN = r"^[A-Za-z0-9_-]{8,64}\Z"

_JSON = (b"content-type", b"application/json")
_PROBLEM = (b"content-type", problems.MEDIA_TYPE.encode())
_RETRY = (b"retry-after", str(problems.RETRY_AFTER_S).encode())
_HELD = (_JSON,)
_STORED = (_JSON, (b"idempotent-replay", b"true"))


class Answer(msgspec.Struct, frozen=True, gc=False):
    """A ready answer: `what` is its word in the metrics."""

    what: str
    status: int
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes


class _Client(Exception):
    """The client went away before its request was complete."""


def _refused(status: int, code: str, title: str, detail: str, **extra: object) -> Answer:
    headers = (_PROBLEM, _RETRY) if status == 503 else (_PROBLEM,)
    return Answer(code, status, headers, problems.document(status, code, title, detail, extra))


_SOLD_OUT = _refused(
    409, "sold_out", "Sold out.", "All units are held or sold. Held ones may come back; look again."
)
_CLOSED = _refused(409, "closed", "This offer is closed.", "No new claims are taken.")
_BUSY = _refused(
    503,
    "busy",
    "Very many people are buying right now.",
    "Nothing was held. Try again in a moment with the same key.",
)
_WHICH = {"order": "in one order", "offer": "of this offer", "campaign": "in this campaign"}


class HotClaims:
    """Answers claim requests; one per process."""

    def __init__(
        self,
        inventory: Inventory,
        catalog: Catalog,
        tokens: TokenKeys,
        metrics: Metrics,
        *,
        body_bytes_max: int,
    ) -> None:
        self._inventory = inventory
        self._catalog = catalog
        self._tokens = tokens
        self._metrics = metrics
        self._body_bytes_max = body_bytes_max

    async def __call__(self, scope: Scope, receive: Receive, send: Send, offer_id: str) -> None:
        """Answer one request; whatever goes wrong ends in a problem document."""
        began = time.perf_counter()
        try:
            answer = await self._answer(scope, receive, offer_id)
        except _Client:
            self._metrics.claim("gone", time.perf_counter() - began)
            return
        except KaituanError as error:
            answer = failed(error)
        except Exception as error:
            answer = failed(problems.as_kaituan(error))
        body = answer.body
        headers: Headers = [*answer.headers, (b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        await send({"type": "http.response.body", "body": body})
        self._metrics.claim(answer.what, time.perf_counter() - began)

    async def _answer(self, scope: Scope, receive: Receive, offer_id: str) -> Answer:
        token = key = b""
        for name, value in scope["headers"]:
            if name == b"authorization":
                token = bearer(value)
            elif name == b"idempotency-key":
                key = value
        who = self._tokens.verify(token, now_ms())
        if who.role != "customer":
            raise not_allowed()
        if _KEY.fullmatch(key) is None:
            raise _bad_key()
        raw = await self._read(receive)
        try:
            claim = _decode(raw)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise problems.bad_body(error) from None
        return await self.decide(who, offer_id, key.decode(), claim)

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
        reply = await self._inventory.claim(
            listed.shard,
            offer_id=offer_id,
            campaign_id=listed.config.campaign_id,
            buyer_id=who.subject,
            qty=claim.qty,
            price_id=claim.price_id,
            key=key,
            body_hash=body_hash(claim),
        )
        what, details = reply.what, reply.details
        if what in ("held", "stored"):
            return Answer(what, 201, _HELD if what == "held" else _STORED, _claim_out(*details))
        if what == "sold_out":
            return _SOLD_OUT
        return _in_words(reply, listed)


def _claim_out(claim_id: str, price_id: str, price_fen: str, expires_at_ms: str) -> bytes:
    """ClaimOut as JSON. The script's words are ids and digits: nothing in them needs an escape."""
    return (
        f'{{"claim_id":"{claim_id}","price_id":"{price_id}",'
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


def failed(error: KaituanError) -> Answer:
    """An error of the tree as an answer."""
    extra: Iterable[tuple[bytes, bytes]] = [
        (name.lower().encode(), value.encode())
        for name, value in problems.headers_of(error).items()
    ]
    body = problems.document(error.status, error.code, error.title, error.detail, error.extra)
    return Answer(error.code, error.status, (_PROBLEM, *extra), body)


def _in_words(reply: Reply, listed: Listed) -> Answer:
    """The rarer replies of the script."""
    match reply.what, reply.details:
        case "closed", _:
            return _CLOSED
        case "busy", _:
            return _BUSY
        case "not_open", (starts,):
            return _not_open(int(starts))
        case "unknown_offer", _:  # published, but its `offer_open` has not run on the shard yet
            if listed.waits:
                return _not_launched()
            starts_at_ms = listed.config.starts_at_ms
            return _not_open(starts_at_ms) if now_ms() < starts_at_ms else _BUSY
        case "price_changed", (price_id, price_fen):
            return _refused(
                409,
                "price_changed",
                "The price has changed.",
                "Nothing was held. Show the new price, and claim with its price_id.",
                price_id=price_id,
                price_fen=int(price_fen),
            )
        case "limit_reached", (which, most):
            return _refused(
                409,
                "limit_reached",
                f"You may buy at most {most} {_WHICH[which]}.",
                "Nothing was held. Units that you hold or have bought count.",
                limit=which,
                limit_max=int(most),
            )
        case "key_reused", (claim_id,):
            return _refused(
                422,
                "key_reused",
                "This Idempotency-Key belongs to another request.",
                "Nothing was held. The claim made with it stands; use a new key for a new one.",
                claim_id=claim_id,
            )
        case "reopening", _:
            return failed(reopening())
        case _:
            raise AssertionError(f"claim.lua answered {reply}")


def _not_launched() -> Answer:
    return _refused(
        409,
        "not_open",
        "The host has not started this offer yet.",
        "Nothing was held. Its room says when it starts.",
    )


def _not_open(starts_at_ms: int) -> Answer:
    return _refused(
        409,
        "not_open",
        "This offer has not started.",
        "Nothing was held. Try again from the start time on.",
        starts_at_ms=starts_at_ms,
    )
