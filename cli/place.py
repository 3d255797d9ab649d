"""Places: the folder a start keeps its data, logs and `run.json` in.

A serving place lasts (`.kaituan/` of the checkout); a temporary one is removed at its end. As
root PostgreSQL runs as `nobody`, so both then lie where `nobody` may walk: `/var/lib/kaituan/…`
with `.kaituan` pointing there, or the temporary folder. Only folders of our own are given a mode;
no user is created.
"""

import hashlib
import os
import pwd
import re
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cli.supervisor_child import Child, Service
from cli.supervisor_lock import PlaceLock
from cli.supervisor_state import RunFile, read_state, recover
from engine.errors import RefusedStart

SERVING_ROOT = Path("/var/lib/kaituan")  # only as root
_TEMPORARY_PREFIX = "kaituan-"
_LOG_BYTES_MAX = 16 << 20  # looked at when a service starts; one older file is kept


@dataclass(frozen=True)
class Place:
    """A folder of ours and who keeps its `run.json`."""

    folder: Path
    run: RunFile

    def log_of(self, name: str) -> Path:
        return self.folder / "logs" / f"{name}.log"

    def spawn(self, service: Service) -> Child:
        """Start `service` and name it in `run.json`; does not wait until it is ready."""
        log = self.log_of(service.name)
        if log.exists() and log.stat().st_size > _LOG_BYTES_MAX:
            log.replace(log.with_suffix(".log.1"))
        return Child(
            service,
            cwd=self.folder,
            log=log,
            record=lambda identity: self.run.record(service.name, identity),
        )

    def own_folder(self, name: str) -> Path:
        """A subfolder with mode 0700 that belongs to us."""
        path = self.folder / name
        path.mkdir(mode=0o700, exist_ok=True)
        return path


def runs_as_root() -> bool:
    """Whether PostgreSQL has to be run as another user."""
    return os.geteuid() == 0


def server_user() -> tuple[int, int] | None:
    """uid and gid PostgreSQL runs as when we are root (`nobody`); None when we are not."""
    if not runs_as_root():
        _require_name()
        return None
    try:
        entry = pwd.getpwnam("nobody")
    except KeyError as error:
        raise RefusedStart(
            "no_nobody",
            "PostgreSQL does not run as root, and this machine has no user `nobody` to run it as: "
            "start as an ordinary user.",
        ) from error
    return entry.pw_uid, entry.pw_gid


def _require_name() -> None:
    # Containers are often run as a bare number, which `initdb` does not accept.
    try:
        pwd.getpwuid(os.geteuid())
    except KeyError as error:
        raise RefusedStart(
            "no_user_name",
            f"PostgreSQL does not run as a user without a name, and uid {os.geteuid()} has none: "
            "start as a user that /etc/passwd knows, or give a server by KAITUAN_DATABASE_URL.",
        ) from error


def _open_place(folder: Path) -> Place:
    (folder / "logs").mkdir(mode=0o700, exist_ok=True)
    return Place(folder, RunFile(folder))


def serving_place(data_dir: Path) -> Place:
    """The lasting place of a checkout; `data_dir` is its `.kaituan`. Made when missing.

    RefusedStart when it belongs to another user, or is something that is not ours to replace.
    Does not touch `run.json`: the supervisor first takes the lock.
    """
    data_dir = data_dir.absolute()
    try:
        return _serving_place(data_dir)
    except OSError as error:
        raise RefusedStart(
            "unwritable_place",
            f"Kaituan cannot keep its data in {data_dir}: {error.strerror}.",
            "Start where you may write, or set KAITUAN_DATA_DIR to a folder of yours.",
        ) from error


def _serving_place(data_dir: Path) -> Place:
    _require_ours(data_dir)
    data_dir.parent.mkdir(parents=True, exist_ok=True)  # first, so that a failure leaves nothing
    if runs_as_root():
        folder = _root_folder(data_dir)
    else:
        folder = data_dir
        if data_dir.is_symlink() and not data_dir.exists():
            raise RefusedStart("foreign_place", _foreign(data_dir))
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if folder.stat().st_uid != os.geteuid():
        raise RefusedStart("foreign_place", _foreign(data_dir))
    return _open_place(folder.resolve())


def _require_ours(data_dir: Path) -> None:
    """RefusedStart when a file, or somebody's own link, stands where our folder should be."""
    linked = data_dir.is_symlink() and data_dir.readlink().parent != SERVING_ROOT
    if (data_dir.exists() and not data_dir.is_dir()) or (runs_as_root() and linked):
        raise RefusedStart(
            "not_our_place",
            f"{data_dir} is {'a link to somewhere else' if linked else 'a file'}, "
            "and Kaituan keeps its data there: move it away, or set KAITUAN_DATA_DIR.",
        )


def _foreign(data_dir: Path) -> str:
    return (
        f"{data_dir} was made by another user: start as that user, "
        "or remove it with `make clean` as that user."
    )


def _root_folder(data_dir: Path) -> Path:
    folder = serving_folder_as_root(data_dir)
    if data_dir.is_dir() and not data_dir.is_symlink():
        raise RefusedStart("foreign_place", _foreign(data_dir))
    for each in (folder.parent, folder):
        if not each.exists():
            each.mkdir(parents=True)
            each.chmod(0o755)  # whatever the umask: `nobody` has to walk through
    require_exec(folder)
    if not data_dir.is_symlink() or data_dir.readlink() != folder:
        data_dir.unlink(missing_ok=True)
        data_dir.symlink_to(folder)
    return folder


def serving_folder_as_root(data_dir: Path) -> Path:
    """Where root's data of this checkout lies: a name for people and a hash of the path."""
    real = data_dir.parent.resolve() / data_dir.name
    digest = hashlib.sha256(str(real).encode()).hexdigest()[:10]
    # `initdb` runs its programs through a shell that no name of a checkout should reach.
    name = re.sub(r"[^\w.-]", "_", real.parent.name)
    return SERVING_ROOT / f"{name}-{digest}"


def remove_serving_place(data_dir: Path) -> None:
    """What `make clean` does with the data; RefusedStart while it is being served from."""
    data_dir = data_dir.absolute()
    _require_ours(data_dir)
    folder = data_dir.resolve()
    if folder.is_dir():
        lock = PlaceLock(folder / "supervisor.lock")
        if not lock.take():
            raise RefusedStart(
                "still_running", f"Kaituan still serves from {folder}: stop it first (Ctrl-C)."
            )
        recover(folder)
        shutil.rmtree(folder)
        lock.release()
    if data_dir.is_symlink():
        data_dir.unlink()
        if folder.parent == SERVING_ROOT and not any(SERVING_ROOT.iterdir()):
            SERVING_ROOT.rmdir()


def temporary_root() -> Path:
    """The folder temporary places are made in: as root one that `nobody` may walk through."""
    first = Path(tempfile.gettempdir()).resolve()
    if not runs_as_root():
        return first
    for folder in (first, Path("/tmp").resolve(), Path("/var/tmp").resolve()):  # noqa: S108
        if folder.is_dir() and _walkable(folder):
            return folder
    raise RefusedStart(
        "no_temporary_place",
        f"As root PostgreSQL runs as `nobody`, who may not enter {first}: "
        "set TMPDIR to a folder that everybody may enter.",
    )


def _walkable(folder: Path) -> bool:
    return all(each.stat().st_mode & stat.S_IXOTH for each in (folder, *folder.parents))


@contextmanager
def temporary_place() -> Iterator[Place]:
    """A fresh place that is gone afterwards; also removes those a killed start left behind."""
    root = temporary_root()
    require_exec(root)
    sweep_temporary(root)
    folder = Path(tempfile.mkdtemp(prefix=_TEMPORARY_PREFIX, dir=root))
    try:
        if runs_as_root():
            folder.chmod(0o755)
        place = _open_place(folder)
        place.run.begin()
        yield place
    finally:
        recover(folder)
        shutil.rmtree(folder, ignore_errors=True)


def sweep_temporary(root: Path) -> list[Path]:
    """Remove our temporary places whose owner is gone, after ending what still runs there."""
    swept = []
    for folder in root.glob(_TEMPORARY_PREFIX + "*"):
        try:
            mine = folder.stat().st_uid == os.geteuid() and not folder.is_symlink()
        except OSError:
            continue
        state = read_state(folder) if mine else None
        # Without run.json it is either being made just now or not ours.
        if state is None or state.owner.find(None) is not None:
            continue
        recover(folder)
        shutil.rmtree(folder, ignore_errors=True)
        swept.append(folder)
    return swept


def require_exec(folder: Path) -> None:
    """RefusedStart when programs cannot be run from `folder`, which only root needs."""
    no_exec = getattr(os, "ST_NOEXEC", 0)
    if runs_as_root() and os.statvfs(folder).f_flag & no_exec:
        raise RefusedStart(
            "noexec_place",
            f"{folder} is mounted noexec, and as root PostgreSQL has to be run from a copy there: "
            "set TMPDIR to a folder on a disk that allows programs, or start as another user.",
        )
