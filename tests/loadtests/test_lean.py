"""The lean client gives each request its own answer, or says that it was lost."""

import asyncio

import pytest

from loadtests.lean import LeanClient, Lost

HEAD = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n"


class Echo:
    """Answers each request with its path; `/slow` only once it is let go."""

    def __init__(self) -> None:
        self.asked, self.go = asyncio.Event(), asyncio.Event()

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                path = head.split(b" ")[1]
                self.asked.set()
                if path == b"/slow":
                    await self.go.wait()
                if path == b"/cut":
                    break
                writer.write(HEAD % len(path) + path)
        except (asyncio.IncompleteReadError, OSError):
            pass
        finally:
            writer.close()


async def test_who_gives_up_does_not_leave_an_answer_to_the_next() -> None:
    echo = Echo()
    async with await asyncio.start_server(echo, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        client = LeanClient(f"http://127.0.0.1:{port}")
        slow = asyncio.create_task(client.request("GET", "/slow"))
        await echo.asked.wait()
        slow.cancel()
        with pytest.raises(asyncio.CancelledError):
            await slow
        following = asyncio.create_task(client.request("GET", "/next"))
        echo.go.set()
        assert (await following).body == b"/next"
        with pytest.raises(Lost):
            await client.request("GET", "/cut")
        assert (await client.request("GET", "/again")).body == b"/again"
        await client.close()
