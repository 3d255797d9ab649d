"""The supervisor: order, restarts, drain, and what the next start makes of a killed one."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec
import psutil
import pytest

from cli.embedded.ports import listening_socket
from cli.embedded.valkey import start_valkey
from cli.place import Place
from cli.supervisor import AlreadyRunning, Supervisor
from cli.supervisor_child import Child, Service
from cli.supervisor_identity import Identity, end_orphan, identify, wait_gone
from cli.supervisor_ready import answers_http
from cli.supervisor_state import RunFile, read_state
from engine.errors import RefusedStart
from tests.waiting import eventually

_WAIT = "while :; do sleep 0.05; done"


def _shell(
    name: str,
    script: str,
    *,
    ready: Callable[[], bool] | None = None,
    ready_within_s: float = 30,
    stop_within_s: float = 10,
) -> Service:
    return Service(
        name=name,
        argv=["/bin/sh", "-c", script],
        env={"PATH": os.environ["PATH"]},
        ready=ready,
        ready_within_s=ready_within_s,
        stop_within_s=stop_within_s,
    )


def _noting(name: str, notes: Path) -> Service:
    """Writes when it begins and, a moment after SIGTERM, when it ends."""
    begun = notes.with_suffix(f".{name}")
    script = (
        f"trap 'sleep 0.1; echo -{name} >> {notes}; exit 0' TERM; "
        f"sleep 0.1; echo +{name} >> {notes}; touch {begun}; {_WAIT}"
    )
    return _shell(name, script, ready=begun.exists)


async def test_stages_start_in_order_and_drain_in_reverse(own_place: Place, tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    async with Supervisor(own_place, say=print) as supervisor:
        await supervisor.start([_noting("a", notes)])
        await supervisor.start([_noting("b", notes), _noting("c", notes)])
        pids = [child.pid for child in supervisor.children.values()]
        assert notes.read_text().split()[0] == "+a"
    words = notes.read_text().split()
    assert set(words[1:3]) == {"+b", "+c"}
    assert set(words[3:5]) == {"-b", "-c"}
    assert words[5:] == ["-a"]
    assert not any(psutil.pid_exists(pid) for pid in pids)
    assert sorted(path.name for path in own_place.folder.iterdir()) == ["logs"]


async def test_a_dead_child_is_started_again(own_place: Place) -> None:
    said: list[str] = []
    async with Supervisor(own_place, say=said.append) as supervisor:
        await supervisor.start([_shell("a", _WAIT)])
        first = supervisor.children["a"].pid
        os.kill(first, signal.SIGKILL)
        await eventually(lambda: supervisor.children["a"].pid != first)
        state = read_state(own_place.folder)
        assert state is not None
        assert state.children["a"].pid == supervisor.children["a"].pid
    assert said == ["a ended by itself (SIGKILL); starting it again."]


async def test_what_a_dead_child_leaves_ends_with_it(own_place: Place, tmp_path: Path) -> None:
    note = tmp_path / "pid"
    async with Supervisor(own_place, say=print) as supervisor:
        await supervisor.start(
            [_shell("a", f"sh -c '{_WAIT}' & echo $! > {note}; {_WAIT}", ready=note.exists)]
        )
        grandchild = int(await eventually(note.read_text))
        os.kill(supervisor.children["a"].pid, signal.SIGKILL)
        await eventually(lambda: not _alive(grandchild))


def _alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


async def test_a_hopeless_child_stops_all_and_says_so(own_place: Place) -> None:
    good: list[int] = []

    async def evening() -> None:
        async with Supervisor(own_place, say=print, restarts_max=2) as supervisor:
            await supervisor.start([_shell("good", _WAIT)])
            good.append(supervisor.children["good"].pid)
            await supervisor.start([_shell("bad", "sleep 0.1; exit 3")])
            await supervisor.serve("nowhere", {})

    with pytest.raises(RefusedStart, match="bad ended 3 times within a minute, so all is stopped"):
        await evening()
    assert not _alive(good[0])


async def test_a_start_that_fails_ends_what_was_started(own_place: Place) -> None:
    good: list[int] = []
    bad = _shell("bad", "echo no such luck; exit 3", ready=lambda: False)

    async def evening() -> None:
        async with Supervisor(own_place, say=print) as supervisor:
            await supervisor.start([_shell("good", _WAIT)])
            good.append(supervisor.children["good"].pid)
            await supervisor.start([bad])

    with pytest.raises(RefusedStart, match=r"bad ended at once \(exit code 3\).*no such luck"):
        await evening()
    assert not _alive(good[0])


async def test_a_start_that_takes_too_long_is_given_up(own_place: Place) -> None:
    slow = _shell("slow", _WAIT, ready=lambda: False, ready_within_s=0.2)

    async def evening() -> None:
        async with Supervisor(own_place, say=print) as supervisor:
            await supervisor.start([slow])

    with pytest.raises(RefusedStart, match=r"slow was not ready after 0\.2 s"):
        await evening()


async def test_a_child_that_does_not_drain_is_killed(own_place: Place, tmp_path: Path) -> None:
    said: list[str] = []
    note = tmp_path / "deaf"
    script = f"trap '' TERM; touch {note}; {_WAIT}"
    async with Supervisor(own_place, say=said.append) as supervisor:
        await supervisor.start([_shell("deaf", script, ready=note.exists, stop_within_s=0.3)])
        pid = supervisor.children["deaf"].pid
    assert not _alive(pid)
    assert said == ["deaf did not stop in time and is killed."]


async def test_a_second_start_learns_the_address(own_place: Place) -> None:
    async with Supervisor(own_place, say=print) as supervisor:
        second = asyncio.create_task(_enter(Place(own_place.folder, own_place.run)))
        serving = asyncio.create_task(supervisor.serve("http://127.0.0.1:1234", {"KAITUAN_X": "y"}))
        with pytest.raises(AlreadyRunning) as running:  # it waited until we were ready
            await second
        assert running.value.address == "http://127.0.0.1:1234"
        state = read_state(own_place.folder)
        assert state is not None
        assert state.environ == {"KAITUAN_X": "y"}
        supervisor.stop()
        await serving


async def _enter(place: Place, say: Callable[[str], None] = print) -> None:
    async with Supervisor(place, say=say):
        pass


async def test_a_second_start_says_what_it_waits_for(own_place: Place) -> None:
    said: list[str] = []
    async with Supervisor(own_place, say=print):
        second = asyncio.create_task(
            _enter(Place(own_place.folder, RunFile(own_place.folder)), said.append)
        )
        await eventually(lambda: said)
    await second  # the first one ended instead, so this one had its turn
    assert said == ["Another start is under way here; waiting until it serves …"]


async def test_processes_share_one_listening_socket(own_place: Place) -> None:
    listener = listening_socket(0)
    port = listener.getsockname()[1]
    program = (
        "import os, socket, sys\n"
        "with socket.socket(fileno=int(sys.argv[1])) as listener:\n"
        "    while True:\n"
        "        with listener.accept()[0] as peer:\n"
        "            peer.sendall(str(os.getpid()).encode())\n"
    )

    def ask() -> int:
        with socket.create_connection(("127.0.0.1", port), timeout=20) as peer:
            return int(peer.recv(20))

    api = [
        Service(
            name=f"api-{number}",
            argv=[sys.executable, "-c", program, str(listener.fileno())],
            pass_fds=[listener.fileno()],
        )
        for number in (1, 2)
    ]
    async with Supervisor(own_place, say=print) as supervisor:
        await supervisor.start(api)
        both = {child.pid for child in supervisor.children.values()}
        assert await asyncio.to_thread(ask) in both
        one = supervisor.children["api-1"].pid
        os.kill(one, signal.SIGKILL)
        await eventually(lambda: not _alive(one))
        assert await asyncio.to_thread(ask) in both - {one}  # the socket outlives its process
        await eventually(lambda: supervisor.children["api-1"].pid != one)
    listener.close()


async def test_readiness_by_http(own_place: Place) -> None:
    listener = listening_socket(0)
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    listener.close()
    web = Service(
        name="web",
        argv=[sys.executable, "-m", "http.server", url.rsplit(":", 1)[1], "--bind", "127.0.0.1"],
        ready=answers_http(url),
    )
    assert not answers_http(url)()
    async with Supervisor(own_place, say=print) as supervisor:
        await supervisor.start([web])
        assert answers_http(url)()
        assert not answers_http(f"{url}/nothing-here")()


async def test_an_embedded_server_that_dies_comes_back(own_place: Place) -> None:
    async with Supervisor(own_place, say=print) as supervisor:
        valkey = await asyncio.to_thread(start_valkey, own_place)
        supervisor.adopt(valkey)
        os.kill(valkey.pid, signal.SIGKILL)
        await eventually(lambda: supervisor.children["valkey"].pid != valkey.pid)
        await eventually(lambda: valkey.service.ready is not None and valkey.service.ready())


def _sleeper(cwd: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(["/bin/sleep", "100"], cwd=cwd)


async def test_strangers_are_not_ended(own_place: Place) -> None:
    """Pid, start time and folder must all match: each of these matches only two of the three."""
    elsewhere, reused = (_sleeper(folder) for folder in (Path("/"), own_place.folder))
    try:
        own_place.run.record("elsewhere", identify(elsewhere.pid))
        other_time = msgspec.structs.replace(identify(reused.pid), started_at_ms=1_700_000_000_000)
        own_place.run.record("reused", other_time)
        said: list[str] = []
        async with Supervisor(own_place, say=said.append):
            assert elsewhere.poll() is None
            assert reused.poll() is None
        assert said == []
    finally:
        for each in (elsewhere, reused):
            each.kill()
            each.wait()


def test_what_has_ended_and_is_not_reaped_is_not_waited_for(own_place: Place) -> None:
    """In a container whose first process reaps nobody, an orphan stays a zombie for ever."""
    zombie = _sleeper(own_place.folder)
    try:
        process = psutil.Process(zombie.pid)
        assert wait_gone([process], 0) == [process]
        assert end_orphan(identify(zombie.pid), own_place.folder)
        assert process.status() == psutil.STATUS_ZOMBIE
        assert wait_gone([process], 0) == []
    finally:
        zombie.kill()
        zombie.wait()


def test_a_child_never_runs_before_it_is_written_down(own_place: Place, tmp_path: Path) -> None:
    """A parent that dies between starting and recording leaves nothing."""
    note = tmp_path / "ran"

    def crash(identity: Identity) -> None:
        raise KeyboardInterrupt

    service = _shell("a", f"touch {note}; {_WAIT}")
    with pytest.raises(KeyboardInterrupt):
        Child(service, cwd=own_place.folder, log=tmp_path / "log", record=crash)
    assert not note.exists()
