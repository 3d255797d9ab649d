"""A supervisor in a process of its own: signals drain it, and a `kill -9` is recovered from."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from cli.place import Place
from cli.supervisor_state import RunState, read_state


def _alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


_PROGRAM = """
import asyncio, sys
from pathlib import Path
from cli.embedded.postgres import start_postgres
from cli.embedded.valkey import start_valkey
from cli.place import Place
from cli.supervisor import Supervisor
from cli.supervisor_child import Child, Identity, Service, identify
from cli.supervisor_state import RunFile

async def main(folder: Path) -> None:
    place = Place(folder, RunFile(folder))
    async with Supervisor(place, say=lambda line: print(line, flush=True)) as supervisor:
        supervisor.adopt(await asyncio.to_thread(start_valkey, place))
        if "postgres" in sys.argv:
            supervisor.adopt(await asyncio.to_thread(start_postgres, place))
        await supervisor.start([Service(name="a", argv=["/bin/sleep", "1000"])])
        print("serving", flush=True)
        await supervisor.serve("http://127.0.0.1:1", {})
    print("drained", flush=True)

asyncio.run(main(Path(sys.argv[1])))
"""


class _Apart:
    """A supervisor with Valkey, `more` and one other child, in another process."""

    def __init__(self, place: Place, *more: str) -> None:
        self.folder = place.folder
        self.process = subprocess.Popen(
            [sys.executable, "-c", _PROGRAM, str(place.folder), *more],
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[2],
        )
        assert self.process.stdout is not None
        self.said: list[str] = []
        while "serving" not in self.said:
            line = self.process.stdout.readline()
            assert line, "it ended before it served"
            self.said.append(line.strip())

    def state(self) -> RunState:
        state = read_state(self.folder)
        assert state is not None
        return state

    def end(self, *signals: int) -> str:
        """Send the signals and return what it said at its end."""
        for number in signals:
            self.process.send_signal(number)
            time.sleep(0.05)
        said, _ = self.process.communicate(timeout=60)
        return said


@pytest.mark.parametrize(
    ("number", "more"),
    [(signal.SIGINT, ["postgres"]), (signal.SIGTERM, []), (signal.SIGHUP, [])],
)
def test_a_signal_drains_and_leaves_nothing(own_place: Place, number: int, more: list[str]) -> None:
    apart = _Apart(own_place, *more)
    pids = [identity.pid for identity in apart.state().children.values()]
    assert apart.end(number).split() == ["drained"]
    assert apart.process.returncode == 0
    assert not any(psutil.pid_exists(pid) for pid in pids)
    assert not (own_place.folder / "run.json").exists()
    assert not (own_place.folder / "supervisor.lock").exists()


def test_after_a_kill_the_next_start_recovers(own_place: Place) -> None:
    apart = _Apart(own_place, "postgres")
    orphans = {name: identity.pid for name, identity in apart.state().children.items()}
    apart.end(signal.SIGKILL)
    assert all(_alive(pid) for pid in orphans.values())
    again = _Apart(own_place, "postgres")
    assert again.said[0] == "The last start was killed; ended what it left: a, postgres, valkey."
    assert not any(_alive(pid) for pid in orphans.values())
    assert again.end(signal.SIGTERM).split() == ["drained"]
