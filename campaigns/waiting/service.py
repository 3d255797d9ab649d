"""Waiting lists for buyers: join, look, leave. The scripts decide; nothing here touches SQL."""

import msgspec

from campaigns.catalog import Catalog
from campaigns.claim.hot import body_hash
from campaigns.claim.replies import JSON, Answer, in_words, refused
from campaigns.claim.schemas import ClaimIn, ClaimOut
from campaigns.waiting.schemas import LeftOut, WaitOut
from engine import keys
from engine.errors import Missing
from engine.inventory import Reply
from engine.shards import reopening
from engine.tokens import Access
from engine.waiting import Waiting

_REPLAY = (b"idempotent-replay", b"true")


async def join(
    waiting: Waiting,
    catalog: Catalog,
    who: Access,
    offer_id: str,
    key: str,
    wish: ClaimIn,
    *,
    wait_max: int,
) -> Answer:
    """Wait, or be told why not; a repeat answers what became of it. Missing `offer_not_found`."""
    listed = await catalog.find(offer_id)
    reply = await waiting.join(
        listed.shard,
        offer_id=offer_id,
        campaign_id=listed.config.campaign_id,
        buyer_id=who.subject,
        qty=wish.qty,
        price_id=wish.price_id,
        key=key,
        body_hash=body_hash(wish),
        traits=who.all_traits,
        wait_max=wait_max,
    )
    if reply.what == "waiting":
        seen = await waiting.place_of(listed.shard, offer_id, who.subject)
        out = WaitOut(
            state="waiting",
            offer_id=offer_id,
            qty=seen.qty if seen else wish.qty,
            price_id=seen.price_id if seen else wish.price_id,
            place=int(reply.details[0]),
            before=seen.before if seen else None,  # None: their turn has just come
        )
        return Answer("waiting", 201, (JSON,), msgspec.json.encode(out))
    if reply.what in ("held", "stored"):
        claim = msgspec.convert(reply.details, tuple[str, str, int, int], strict=False)
        out = WaitOut(
            state="served",
            offer_id=offer_id,
            qty=wish.qty,
            price_id=wish.price_id,
            claim=ClaimOut(*claim),
        )
        headers = (JSON, _REPLAY) if reply.what == "stored" else (JSON,)
        return Answer(reply.what, 201, headers, msgspec.json.encode(out))
    return _wait_words(reply) or in_words(reply, listed)


async def look(waiting: Waiting, catalog: Catalog, who: Access, offer_id: str) -> WaitOut:
    """The buyer's place. Missing `not_waiting`, Unavailable `reopening` while nobody can tell."""
    listed = await catalog.find(offer_id)
    seen = await waiting.place_of(listed.shard, offer_id, who.subject)
    if seen is not None:
        return WaitOut(
            state="waiting",
            offer_id=offer_id,
            qty=seen.qty,
            price_id=seen.price_id,
            place=seen.place,
            before=seen.before,
        )
    meta = await waiting.hash_of(keys.meta(listed.shard))
    if meta.get("sealed") != "":
        raise reopening()
    raise Missing(
        "not_waiting",
        "You are not waiting for this offer.",
        "If you were: units were held for you, or your wish was skipped, and you were told so. "
        "Join again with the same key to see what became of it; a claim is never made twice.",
    )


async def leave(waiting: Waiting, catalog: Catalog, who: Access, offer_id: str) -> LeftOut:
    """Wait no longer; a repeat changes nothing. Missing `offer_not_found`."""
    listed = await catalog.find(offer_id)
    reply = await waiting.leave(listed.shard, offer_id, who.subject)
    if reply.what == "reopening":
        raise reopening()
    return LeftOut(reply.what == "left", int(reply.details[0]) if reply.details else 0)


def _wait_words(reply: Reply) -> Answer | None:
    """The replies that only lists have, each in a sentence."""
    match reply.what, reply.details:
        case "available", _:
            return refused(
                409,
                "available",
                "There are units: nobody has to wait.",
                "You are not in the list. Claim now, with the same key.",
            )
        case "too_few", (total,):
            return refused(
                409,
                "too_few",
                "This offer has fewer units than you want.",
                "You are not in the list. Ask for fewer.",
                total=int(total),
            )
        case "wait_full", _:
            return refused(
                409,
                "wait_full",
                "Too many people are waiting already.",
                "You are not in the list. Units may come back; look again later.",
            )
        case "no_waiting", _:
            return refused(
                409,
                "no_waiting",
                "This is a group buy: nobody waits for its units.",
                "You are not in a list. Open a team or join one.",
            )
        case "key_reused", ("",):
            return refused(
                422,
                "key_reused",
                "This Idempotency-Key belongs to another request.",
                "You wait with it already, for what you asked first. To change that, leave the "
                "list and join with a new key.",
            )
        case _:
            return None
