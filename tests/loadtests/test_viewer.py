"""The viewer checks every offset, keeps one state, resumes after cuts, and notes what is wrong."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
import pytest_asyncio

from engine import room_events
from engine.audit.room_facts import range_digest, state_hash
from engine.audit.viewer_log import ViewerLine, ViewerLog, read_viewer_logs
from loadtests.hall import Hall
from loadtests.viewer import Viewer
from tests.loadtests.tiny_gateway import TOPIC, TinyGateway, comment, stock, tiny_gateway
from tests.waiting import eventually


class House:
    """A tiny gateway, a hall with a log, and viewers."""

    def __init__(self, gateway: TinyGateway, history: Path) -> None:
        self.gateway, self.history = gateway, history
        self.hall = Hall(ViewerLog(history, "c1"))
        self.viewers: list[Viewer] = []
        self.tasks: list[asyncio.Task[None]] = []

    async def enter(self) -> Viewer:
        viewer = Viewer(f"c1-{len(self.viewers)}", self.hall, self.gateway.pass_source)
        self.viewers.append(viewer)
        self.tasks.append(asyncio.create_task(viewer.watch()))
        await eventually(lambda: viewer.offset_of() >= 0)
        return viewer

    async def at(self, viewer: Viewer, offset: int) -> None:
        await eventually(lambda: viewer.offset_of() == offset)

    async def close(self) -> list[ViewerLine]:
        for viewer in self.viewers:
            viewer.leave()
        await asyncio.wait_for(asyncio.gather(*self.tasks), 20)
        assert self.hall.log is not None
        self.hall.log.close()
        return list(read_viewer_logs(self.history))


@pytest_asyncio.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with tiny_gateway() as gateway:
        house = House(gateway, tmp_path)
        yield house
        await house.close()


async def test_follows_and_ends_with_the_state_of_a_snapshot(house: House) -> None:
    await house.gateway.append(stock(1))
    early = await house.enter()
    for number in range(2, 80):
        await house.gateway.append(stock(number), comment(number, "长" * (number * 3)))
    late = await house.enter()
    await house.at(early, 157)
    assert late.offset_of() == 157
    assert early.hash_of() == late.hash_of() != ""
    state = house.gateway.state()
    assert early.hash_of() == state_hash(**state)
    texts = {part: json.dumps(one) for part, one in state["parts"].items()}
    comments = [json.dumps(one) for one in state["comments"]]
    assert early.hash_of() == room_events.state_hash(texts, comments)  # the product's own
    assert not house.hall.tally.violations
    lines = await house.close()
    told = [line for line in lines if line.do == "events"]
    assert [(line.first, line.last) for line in told] == [(2, 157)]
    assert told[0].digest == range_digest(2, house.gateway.log[1:])
    assert {line.hash for line in lines if line.do == "end"} == {late.hash_of()}


async def test_resumes_after_a_cut(house: House) -> None:
    viewer = await house.enter()
    await house.gateway.append(stock(1))
    await house.at(viewer, 1)
    viewer.cut()
    await eventually(lambda: not viewer.joined.is_set())
    await house.gateway.append(stock(2), stock(3))
    await house.at(viewer, 3)
    assert house.gateway.asked[-1]["topics"] == [{"topic": TOPIC, "epoch": "e1", "offset": 1}]
    assert house.hall.tally.snapshots == 1
    assert house.hall.tally.resumes == 1
    assert not house.hall.tally.violations


async def test_comments_and_hears_where_they_are(house: House) -> None:
    viewer = await house.enter()
    comment_id = viewer.comment("有货吗" * 60)
    await eventually(lambda: viewer.said == {comment_id: 1})
    await house.at(viewer, 1)
    lines = await house.close()
    (said,) = [line for line in lines if line.do == "said"]
    assert (said.offset, said.origin_end) == (1, f"-{comment_id}")


async def test_a_new_epoch_with_its_snapshot_is_fine(house: House) -> None:
    viewer = await house.enter()
    await house.gateway.append(stock(1), stock(2))
    await house.at(viewer, 2)
    house.gateway.epoch, house.gateway.log = "e2", []
    await house.gateway.snapshot(house.gateway.lines[0])
    await house.gateway.append(stock(9))
    await house.at(viewer, 1)
    assert not house.hall.tally.violations


Break = Callable[[TinyGateway], Awaitable[None]]


async def _gap(gateway: TinyGateway) -> None:
    await gateway.send_range(gateway.lines[0], 3, [stock(3)])


async def _repeat(gateway: TinyGateway) -> None:
    await gateway.send_range(gateway.lines[0], 1, [stock(1)])


async def _epoch(gateway: TinyGateway) -> None:
    gateway.epoch = "e2"
    await gateway.send_range(gateway.lines[0], 2, [stock(2)])


async def _backwards(gateway: TinyGateway) -> None:
    gateway.log.clear()
    await gateway.snapshot(gateway.lines[0])


async def _kind(gateway: TinyGateway) -> None:
    await gateway.append({"kind": "surprise", "at_ms": 1})


async def _phone(gateway: TinyGateway) -> None:
    await gateway.append(comment(2, "打我电话 13800138000"))


async def _open_id(gateway: TinyGateway) -> None:
    await gateway.append(comment(2, "oUpF8uMuAJO_M2pxb1Q9zNjWeS6o"))


async def _count(gateway: TinyGateway) -> None:
    line = gateway.lines[0]
    raw = {"topic": TOPIC, "epoch": "e1", "from": 2, "to": 5, "events": [stock(2)]}
    await line.send(json.dumps({"type": "events", **raw}))


async def _garbage(gateway: TinyGateway) -> None:
    await gateway.lines[0].send('{"type":"surprise"}')


@pytest.mark.parametrize(
    ("how", "kind"),
    [
        (_gap, "a gap"),
        (_repeat, "a repeat"),
        (_epoch, "an epoch without a snapshot"),
        (_backwards, "a snapshot backwards"),
        (_kind, "an event of no known kind"),
        (_phone, "personal data in a frame"),
        (_open_id, "personal data in a frame"),
        (_count, "1 events say to be 2 to 5"),
        (_garbage, "a frame outside the protocol"),
    ],
)
async def test_what_is_wrong_is_noted(house: House, how: Break, kind: str) -> None:
    viewer = await house.enter()
    await house.gateway.append(stock(1))
    await house.at(viewer, 1)
    await how(house.gateway)
    await eventually(lambda: house.hall.tally.violations)
    assert set(house.hall.tally.violations) == {kind}
    lines = await house.close()
    assert [line.do for line in lines if line.do == "odd"] == ["odd"]


async def test_a_frame_in_fragments_and_a_ping_are_understood(house: House) -> None:
    viewer = await house.enter()
    line = house.gateway.lines[0]
    pong = await line.ping()
    whole = '{"type":"live","topic":"room:rm_1","viewers":7,"likes":0,"server_ms":1}'
    await line.send([whole[:10], whole[10:30], whole[30:]])
    await asyncio.wait_for(pong, 10)
    await eventually(lambda: house.hall.tally.seen_viewers == 7)
    await line.close(4400, "bad_frame")
    await eventually(lambda: viewer.last_code == 4400)
    assert viewer.joined.is_set() is False
    await asyncio.wait_for(asyncio.gather(*house.tasks), 10)  # it does not come back
