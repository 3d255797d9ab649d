"""Payments over HTTP: where a customer pays, and where the provider says it was paid."""

import logging
from typing import Annotated, Any

from litestar import Controller, Request, post
from litestar.background_tasks import BackgroundTask
from litestar.params import FromPath, PathParameter
from litestar.response import Response

from campaigns.auth import CUSTOMER, PUBLIC, route
from campaigns.given import TheDb, TheInventory, TheProvider, TheProviderName, TheSettings, Who
from campaigns.payment import service
from campaigns.payment.service import PayPage
from engine.db import Database
from engine.errors import KaituanError, Missing
from engine.inventory import Inventory

log = logging.getLogger(__name__)


class PaymentController(Controller):
    """held → paying → paid."""

    tags = ("payments",)

    @post(
        "/v1/claims/{claim_id:str}/pay",
        **route(
            CUSTOMER,
            "Begin to pay a claim",
            {
                404: "No such claim, or not yours (`claim_not_found`).",
                409: "`not_ordered` (being written; try again in a moment), `not_payable`, "
                "`not_new` (a new customer's claim, and its buyer has bought elsewhere) or "
                "`pay_expired`.",
                503: "`reopening`, `busy` or `provider_unreachable`; the units stay yours.",
            },
            status_code=200,
        ),
    )
    async def pay(
        self,
        claim_id: FromPath[str],
        who: Who,
        db: TheDb,
        inventory: TheInventory,
        provider: TheProvider,
        settings: TheSettings,
    ) -> PayPage:
        """The page to pay on and until when; a repeat gives the same one."""
        return await service.begin_payment(
            db, inventory, provider, settings, claim_id=claim_id, buyer_id=who.subject
        )

    @post(
        ["/v1/payments/callback", "/v1/payments/callback/{from_provider:str}"],
        **route(
            PUBLIC,
            "The payment provider says that something was paid",
            {
                401: "Not signed by the provider, or not just now (`bad_signature`).",
                404: "No such provider (`provider_not_found`).",
                409: "Signed, but not a payment (`bad_notification`).",
                413: "The body is too large.",
            },
            status_code=200,
            description="The signature over the raw bytes is verified before anything else. "
            "Success is answered once the fact is committed; repeats are harmless.",
        ),
    )
    async def callback(
        self,
        request: Request[Any, Any, Any],
        db: TheDb,
        inventory: TheInventory,
        provider: TheProvider,
        provider_name: TheProviderName,
        from_provider: Annotated[str | None, PathParameter(max_length=32)] = None,
    ) -> Response[bytes]:
        """What the payment means is decided after this answer, and again until it is decided."""
        if from_provider not in (None, provider_name):
            raise Missing("provider_not_found", "There is no such payment provider.")
        raw = await request.body()
        told = provider.verify_callback(dict(request.headers), raw)
        fact_id = await service.record_payment(
            db, told, provider_name=provider_name, source="callback"
        )
        return Response(
            provider.callback_success,
            media_type="application/json",
            background=BackgroundTask(_apply, db, inventory, fact_id),
        )


async def _apply(db: Database, inventory: Inventory, fact_id: str) -> None:
    """Soon rather than surely: the worker repeats what fails here."""
    try:
        await service.apply_fact(db, inventory, fact_id)
    except (KaituanError, OSError) as error:
        log.info("payment %s waits for the worker: %s", fact_id, type(error).__qualname__)
