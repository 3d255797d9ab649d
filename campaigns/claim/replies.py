"""A claiming script's replies as answers: each word of claim.lua and seat.lua in a sentence.

What a buyer can cause on a good day is a value here, not an error; every refusal says that
nothing was held.
"""

from collections.abc import Iterable
from typing import Any

import msgspec
from litestar import Response

from campaigns import problems
from campaigns.catalog import Listed
from campaigns.offer.audience import WORDS
from engine.errors import KaituanError
from engine.ids import now_ms
from engine.inventory import Reply
from engine.shards import reopening

JSON = (b"content-type", b"application/json")
_PROBLEM = (b"content-type", problems.MEDIA_TYPE.encode())
_RETRY = (b"retry-after", str(problems.RETRY_AFTER_S).encode())


class Answer(msgspec.Struct, frozen=True, gc=False):
    """A ready answer: `what` is its word in the metrics."""

    what: str
    status: int
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes


def refused(status: int, code: str, title: str, detail: str, **extra: object) -> Answer:
    headers = (_PROBLEM, _RETRY) if status == 503 else (_PROBLEM,)
    return Answer(code, status, headers, problems.document(status, code, title, detail, extra))


SOLD_OUT = refused(
    409,
    "sold_out",
    "Sold out.",
    "All units are held or sold, or others wait for them. Held ones may come back; look again, or "
    "wait in the offer's list. If you are in it, you keep your place.",
)
_CLOSED = refused(409, "closed", "This offer is closed.", "No new claims are taken.")
_BUSY = refused(
    503,
    "busy",
    "Very many people are buying right now.",
    "Nothing was held. Try again in a moment with the same key.",
)
_WHICH = {"order": "in one order", "offer": "of this offer", "campaign": "in this campaign"}
_NEEDS_TEAM = refused(
    409,
    "needs_team",
    "This is a group buy.",
    "Nothing was held. Open a team or join one: ask for a seat of this offer.",
)


def as_response(answer: Answer) -> Response[Any]:
    """The answer through the framework; its body is encoded already."""
    headers = {name.decode(): value.decode() for name, value in answer.headers}
    media_type = headers.pop("content-type")
    return Response(answer.body, status_code=answer.status, headers=headers, media_type=media_type)


def failed(error: KaituanError) -> Answer:
    """An error of the tree as an answer."""
    extra: Iterable[tuple[bytes, bytes]] = [
        (name.lower().encode(), value.encode())
        for name, value in problems.headers_of(error).items()
    ]
    body = problems.document(error.status, error.code, error.title, error.detail, error.extra)
    return Answer(error.code, error.status, (_PROBLEM, *extra), body)


def in_words(reply: Reply, listed: Listed) -> Answer:
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
        case "not_for_you", (_,):
            words = WORDS[listed.config.audience]
            return refused(
                409,
                "not_for_you",
                words.title,
                f"Nothing was held. {words.next_step}",
                audience=listed.config.audience,
            )
        case "price_changed", (price_id, price_fen):
            return refused(
                409,
                "price_changed",
                "The price has changed.",
                "Nothing was held. Show the new price, and claim with its price_id.",
                price_id=price_id,
                price_fen=int(price_fen),
            )
        case "limit_reached", ("seat", most):
            return refused(
                409,
                "limit_reached",
                f"A seat of this offer is {most} {'unit' if most == '1' else 'units'}.",
                "Nothing was held. Ask for exactly so many.",
                limit="seat",
                limit_max=int(most),
            )
        case "limit_reached", ("newcomer", _):
            return refused(
                409,
                "limit_reached",
                "You have used your right of a new customer in this campaign.",
                "Nothing was held. It stands for one claim. What is for everybody is open to you, "
                "also a team that you open yourself.",
                limit="newcomer",
                limit_max=1,
            )
        case "limit_reached", (which, most):
            return refused(
                409,
                "limit_reached",
                f"You may buy at most {most} {_WHICH[which]}.",
                "Nothing was held. Units that you hold or have bought count.",
                limit=which,
                limit_max=int(most),
            )
        case "key_reused", (claim_id,):
            return refused(
                422,
                "key_reused",
                "This Idempotency-Key belongs to another request.",
                "Nothing was held. The claim made with it stands; use a new key for a new one.",
                claim_id=claim_id,
            )
        case "needs_team", _:
            return _NEEDS_TEAM
        case "reopening", _:
            return failed(reopening())
        case _:
            raise AssertionError(f"a script answered {reply}")


def _not_launched() -> Answer:
    return refused(
        409,
        "not_open",
        "The host has not started this offer yet.",
        "Nothing was held. Its room says when it starts.",
    )


def _not_open(starts_at_ms: int) -> Answer:
    return refused(
        409,
        "not_open",
        "This offer has not started.",
        "Nothing was held. Try again from the start time on.",
        starts_at_ms=starts_at_ms,
    )
