"""A whole process of viewers: plan on stdin, tallies on stdout, logs for the audit."""

import asyncio
import sys
from pathlib import Path

import msgspec

from engine.audit.viewer_log import read_viewer_logs
from loadtests.crowd import WatchPlan
from loadtests.hall import RoomPass, Tally
from tests.loadtests.tiny_gateway import TOPIC, stock, tiny_gateway


async def _play(stdin: asyncio.StreamWriter, stdout: asyncio.StreamReader) -> Tally:
    going = ending = False
    tally = Tally()
    async with asyncio.timeout(60):
        while not tally.done:
            tally = msgspec.json.decode(await stdout.readline(), type=Tally)
            if tally.viewers == 30 and not going:
                stdin.write(b"go\n")
                going = True
            if tally.comments_said > 20 and tally.closes.get("1006", 0) > 5 and not ending:
                stdin.write(b"end\n")
                ending = True
    return tally


async def test_a_crowd_watches_talks_is_cut_and_leaves(tmp_path: Path) -> None:
    async with tiny_gateway() as gateway:
        await gateway.append(stock(1))
        plan = WatchPlan(
            name="c7",
            history=str(tmp_path),
            passes=(RoomPass("token", (TOPIC,), 10**15, gateway.url),) * 30,
            comments_per_s=40,
            likes_per_s=10,
            cuts_per_s=20,
            seed=4,
        )
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "loadtests.crowd"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(msgspec.json.encode(plan) + b"\n")
        try:
            tally = await _play(process.stdin, process.stdout)
            assert await asyncio.wait_for(process.wait(), 20) == 0
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
    assert not tally.violations, tally.odd
    assert tally.events > 100
    assert tally.lags_ms
    assert sum(tally.hashes.values()) == 30
    lines = list(read_viewer_logs(tmp_path))
    assert {line.viewer for line in lines if line.do == "end"} == {f"c7-{n}" for n in range(30)}
