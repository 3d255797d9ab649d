"""The stores: how the hot store is reached, and whether a server may be trusted with claims.

`check_hot_store` and `check_database` refuse a start on a server that is too old or that is
configured so that it can lose or evict data, in one sentence that says what to change.
`unsafe` (KAITUAN_UNSAFE_STORE=true, for development) turns refusals into loud warnings.
"""

import logging
import re
from collections.abc import Sequence
from urllib.parse import urlsplit

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from engine.db import Database
from engine.errors import RefusedStart

_log = logging.getLogger(__name__)

_REDIS_MIN = (7, 2)
_VALKEY_MIN = (8, 0)
_POSTGRES_MIN = 15

_HOT_SETTINGS = {
    "appendonly": ("yes", "it would forget claims when it restarts"),
    "appendfsync": ("always", "it could answer `held` and lose the claim with a power cut"),
    "maxmemory-policy": ("noeviction", "it could throw claims away when memory is short"),
}
_DATABASE_SETTINGS = {
    "fsync": (("on",), "a power cut could corrupt orders and money"),
    "full_page_writes": (("on",), "a power cut could corrupt orders and money"),
    "synchronous_commit": (
        ("on", "remote_write", "remote_apply", "local"),
        "it could answer `ordered` and lose the order with a power cut",
    ),
}


def connect(
    url: str, *, pool_max: int = 32, timeout_s: float = 5.0, decode_responses: bool = False
) -> Redis:
    """A client of the hot store that never repeats a command by itself.

    A repeated EVALSHA could act twice where the first answer was lost; callers repeat by claim
    id instead. At `pool_max` connections callers wait up to `timeout_s`, then get an error.
    RefusedStart when `url` is no `redis://` address.
    """
    _require_address(url)
    pool = BlockingConnectionPool.from_url(
        url,
        max_connections=pool_max,
        timeout=timeout_s,
        socket_timeout=timeout_s,
        socket_connect_timeout=timeout_s,
        retry=Retry(NoBackoff(), 0),
        retry_on_timeout=False,
        health_check_interval=0,
        decode_responses=decode_responses,
    )
    return Redis.from_pool(pool)


def _require_address(url: str) -> None:
    # The lean connection of the hot path speaks plain TCP: no sockets, no TLS.
    try:
        parts = urlsplit(url)
        fit = parts.scheme == "redis" and bool(parts.hostname) and parts.port != 0
        fit = fit and re.fullmatch(r"/?[0-9]*", parts.path) is not None
    except ValueError:  # the port is no number
        fit = False
    if not fit:  # its password is not repeated
        raise RefusedStart(
            "bad_address",
            "The address of the hot store or queue is not one like redis://:password@host:6379/0.",
            "Correct KAITUAN_REDIS_URL or KAITUAN_QUEUE_URL.",
        )


async def check_reachable(client: Redis) -> dict[str, object]:
    """What the server behind `client` says of itself; RefusedStart when it does not answer."""
    try:
        info: dict[str, object] = await client.info("server")
    except (RedisError, OSError) as error:
        raise RefusedStart(
            "store_unreachable", f"The hot store or queue cannot be reached: {error}."
        ) from error
    return info


async def check_hot_store(client: Redis, *, unsafe: bool) -> list[str]:
    """Warnings about the server behind `client`; RefusedStart when it is not fit for claims."""
    info = await check_reachable(client)
    troubles = _version_trouble(info)
    for name, (wanted, risk) in _HOT_SETTINGS.items():
        troubles += await _setting_trouble(client, name, wanted, risk)
    return _verdict("unfit_store", troubles, unsafe)


def _version_trouble(info: dict[str, object]) -> list[str]:
    if "valkey_version" in info:
        name, found, least = "Valkey", str(info["valkey_version"]), _VALKEY_MIN
    else:
        name, found, least = "Redis", str(info.get("redis_version", "0")), _REDIS_MIN
    if _numbers(found) >= least:
        return []
    return [
        f"The hot store is {name} {found}; Kaituan needs Redis 7.2 or newer, or Valkey 8 or newer."
    ]


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version)[:3])


async def _setting_trouble(client: Redis, name: str, wanted: str, risk: str) -> list[str]:
    try:
        answer = await client.config_get(name)
    except RedisError:
        # Managed services often switch CONFIG off.
        return [
            f"The hot store does not let us read its setting `{name}`, so it cannot be proved "
            f"that it is `{wanted}`: allow CONFIG GET, or if you have made sure of it yourself, "
            "set KAITUAN_UNSAFE_STORE=true."
        ]
    found = {_text(key): _text(value) for key, value in answer.items()}.get(name, "")
    if found == wanted:
        return []
    return [f"The hot store has `{name} {found}` where Kaituan needs `{wanted}`: else {risk}."]


def _text(value: object) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


async def check_database(db: Database, *, unsafe: bool) -> list[str]:
    """Warnings about the server behind `db`; RefusedStart when it is not fit for money."""
    names = ("server_version_num", *_DATABASE_SETTINGS)
    try:
        async with db.begin() as session:
            rows = await session.execute(
                text("SELECT name, setting FROM pg_settings WHERE name = ANY(:names)"),
                {"names": list(names)},
            )
            found: dict[str, str] = {str(row[0]): str(row[1]) for row in rows}
    except (DBAPIError, OSError, TypeError) as error:  # TypeError: an option asyncpg does not know
        raise RefusedStart(
            "database_unreachable", f"PostgreSQL cannot be reached: {error}."
        ) from error
    troubles = []
    version = int(found["server_version_num"]) // 10_000
    if version < _POSTGRES_MIN:
        troubles.append(f"The database is PostgreSQL {version}; Kaituan needs 15 or newer.")
    for name, (fit, risk) in _DATABASE_SETTINGS.items():
        if found[name] not in fit:
            troubles.append(
                f"PostgreSQL has `{name} = {found[name]}` where Kaituan needs `{fit[0]}`: "
                f"else {risk}."
            )
    return _verdict("unfit_database", troubles, unsafe)


def _verdict(code: str, troubles: Sequence[str], unsafe: bool) -> list[str]:
    if troubles and not unsafe:
        raise RefusedStart(code, " ".join(troubles))
    warnings = [f"UNSAFE: {trouble}" for trouble in troubles]
    for warning in warnings:
        _log.warning(warning)
    return warnings
