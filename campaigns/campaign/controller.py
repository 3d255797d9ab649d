"""Campaigns over HTTP: HQ drafts, reviews, publishes, and cancels when it must."""

from typing import Annotated

from litestar import Controller, get, post, put
from litestar.params import FromPath, JSONBody, QueryParameter

from campaigns.auth import HQ, route
from campaigns.campaign import cancel, publish, service
from campaigns.campaign.schemas import CampaignIn, CampaignOut, CampaignPage, CancelIn, ReviewIn
from campaigns.given import TheDb, TheInventory, TheSettings, Who

_MISSING = {404: "No such campaign (`campaign_not_found`)."}
_STATE = {409: "Not from its state (`campaign_state` says what is possible)."}
_RULES = {422: "It breaks rules (`campaign_invalid`, all of them in `errors`)."}
PAGE_MAX = 200


class CampaignController(Controller):
    """draft → in_review → approved → scheduled → running → ended; or rejected, or cancelled."""

    path = "/v1/campaigns"
    tags = ("campaigns",)

    @post("/", **route(HQ, "Draft a campaign"))
    async def create(self, data: JSONBody[CampaignIn], who: Who, db: TheDb) -> CampaignOut:
        """It is only a draft: rules of price, window and split are checked at submit."""
        return await service.create(db, who, data)

    @get("/", **route(HQ, "List campaigns, newest first"))
    async def page(
        self,
        db: TheDb,
        limit: Annotated[int, QueryParameter(ge=1, le=PAGE_MAX)] = 50,
        after: Annotated[str | None, QueryParameter(max_length=64)] = None,
        campaign_state: Annotated[str | None, QueryParameter(name="state", max_length=20)] = None,
    ) -> CampaignPage:
        """`next` of one page is `after` of the next."""
        return await service.page(db, limit=limit, after=after, state=campaign_state)

    @get("/{campaign_id:str}", **route(HQ, "One campaign with its offers", _MISSING))
    async def get(self, campaign_id: FromPath[str], db: TheDb) -> CampaignOut:
        """Published offers with the ids that claims name."""
        return await service.get(db, campaign_id)

    @put("/{campaign_id:str}", **route(HQ, "Replace a draft", {**_MISSING, **_STATE}))
    async def edit(
        self, campaign_id: FromPath[str], data: JSONBody[CampaignIn], who: Who, db: TheDb
    ) -> CampaignOut:
        """A rejected or approved campaign becomes a draft again; a published one never changes."""
        return await service.edit(db, who, campaign_id, data)

    @post(
        "/{campaign_id:str}/submit",
        **route(
            HQ,
            "Submit a draft for review",
            {**_MISSING, **_STATE, **_RULES},
            status_code=200,
        ),
    )
    async def submit(
        self, campaign_id: FromPath[str], who: Who, db: TheDb, settings: TheSettings
    ) -> CampaignOut:
        """Checks every rule and names all that are broken."""
        return await service.submit(db, settings, who, campaign_id)

    @post(
        "/{campaign_id:str}/review",
        **route(HQ, "Approve or reject", {**_MISSING, **_STATE}, status_code=200),
    )
    async def review(
        self, campaign_id: FromPath[str], data: JSONBody[ReviewIn], who: Who, db: TheDb
    ) -> CampaignOut:
        """A rejection needs a note that says what has to change."""
        return await service.review(db, who, campaign_id, data)

    @post(
        "/{campaign_id:str}/publish",
        **route(
            HQ,
            "Publish an approved campaign",
            {**_MISSING, **_STATE, **_RULES},
            status_code=200,
        ),
    )
    async def publish(
        self,
        campaign_id: FromPath[str],
        who: Who,
        db: TheDb,
        inventory: TheInventory,
        settings: TheSettings,
    ) -> CampaignOut:
        """Makes its version and offers; they open on their shard at once, or as soon as it can."""
        return await publish.publish(db, inventory, settings, who, campaign_id)

    @post(
        "/{campaign_id:str}/cancel",
        **route(HQ, "Cancel a campaign that is published", {**_MISSING, **_STATE}, status_code=200),
    )
    async def cancel(
        self,
        campaign_id: FromPath[str],
        data: JSONBody[CancelIn],
        who: Who,
        db: TheDb,
        inventory: TheInventory,
    ) -> CampaignOut:
        """The kill switch: nothing of it can be claimed any more, and open teams end as it was
        declared in `on_cancel`. Paid orders of other sales stand. A repeat changes nothing."""
        return await cancel.cancel(db, inventory, who, campaign_id, data.note)
