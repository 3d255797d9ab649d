"""Claims over HTTP. The first route is answered by `hot.py` before the framework sees it."""

from typing import Annotated

from litestar import Controller, Response, get, post
from litestar.datastructures import ResponseHeader
from litestar.params import FromPath, HeaderParameter, JSONBody

from campaigns.auth import CUSTOMER, CUSTOMER_OR_HQ, route
from campaigns.claim import service
from campaigns.claim.hot import KEY_PATTERN
from campaigns.claim.replies import as_response
from campaigns.claim.schemas import CancelOut, ClaimIn, ClaimOut, ClaimView
from campaigns.given import TheDb, TheHot, TheInventory, Who

IdempotencyKey = Annotated[
    str,
    HeaderParameter(
        name="Idempotency-Key",
        pattern=KEY_PATTERN,
        description="8 to 64 of A-Z a-z 0-9 _ -; the same key on every repeat of one request.",
    ),
]

_GONE = "Lost with the hot store before its order was written; nothing was charged (`claim_lost`)."


class ClaimController(Controller):
    """`held` → `paying` → `paid`; `released` and `returned` give the units back."""

    tags = ("claims",)

    @post(
        "/v1/offers/{offer_id:str}/claims",
        **route(
            CUSTOMER,
            "Claim units of an offer",
            {
                404: "No such offer (`offer_not_found`).",
                409: "`sold_out`, `limit_reached`, `not_open`, `closed`, `not_for_you` (with the "
                "`audience`), `needs_team` or "
                "`price_changed` (which names the new price_id and price_fen).",
                413: "The body is too large.",
                422: "`key_reused`: the key belongs to a claim with another body, which is named.",
                503: "`reopening` or `busy`: try again with the same key (see Retry-After).",
            },
            description="One script decides window, price, limits and stock. A repeat with the "
            "same key and body answers what the first one did.",
            response_headers=[
                ResponseHeader(
                    "Idempotent-Replay",
                    description="`true` when this is the stored answer of an earlier request.",
                    documentation_only=True,
                )
            ],
            response_description="Held.",
        ),
    )
    async def claim(
        self,
        offer_id: FromPath[str],
        data: JSONBody[ClaimIn],
        idempotency_key: IdempotencyKey,
        who: Who,
        hot: TheHot,
    ) -> Response[ClaimOut]:
        """Same decision and answer as the thin handler in front; see hot.py."""
        return as_response(await hot.decide(who, offer_id, idempotency_key, data))

    @get(
        "/v1/claims/{claim_id:str}",
        **route(
            CUSTOMER_OR_HQ,
            "What became of a claim",
            {404: "No such claim, or not yours (`claim_not_found`).", 410: _GONE},
        ),
    )
    async def view(
        self, claim_id: FromPath[str], who: Who, db: TheDb, inventory: TheInventory
    ) -> ClaimView:
        """Its hot state, and `ordered` once its order is committed."""
        return await service.view_claim(db, inventory, who, claim_id)

    @post(
        "/v1/claims/{claim_id:str}/cancel",
        **route(
            CUSTOMER,
            "Let a held claim go",
            {
                404: "No such claim, or not yours (`claim_not_found`).",
                409: "It is being paid, or paid (`claim_not_held`).",
                410: _GONE,
            },
            status_code=200,
        ),
    )
    async def cancel(
        self, claim_id: FromPath[str], who: Who, db: TheDb, inventory: TheInventory
    ) -> CancelOut:
        """Its units are free for others at once."""
        return await service.cancel_claim(db, inventory, who, claim_id)
