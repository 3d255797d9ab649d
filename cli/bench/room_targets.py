"""The servers of the rooms' benchmark, each as one process with one publisher, all on loopback.

A target says where viewers connect and what they send first, and publishes one frame's worth of
events. nchan is measured where Debian's nginx and its module are installed, and left out elsewhere.
"""

import asyncio
import shutil
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec

from cli.bench.arena import answers
from cli.embedded.ports import free_port, listening_socket
from cli.embedded.valkey import start_valkey
from cli.place import Place, runs_as_root
from cli.supervisor_child import Child, Service, wait_ready
from engine.ids import now_ms
from engine.room_events import TopicEvent
from engine.room_tokens import RoomTokens
from engine.rooms import RoomLogs
from engine.scripts import load_all
from engine.settings import Settings, inherited_environ, to_environ
from engine.wire import Wire
from loadtests.lean import LeanClient
from loadtests.ws_line import WsLine

TOPIC = "room:rm_bench"
EVENT_BYTES = 200
NCHAN = Path("/usr/lib/nginx/modules/ngx_nchan_module.so")
SECRET = "only-for-one-benchmark-on-loopback"  # noqa: S105
_NGINX = """daemon off; worker_processes 1; pid {folder}/nginx.pid; {user}
load_module {module}; worker_rlimit_nofile 20000;
events {{ worker_connections 19000; }}
http {{ access_log off; client_body_temp_path {folder}; proxy_temp_path {folder};
fastcgi_temp_path {folder}; uwsgi_temp_path {folder}; scgi_temp_path {folder};
server {{ listen 127.0.0.1:{port} backlog=2048;
location = /sub {{ nchan_subscriber websocket; nchan_channel_id room; }}
location = /pub {{ nchan_publisher; nchan_channel_id room; }} }} }}
"""


@dataclass(frozen=True)
class Target:
    """A server that is up. `publish(n)` sends n events (in one frame, where it can)."""

    pid: int
    port: int
    path: str
    join: str
    spans: bool
    publish: Callable[[int], Awaitable[None]]


Open = Callable[[Place], "AsyncIterator[Target]"]


@asynccontextmanager
async def ours(place: Place) -> AsyncIterator[Target]:
    """The real gateway process on its own Valkey; the log is written as the product writes it."""
    valkey = await asyncio.to_thread(start_valkey, place)
    async with AsyncExitStack() as stack:
        stack.callback(valkey.stop)
        # A tick of a millisecond: the closed loop decides what shares a frame, not the clock. The
        # lane of counts and heartbeats rests: the others have none.
        settings = Settings(
            mode="development",
            redis_url=valkey.url,
            token_secret=SECRET,
            tick_ms=1,
            live_every_ms=30_000,
            origins="http://x",
        )
        listener = stack.enter_context(listening_socket(0))
        port = listener.getsockname()[1]
        service = Service(
            name="gateway",
            argv=[sys.executable, "-m", "ws.main", "--fd", str(listener.fileno())],
            env={**inherited_environ(), **to_environ(settings)},
            ready=answers(port),
            pass_fds=(listener.fileno(),),
        )
        child = await _start(stack, place, service)
        wire = Wire(valkey.url, load_all().values())
        await wire.start()
        stack.push_async_callback(wire.close)
        logs = RoomLogs(wire, settings=settings)
        await logs.open(TOPIC, {})
        token = RoomTokens.from_setting(SECRET).sign(
            "", "viewer", nickname="", topics=[TOPIC], expires_at_ms=now_ms() + 300_000
        )
        join = {"type": "join", "token": token, "topics": [{"topic": TOPIC}]}
        made = 0

        async def publish(count: int) -> None:
            nonlocal made
            made += count
            origins = [f"look-{number}" for number in range(made - count, made)]
            await logs.publish(TOPIC, [TopicEvent(one, "stock:o", _event()) for one in origins])

        path = "/v1/live"
        yield Target(child.pid, port, path, msgspec.json.encode(join).decode(), True, publish)


def _yardstick(kind: str) -> "Callable[[Place], AsyncIterator[Target]]":
    async def opened(place: Place) -> AsyncIterator[Target]:
        port = free_port()
        service = Service(
            name=kind,
            argv=[sys.executable, "-m", "cli.bench.room_yardsticks", kind, "--port", str(port)],
            env=inherited_environ(),
            ready=answers(port),
        )
        async with AsyncExitStack() as stack:
            child = await _start(stack, place, service)
            loop = asyncio.get_running_loop()
            _, line = await loop.create_connection(
                lambda: WsLine("127.0.0.1", "/pub", "", lambda _: None), "127.0.0.1", port
            )
            await line.opened
            stack.callback(line.cut)

            async def publish(count: int) -> None:
                for _ in range(count):
                    line.send(_event().encode())

            yield Target(child.pid, port, "/", "", False, publish)

    return opened


broadcast = asynccontextmanager(_yardstick("broadcast"))
plain = asynccontextmanager(_yardstick("plain"))


@asynccontextmanager
async def nchan(place: Place) -> AsyncIterator[Target]:
    """nginx with one worker; events come in by POST, as its publishers do."""
    port = free_port()
    folder = place.own_folder("nchan")
    conf = folder / "nginx.conf"
    user = "user root;" if runs_as_root() else ""
    conf.write_text(_NGINX.format(folder=folder, user=user, module=NCHAN, port=port))
    argv = [str(shutil.which("nginx")), "-p", str(folder), "-c", str(conf), "-e", "stderr"]
    service = Service(name="nchan", argv=argv, env=inherited_environ(), ready=answers(port))
    async with AsyncExitStack() as stack:
        child = await _start(stack, place, service)
        client = LeanClient(f"http://127.0.0.1:{port}")
        stack.push_async_callback(client.close)

        async def publish(count: int) -> None:
            for _ in range(count):
                await client.request("POST", "/pub", body=_event().encode())

        yield Target(child.pid, port, "/sub", "", False, publish)


def has_nchan() -> bool:
    """Whether nginx and its module are installed where Debian puts them."""
    return shutil.which("nginx") is not None and NCHAN.exists()


async def _start(stack: AsyncExitStack, place: Place, service: Service) -> Child:
    child = place.spawn(service)
    stack.callback(place.run.forget, service.name)
    stack.callback(child.kill)
    await asyncio.to_thread(wait_ready, child)
    return child


def _event() -> str:
    head = f'{{"kind":"stock","at_ms":{now_ms()},"offer_id":"o","available":10,"held":1,"says":"'
    return head + "x" * (EVENT_BYTES - len(head) - 2) + '"}'
