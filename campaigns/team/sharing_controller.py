"""A team's QR code and poster over HTTP, for whoever has its link: a picture carries no sign-in.

They tell what the product, its price and the missing seats are, and nobody's name. Known teams
only; the numbers are the hot store's, else those of the last settled events.
"""

from typing import Annotated

from litestar import Controller, Response, get
from litestar.params import FromPath, QueryParameter

from campaigns.auth import PUBLIC, route
from campaigns.catalog import Catalog
from campaigns.given import TheCatalog, TheDb, TheSettings, TheTeams
from campaigns.offer.groups import crowd_terms, price_now
from campaigns.team.hot import read_team
from campaigns.team.sharing import Language, Shared, poster_svg, qr_svg, share_path
from engine.db import Database
from engine.ids import now_ms
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
    team, listed = await read_team(db, teams, catalog, team_id)
    crowd = await crowd_terms(db, teams, listed) if team.kind == "crowd" else None
    _, price_fen = price_now(listed.config, crowd, now_ms())
    missing = team.size - team.paid - team.subsidy
    if crowd is not None:
        steps = [step for step in crowd.ladder if not step.reached]
        price_fen = crowd.ladder[max(0, team.step - 1)].price_fen
        missing = steps[0].seats - team.paid if steps else 0
    return Shared(
        name=listed.sku_name,
        size=team.size,
        state=team.shown(now_ms()),
        missing=max(0, missing),
        price_fen=price_fen,
        shelf_price_fen=listed.shelf_price_fen,
        mall_price_fen=listed.mall_price_fen,
        regular=crowd is not None and crowd.regular_price_fen is not None,
    )


def _link(settings: Settings, team_id: str) -> str:
    return settings.public_url + share_path(team_id)
