"""After the evening: a room that stays live, with stock to buy, and where to go in."""

from pathlib import Path

from rich.console import Console

from campaigns.pages import DIST
from cli.demo.headquarters import (
    FLASH_SKU,
    GROUP_SKUS,
    HERO_SKU,
    SIDE_SKU,
    Headquarters,
    visitors_draft,
)
from cli.demo.live_room import LiveRoom
from cli.shop import HQ_LOGIN, Keys, Shop
from engine.ids import now_ms
from engine.settings import Settings


async def open_doors(settings: Settings, shop: Shop, keys: Keys) -> str:
    """Publish a campaign of some hours, and let the guide go live with it; the room's id."""
    hq = Headquarters(settings.public_url)
    room = LiveRoom(settings.public_url, shop.hosts[0])
    try:
        await hq.sign_in(HQ_LOGIN, keys.hq)
        await hq.end_rooms()  # of an earlier demo on the same data
        published = await hq.publish(visitors_draft("开门迎客"))
        by_sku = {offer["sku_id"]: offer["offer_id"] for offer in published}
        offers = [by_sku[sku] for sku in (HERO_SKU, SIDE_SKU, FLASH_SKU, *GROUP_SKUS)]
        await room.open(hq, keys.guide, "开门迎客 · 随便逛逛", offers, now_ms())
        await room.go_live()
        await room.pin(offers[0])
    finally:
        await room.close()
        await hq.close()
    return room.room_id


def tell_doors(console: Console, settings: Settings, shop: Shop, keys: Keys, room_id: str) -> None:
    """The three doors with their sign-ins, and what is behind them for machines."""
    at, host = settings.public_url, shop.hosts[0]
    phone, nickname = shop.customers[0]
    dist = Path(settings.pages_dir) if settings.pages_dir else DIST
    if (dist / "index.html").is_file():
        doors = (
            f"  [bold]customer's room[/]  {at}/r/{room_id}\n"
            f"                   sign in with {phone} ({nickname}); the page shows the code\n"
            f"  [bold]guide's desk[/]     {at}/desk\n"
            f"                   {host.login} / {keys.guide} ({host.name})\n"
            f"  [bold]HQ's board[/]       {at}/hq\n"
            f"                   {HQ_LOGIN} / {keys.hq}\n"
        )
    else:
        doors = (
            f"  The pages are not built here (make pages says why); the interface is open.\n"
            f"  HQ {HQ_LOGIN} / {keys.hq}, guide {host.login} / {keys.guide}, customer {phone}\n"
        )
    console.print(
        f"\nThe doors are open (Ctrl-C closes them). {host.name} is live, with stock to buy:\n"
        f"{doors}"
        f"  for machines     {at}/v1/rooms  /v1/offers  /schema/openapi.json  /readyz  /metrics\n"
        f"                   {settings.gateway_url}\n"
        f"  provider         {settings.provider_url}/counts",
        highlight=False,
        soft_wrap=True,
    )
