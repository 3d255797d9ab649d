"""Refunds over HTTP: asked for once per key, carried out by the worker."""

from litestar import Controller, get, post
from litestar.params import FromPath, JSONBody
from sqlalchemy import select

from campaigns.auth import CUSTOMER_OR_HQ, route
from campaigns.claim.controller import IdempotencyKey
from campaigns.given import TheDb, Who
from campaigns.order.service import get_order
from campaigns.refund import service
from campaigns.refund.models import Refund
from campaigns.refund.schemas import RefundIn, RefundList, RefundView, view_of
from engine.errors import Missing

_MISSING = {404: "No such order, or not yours (`order_not_found`)."}
LIST_MAX = 200


class RefundController(Controller):
    """due → done, or failed and looked at by a person."""

    tags = ("refunds",)

    @post(
        "/v1/orders/{order_id:str}/refunds",
        **route(
            CUSTOMER_OR_HQ,
            "Ask for a refund",
            {
                **_MISSING,
                409: "`not_refundable`, `refund_exceeds_units`, `refund_exceeds_paid`, "
                "`crowd_reached` (for its buyers, until it is formed) or `too_many_refunds`.",
                422: "The key stands for another refund (`request_reused`).",
            },
            description="Customers give back whole units of their own paid order for their price; "
            "HQ may also say an amount. The key makes it once.",
        ),
    )
    async def ask(
        self,
        order_id: FromPath[str],
        data: JSONBody[RefundIn],
        idempotency_key: IdempotencyKey,
        who: Who,
        db: TheDb,
    ) -> RefundView:
        """Committed when this answers; sent to the provider until it says done."""
        refund = await service.request_refund(
            db,
            order_id=order_id,
            request_id=idempotency_key,
            units=data.units,
            amount_fen=data.amount_fen,
            actor=who.subject,
            buyer_id=None if who.role == "hq" else who.subject,
        )
        return view_of(refund)

    @get(
        "/v1/orders/{order_id:str}/refunds",
        **route(CUSTOMER_OR_HQ, "Refunds of an order", _MISSING),
    )
    async def of_order(self, order_id: FromPath[str], who: Who, db: TheDb) -> RefundList:
        """Also those of late or doubled payments."""
        await get_order(db, who, order_id)
        query = (
            select(Refund).where(Refund.order_id == order_id).order_by(Refund.id).limit(LIST_MAX)
        )
        async with db.begin() as session:
            return RefundList(tuple([view_of(row) for row in await session.scalars(query)]))

    @get(
        "/v1/refunds/{refund_id:str}",
        **route(
            CUSTOMER_OR_HQ,
            "One refund",
            {404: "No such refund, or not yours (`refund_not_found`)."},
        ),
    )
    async def get(self, refund_id: FromPath[str], who: Who, db: TheDb) -> RefundView:
        """`done` once the provider said so."""
        async with db.begin() as session:
            refund = await session.get(Refund, refund_id)
        missing = Missing("refund_not_found", "There is no such refund.", "Look at your orders.")
        if refund is None:
            raise missing
        if who.role != "hq":
            if refund.order_id is None:
                raise missing
            try:
                await get_order(db, who, refund.order_id)
            except Missing:
                raise missing from None
        return view_of(refund)
