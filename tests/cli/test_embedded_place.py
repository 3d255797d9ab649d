"""Places: what root may and may not touch, what a killed run leaves, and how it is removed."""

import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from cli.embedded.postgres import start_postgres
from cli.embedded.valkey import start_valkey
from cli.place import (
    SERVING_ROOT,
    Place,
    remove_serving_place,
    server_user,
    serving_place,
    sweep_temporary,
    temporary_place,
    temporary_root,
)
from cli.supervisor_lock import PlaceLock
from cli.supervisor_state import read_state
from engine.errors import RefusedStart

_REPO = Path(__file__).parents[2]
only_root = pytest.mark.skipif(os.geteuid() != 0, reason="is about root")


def _modes(*folders: Path) -> dict[Path, tuple[int, int, int]]:
    """Mode and owner of these folders and all above them."""
    every = {each for folder in folders for each in (folder, *folder.parents)}
    found = {each: each.stat() for each in every}
    return {each: (at.st_mode, at.st_uid, at.st_gid) for each, at in found.items()}


@only_root
def test_root_makes_no_user_and_changes_no_folder_of_others() -> None:
    wheels = Path(sys.prefix) / "lib"
    users = Path("/etc/passwd").read_bytes(), Path("/etc/group").read_bytes()
    around = (temporary_root(), wheels, _REPO, Path.home(), Path("/var/lib"))
    before = _modes(*around)
    with temporary_place() as place:
        postgres = start_postgres(place)
        assert _modes(*around) == before
        assert (Path("/etc/passwd").read_bytes(), Path("/etc/group").read_bytes()) == users
        who = server_user()
        assert who is not None
        assert psutil.Process(postgres.pid).uids().effective == who[0]
        assert psutil.Process(postgres.pid).gids().effective == who[1]
        data = (place.folder / "postgres").stat()
        assert (stat.S_IMODE(data.st_mode), data.st_uid) == (0o700, who[0])
        assert stat.S_IMODE(place.folder.stat().st_mode) == 0o755
        postgres.stop()


def test_secrets_are_readable_by_nobody_else(own_place: Place) -> None:
    valkey = start_valkey(own_place)
    password = valkey.url.split(":")[2].split("@")[0]
    for path in own_place.folder.rglob("*"):
        if path.is_file() and password in path.read_text(errors="replace"):
            assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
    assert password not in " ".join(psutil.Process(valkey.pid).cmdline())
    valkey.stop()


@only_root
def test_noexec_is_said_in_one_sentence() -> None:
    """In a mount namespace of its own, so nothing of this machine changes."""
    if not (shutil.which("unshare") and shutil.which("mount")):
        pytest.skip("no unshare or mount on the PATH: a namespace cannot be made")
    program = (
        "from cli.place import temporary_place\n"
        "from engine.errors import RefusedStart\n"
        "try:\n"
        "    with temporary_place(): print('started')\n"
        "except RefusedStart as error: print(error.code, error.title)\n"
    )
    script = 'mount -t tmpfs -o noexec,mode=1777 none /mnt && exec "$@"'
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", script, "sh", sys.executable, "-c", program],
        env={**os.environ, "TMPDIR": "/mnt"},
        cwd=_REPO,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    if done.returncode != 0:
        pytest.skip(f"no mount namespaces here: {done.stderr.strip()}")
    assert done.stdout.startswith("noexec_place /mnt is mounted noexec")
    assert "set TMPDIR" in done.stdout


@only_root
def test_root_uses_a_temporary_folder_that_everybody_may_enter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    monkeypatch.setattr("tempfile.tempdir", str(closed))
    assert temporary_root() in (Path("/tmp").resolve(), Path("/var/tmp").resolve())
    assert stat.S_IMODE(closed.stat().st_mode) == 0o700


_STARTS = """
import os, signal
from cli.embedded.postgres import start_postgres
from cli.embedded.valkey import start_valkey
from cli.place import temporary_place
with temporary_place() as place:
    print(place.folder, start_valkey(place).pid, start_postgres(place).pid, flush=True)
    os.kill(os.getpid(), signal.{signal})
    signal.pause()
"""


def _alive(pid: int) -> bool:
    """A zombie has ended; whoever adopted it takes its time to reap it."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _start_and_end_by(name: str) -> tuple[Path, list[int]]:
    done = subprocess.run(
        [sys.executable, "-c", _STARTS.format(signal=name)],
        cwd=_REPO,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    folder, *pids = done.stdout.split()
    return Path(folder), [int(pid) for pid in pids]


def test_a_killed_run_is_cleaned_up_by_the_next_one() -> None:
    folder, pids = _start_and_end_by("SIGKILL")
    assert folder.is_dir()
    assert all(psutil.pid_exists(pid) for pid in pids)
    assert folder in sweep_temporary(temporary_root())
    assert not folder.exists()
    assert not any(_alive(pid) for pid in pids)


def test_an_interrupted_run_cleans_up_itself() -> None:
    folder, pids = _start_and_end_by("SIGINT")
    assert not folder.exists()
    assert not any(_alive(pid) for pid in pids)


def test_a_running_one_is_not_swept(own_place: Place) -> None:
    assert own_place.folder not in sweep_temporary(temporary_root())
    assert own_place.folder.is_dir()


def test_a_serving_place_lasts_until_it_is_removed(tmp_path: Path) -> None:
    data_dir = tmp_path / "checkout" / ".kaituan"
    data_dir.parent.mkdir()
    place = serving_place(data_dir)
    assert data_dir.resolve() == place.folder
    assert data_dir.is_symlink() is (os.geteuid() == 0)
    if os.geteuid() == 0:
        assert place.folder.parent == SERVING_ROOT
    half_made = place.folder / "postgres.new"  # a start was killed within initdb
    half_made.mkdir()
    (half_made / "PG_VERSION").write_text("18")
    first = start_postgres(place)
    assert not half_made.exists()
    url = first.app_url
    first.stop()
    again = start_postgres(serving_place(data_dir), port=first.port)
    assert again.app_url == url
    again.stop()
    remove_serving_place(data_dir)
    assert not data_dir.exists()
    assert not data_dir.is_symlink()
    assert not place.folder.exists()
    remove_serving_place(data_dir)  # nothing there is no error


def test_a_place_in_use_is_not_removed(tmp_path: Path) -> None:
    data_dir = tmp_path / ".kaituan"
    place = serving_place(data_dir)
    lock = PlaceLock(place.folder / "supervisor.lock")
    assert lock.take()
    with pytest.raises(RefusedStart, match="still serves"):
        remove_serving_place(data_dir)
    lock.release()
    remove_serving_place(data_dir)


@only_root
def test_a_place_of_another_user_is_refused(tmp_path: Path) -> None:
    data_dir = tmp_path / ".kaituan"
    data_dir.mkdir()
    with pytest.raises(RefusedStart, match="was made by another user"):
        serving_place(data_dir)


def test_a_broken_run_file_is_no_reason_to_fail(own_place: Place) -> None:
    own_place.run.path.write_text("{")
    assert read_state(own_place.folder) is None
