"""What runs on one machine: stores first, then sandbox, workers and gateway, then the API.

`start_all` gives back the settings under which everything runs. Stores and provider that the
given settings already name are used, not started; the API's processes share one socket.
"""

import asyncio
import socket
import sys
from collections.abc import Callable
from urllib.parse import urlsplit

import msgspec

from cli.embedded.ports import listening_socket
from cli.embedded.postgres import start_postgres
from cli.embedded.secret import secret
from cli.embedded.valkey import start_valkey
from cli.migrate import migrate_async, role_of
from cli.place import Place
from cli.supervisor import Supervisor
from cli.supervisor_child import Service
from cli.supervisor_ready import answers_http
from engine.db import Database
from engine.settings import Settings, inherited_environ, to_environ
from engine.store import check_database, check_hot_store, check_reachable, connect

Say = Callable[[str], None]
SANDBOX_PORT = 8090


async def start_all(supervisor: Supervisor, given: Settings, say: Say) -> Settings:
    """Start what `given` does not name, migrate, and wait until the API is ready."""
    place = supervisor.place
    await _check_given(given, say)
    settings = with_secrets(given, place)
    settings = await _start_stores(supervisor, settings, say)
    if settings.database_owner_url:
        await migrate_async(settings.database_owner_url, role_of(settings.database_url))
    api = _listen(supervisor, settings.api_port, settings.api_host, "API", say)
    gateway = _listen(supervisor, settings.gateway_port, settings.gateway_host, "gateway", say)
    settings = with_addresses(settings, api.getsockname()[1], gateway.getsockname()[1])
    if not settings.provider_url:
        settings = await _start_sandbox(supervisor, settings)
    await supervisor.start(
        [_settler(settings), _worker(settings), _broadcaster(settings), _law_watch(settings)]
    )
    # Before the API, which hands out its address.
    await supervisor.start([_gateway(settings, gateway.fileno())])
    await supervisor.start(
        [_api(settings, number, api.fileno()) for number in range(settings.api_processes)]
    )
    return settings


def _listen(supervisor: Supervisor, wanted: int, host: str, name: str, say: Say) -> socket.socket:
    """A listening socket that outlives the processes behind it; `wanted`, or a free port."""
    listener = listening_socket(wanted, host)
    supervisor.keep(listener)
    port = listener.getsockname()[1]
    if wanted and port != wanted:
        say(f"Port {wanted} is taken; the {name} is on {port}.")
    return listener


def with_addresses(settings: Settings, api_port: int, gateway_port: int) -> Settings:
    """Fill in where browsers find API and gateway, and the origin the gateway lets in."""
    public_url = settings.public_url or f"http://{settings.api_host}:{api_port}"
    gateway_url = settings.gateway_url or f"ws://{settings.gateway_host}:{gateway_port}/v1/live"
    return msgspec.structs.replace(
        settings,
        api_port=api_port,
        public_url=public_url,
        gateway_port=gateway_port,
        gateway_url=gateway_url,
        origins=settings.origins or origin_of(public_url),
    )


def origin_of(url: str) -> str:
    """Scheme, host and port as browsers send them in `Origin`."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


async def _start_sandbox(supervisor: Supervisor, settings: Settings) -> Settings:
    listener = listening_socket(SANDBOX_PORT)
    supervisor.keep(listener)
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    settings = msgspec.structs.replace(settings, provider_url=url)
    await supervisor.start([_sandbox(supervisor.place, settings, listener.fileno())])
    return settings


def with_secrets(settings: Settings, place: Place) -> Settings:
    """Fill in secrets that nobody gave, kept in the place so that a later start has the same."""
    missing = {
        name: secret(place, name)
        for name in ("token_secret", "phone_secret", "sandbox_secret")
        if not getattr(settings, name)
    }
    return msgspec.structs.replace(settings, data_dir=str(place.folder), **missing)


async def _check_given(settings: Settings, say: Say) -> None:
    """Refuse unfit or unreachable servers here, in a sentence, before anything is started.

    Each process checks again for itself; only its log would say why it does not start.
    """
    warnings: list[str] = []
    for url in {settings.redis_url, settings.queue_url} - {""}:
        client = connect(url, pool_max=1)
        try:
            if url == settings.redis_url:
                warnings += await check_hot_store(client, unsafe=settings.unsafe_store)
            else:
                await check_reachable(client)
        finally:
            await client.aclose()
    if settings.database_url:
        db = Database(settings.database_url, pool_max=1)
        try:
            warnings += await check_database(db, unsafe=settings.unsafe_store)
        finally:
            await db.close()
    for warning in warnings:
        say(warning)


async def _start_stores(supervisor: Supervisor, settings: Settings, say: Say) -> Settings:
    if not settings.redis_url:
        valkey = await asyncio.to_thread(start_valkey, supervisor.place)
        supervisor.adopt(valkey)
        settings = msgspec.structs.replace(
            settings, redis_url=valkey.url, queue_url=settings.queue_url or valkey.queue_url
        )
        say("Valkey is up.")
    if not settings.database_url:
        postgres = await asyncio.to_thread(start_postgres, supervisor.place)
        supervisor.adopt(postgres)
        settings = msgspec.structs.replace(
            settings, database_url=postgres.app_url, database_owner_url=postgres.owner_url
        )
        say("PostgreSQL is up.")
    return settings


def _python(module: str, *arguments: str) -> list[str]:
    return [sys.executable, "-m", module, *arguments]


def _environ(settings: Settings, *, owner: bool = False) -> dict[str, str]:
    """Only migrations need the owner's role; no serving process is told its password."""
    if not owner:
        settings = msgspec.structs.replace(settings, database_owner_url="")
    return {**inherited_environ(), **to_environ(settings)}


def _sandbox(place: Place, settings: Settings, fd: int) -> Service:
    data = place.own_folder("sandbox")
    return Service(
        name="sandbox",
        argv=_python("cli.sandbox", "--data", str(data), "--fd", str(fd)),
        env=_environ(settings),
        ready=answers_http(f"{settings.provider_url}/healthz"),
        pass_fds=(fd,),
    )


def _settler(settings: Settings) -> Service:
    return Service(name="settle", argv=_python("workers.settle"), env=_environ(settings))


def _worker(settings: Settings) -> Service:
    return Service(name="worker", argv=_python("workers.main"), env=_environ(settings))


def _broadcaster(settings: Settings) -> Service:
    return Service(name="broadcast", argv=_python("workers.broadcast"), env=_environ(settings))


def _law_watch(settings: Settings) -> Service:
    return Service(name="laws", argv=_python("workers.law_watch"), env=_environ(settings))


def _gateway(settings: Settings, fd: int) -> Service:
    # It reads the hot store only: no process is told a secret that it has no use for.
    told = msgspec.structs.replace(settings, database_url="", phone_secret="", sandbox_secret="")
    return Service(
        name="gateway",
        argv=_python("ws.main", "--fd", str(fd)),
        env=_environ(told),
        ready=answers_http(f"http://{settings.gateway_host}:{settings.gateway_port}/healthz"),
        pass_fds=(fd,),
        stop_within_s=settings.gateway_drain_ms / 1000 + 5.0,
    )


def _api(settings: Settings, number: int, fd: int) -> Service:
    return Service(
        name=f"api-{number + 1}",
        argv=_python("campaigns.main", "--fd", str(fd)),
        env=_environ(settings),
        ready=answers_http(f"http://{settings.api_host}:{settings.api_port}/readyz"),
        pass_fds=(fd,),
        stop_within_s=15.0,
    )
