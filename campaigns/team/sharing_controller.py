"""A team's QR code and poster over HTTP, for whoever has its link: a picture carries no sign-in.

They tell what the product, its price and the missing seats are, and nobody's name. Known teams
only; the numbers are the hot store's, else those of the last settled events.
"""

from typing import Annotated

from litestar import Controller, Response, get
from litestar.params import FromPath, QueryParameter

from campaigns.auth import PUBLIC, route
from campaigns.catalog import Catalog, Listed
from campaigns.given import TheCatalog, TheDb, TheSettings, TheTeams
from campaigns.team.models import Team
from campaigns.team.sharing import Language, Shared, poster_svg, qr_svg, share_path
from engine.db import Database
from engine.errors import Missing, Unavailable
from engine.ids import now_ms, offer_of_crowd, shard_of_team
from engine.settings import Settings
from engine.teams import Teams

_MISSING = {404: "No such team (`team_not_found`)."}
_SVG = "image/svg+xml"
_SAFE = {"x-content-type-options": "nosniff", "content-security-policy": "default-src 'none'"}
_CODE_KEEPS = {**_SAFE, "cache-control": "public, max-age=86400"}
_POSTER_KEEPS = {**_SAFE, "cache-control": "public, max-age=5"}


class SharingController(Controller):
    """Pictures of a share link, made here: nothing is loaded from elsewhere."""

    path = "/v1/teams/{team_id:str}"
    tags = ("teams",)

    @get("/qr.svg", **route(PUBLIC, "QR code of a team's share link", _MISSING), media_type=_SVG)
    async def code(
        self,
        team_id: FromPath[str],
        db: TheDb,
        teams: TheTeams,
        catalog: TheCatalog,
        settings: TheSettings,
    ) -> Response[str]:
        """Dark on white, with its quiet zone."""
        await find_shared(db, teams, catalog, team_id)
        svg = qr_svg(_link(settings, team_id))
        return Response(svg, media_type=_SVG, headers=_CODE_KEEPS)

    @get(
        "/poster.svg",
        **route(PUBLIC, "Poster of a team, to send to friends", _MISSING),
        media_type=_SVG,
    )
    async def poster(
        self,
        team_id: FromPath[str],
        db: TheDb,
        teams: TheTeams,
        catalog: TheCatalog,
        settings: TheSettings,
        lang: Annotated[Language, QueryParameter()] = "zh-CN",
    ) -> Response[str]:
        """Product, price, seats left as of now, QR code."""
        shared = await find_shared(db, teams, catalog, team_id)
        svg = poster_svg(shared, _link(settings, team_id), lang)
        return Response(svg, media_type=_SVG, headers=_POSTER_KEEPS)


async def find_shared(db: Database, teams: Teams, catalog: Catalog, team_id: str) -> Shared:
    """What may be told of a team without a sign-in; Missing `team_not_found`."""
    offer_id = offer_of_crowd(team_id) or ""
    shard = shard_of_team(team_id)
    if offer_id:
        shard = (await catalog.find(offer_id)).shard
    if shard is None:
        raise _missing_team()
    try:
        now = await teams.state(shard, team_id)
    except Unavailable:
        now = {}
    now = now or await _settled(db, team_id)
    return shared_of(await catalog.find(now["offer_id"]), now)


def shared_of(listed: Listed, now: dict[str, str]) -> Shared:
    """A poster's facts of a team's hash (or row) and its offer."""
    size, paid, step = int(now["size"]), int(now["paid"]), int(now["step"])
    rules, clock = listed.config.team, now_ms()
    state = now["state"]
    if state in ("opening", "forming", "reached") and clock >= int(now["deadline_ms"]):
        state = "closing"
    begun = [price for price in listed.config.prices if price[2] <= clock]
    price_fen = max(begun or listed.config.prices[:1], key=lambda price: price[2])[1]
    missing = size - paid - int(now["subsidy"])
    if now["kind"] == "crowd" and rules is not None:
        price_fen = rules.steps[max(0, step - 1)][2]
        missing = rules.steps[step][0] - paid if step < len(rules.steps) else 0
    return Shared(
        name=listed.sku_name,
        size=size,
        state=state,
        missing=max(0, missing),
        price_fen=price_fen,
        shelf_price_fen=listed.shelf_price_fen,
        mall_price_fen=listed.mall_price_fen,
    )


async def _settled(db: Database, team_id: str) -> dict[str, str]:
    """The team's row in the hash's words; Missing when there is none."""
    async with db.begin() as session:
        team = await session.get(Team, team_id)
    if team is None:
        raise _missing_team()
    names = ("offer_id", "kind", "state", "size", "paid", "subsidy", "step", "deadline_ms")
    return {name: str(getattr(team, name)) for name in names}


def _missing_team() -> Missing:
    return Missing("team_not_found", "There is no such team.", "Look at the link again.")


def _link(settings: Settings, team_id: str) -> str:
    return settings.public_url + share_path(team_id)
