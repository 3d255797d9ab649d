"""`python -m cli.bench.yardsticks echo|plain --fd N`: servers to be compared with.

Both run on uvicorn with exactly the API's settings. `echo` is the ceiling: bare ASGI, no store.
`plain` is what one would write: a Litestar route and one redis-py EVALSHA of the same script per
request, without authentication (that only makes it faster).
"""

import argparse
import logging
import socket
from dataclasses import dataclass
from typing import Annotated, Any

import hiredis
import uvicorn
import uvloop
from litestar import Litestar, post
from litestar.di import Provide
from litestar.exceptions import ClientException
from litestar.params import Parameter
from redis.asyncio import Redis

from campaigns.claim.hot import body_hash
from campaigns.claim.schemas import ClaimIn, ClaimOut
from campaigns.main import server_config
from engine import keys
from engine.ids import new_nonce
from engine.scripts import Script, load_all
from engine.settings import Settings, load

assert hiredis.__version__  # redis-py parses with it when it is there: the faster of its two ways


async def echo(scope: Any, receive: Any, send: Any) -> None:
    """The body comes back."""
    message = await receive()
    body = message.get("body", b"")
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 201, "headers": headers})
    await send({"type": "http.response.body", "body": body})


@dataclass(frozen=True)
class Store:
    """What the plain route needs of the hot store."""

    redis: Redis
    script: Script
    run_id: str
    shard: int
    campaign_id: str
    epoch: int = 1


@post("/v1/offers/{offer_id:str}/claims")
async def claim(
    offer_id: str,
    data: ClaimIn,
    store: Store,
    authorization: Annotated[str, Parameter(header="Authorization")],
    idempotency_key: Annotated[str, Parameter(header="Idempotency-Key")],
) -> ClaimOut:
    """The same script with the same keys and arguments as ours."""
    shard, buyer_id = store.shard, authorization[-24:]
    limits = keys.limits(shard)
    command = store.script.command(
        meta=keys.meta(shard),
        events=keys.events(shard, store.epoch),
        offer=keys.offers(shard) + offer_id,
        offer_limits=limits + offer_id,
        campaign_limits=limits + store.campaign_id,
        offer_holds=keys.holds(shard) + offer_id,
        deadlines=keys.deadlines(shard),
        idem=keys.idem(shard, buyer_id, offer_id, idempotency_key),
        claims=keys.claims(shard),
        groups=keys.groups(shard),
        epoch=store.epoch,
        run_id=store.run_id,
        shard=shard,
        nonce=new_nonce(),
        offer_id=offer_id,
        buyer_id=buyer_id,
        qty=data.qty,
        price_id=data.price_id,
        key=idempotency_key,
        body_hash=body_hash(data),
        touch="",
        traits="",
        lag_max_ms=10**9,
    )
    reply = await store.redis.evalsha(*command[1:])  # type: ignore[misc, arg-type]
    what, *details = [part.decode() for part in reply]
    if what not in ("held", "stored"):
        raise ClientException(what, status_code=409)
    claim_id, price_id, price_fen, expires_at_ms = details
    return ClaimOut(claim_id, price_id, int(price_fen), int(expires_at_ms))


async def _serve(app: Any, settings: Settings, sock: socket.socket) -> None:
    await uvicorn.Server(server_config(app, settings)).serve([sock])


async def _serve_plain(
    settings: Settings, sock: socket.socket, shard: int, campaign_id: str
) -> None:
    redis = Redis.from_url(settings.redis_url)
    script = load_all()["claim"]
    await redis.script_load(script.source)
    info = await redis.info("server")
    store = Store(redis, script, info["run_id"], shard, campaign_id)
    app = Litestar(
        [claim],
        dependencies={"store": Provide(lambda: store, sync_to_thread=False)},
        openapi_config=None,
        logging_config=None,
    )
    try:
        await _serve(app, settings, sock)
    finally:
        await redis.aclose()


def main() -> None:
    """Serve until SIGTERM."""
    parser = argparse.ArgumentParser(prog="python -m cli.bench.yardsticks")
    parser.add_argument("kind", choices=("echo", "plain"))
    parser.add_argument("--fd", type=int, required=True)
    parser.add_argument("--shard", type=int, default=0)
    parser.add_argument("--campaign", default="")
    given = parser.parse_args()
    logging.basicConfig(level=logging.WARNING)
    settings = load()
    with socket.socket(fileno=given.fd) as sock:
        if given.kind == "echo":
            uvloop.run(_serve(echo, settings, sock))
        else:
            uvloop.run(_serve_plain(settings, sock, given.shard, given.campaign))


if __name__ == "__main__":
    main()
