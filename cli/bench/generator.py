"""`python -m cli.bench.generator`: a closed loop over fixed connections, as lean as Python allows.

The plan comes on stdin, the result goes to stdout, both msgpack. Requests are built before; one
process costs some 20 µs a request, so on two cores the server is the limit and not this. The
same loop drives HTTP (one request a connection) and the store (`depth` commands a write).
"""

import select
import selectors
import socket
import sys
import time
from array import array
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import hiredis
import msgspec

Feed = Callable[[bytes], int]  # data of one connection → answers that are complete now


class GeneratorPlan(msgspec.Struct, frozen=True, kw_only=True):
    """What to send where. `templates` hold `%s` where each request gets its own number.

    `preamble` is sent once per connection (the store's password). `protocol`: http or resp.
    """

    port: int
    protocol: str
    connections: int
    depth: int
    warm_s: float
    seconds: float
    number_from: int
    templates: tuple[bytes, ...]
    preamble: bytes = b""


class GeneratorResult(msgspec.Struct, kw_only=True):
    """What was measured after the warm-up. `latencies` is an array of float64 seconds."""

    answers: int
    seconds: float
    cpu_s: float
    words: dict[str, int]  # status or first word of the answer
    latencies: bytes


class _Line:
    """One connection."""

    __slots__ = ("feed", "read", "sent_at", "sock", "waiting", "write")

    def __init__(self, sock: socket.socket, feed: Feed) -> None:
        self.sock, self.feed = sock, feed
        self.read, self.write = sock.recv, sock.sendall
        self.sent_at, self.waiting = 0.0, 0


def http_feed(words: Counter[str]) -> Feed:
    """Counts whole answers with a content-length; nearly always one read is one answer."""
    rest = b""

    def feed(data: bytes) -> int:
        nonlocal rest
        if rest:
            data = rest + data
        end = data.find(b"\r\n\r\n")
        at = data.find(b"ontent-length: ", 0, end)
        if end < 0 or at < 0:
            rest = data
            return 0
        length = int(data[at + 15 : data.find(b"\r\n", at)])
        if len(data) < end + 4 + length:
            rest = data
            return 0
        rest = b""
        words[data[9:12].decode()] += 1
        return 1

    return feed


def resp_feed(words: Counter[str]) -> Feed:
    """Counts replies of the store; an error's first word is what it says."""
    reader = hiredis.Reader()

    def feed(data: bytes) -> int:
        reader.feed(data)
        done = 0
        while (reply := reader.gets()) is not False:
            first = reply[0] if isinstance(reply, list) else reply
            words[first.decode() if isinstance(first, bytes) else str(first)[:40]] += 1
            done += 1
        return done

    return feed


def _connect(plan: GeneratorPlan, feed: Feed) -> _Line:
    sock = socket.create_connection(("127.0.0.1", plan.port), timeout=20)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if plan.preamble:
        sock.sendall(plan.preamble)
        sock.recv(4_096)
    return _Line(sock, feed)


def _poller(lines: Sequence[_Line]) -> Callable[[], Sequence[Any]]:
    """A function that waits and gives (file number, …) of readable connections."""
    if hasattr(select, "epoll"):
        poll = select.epoll(len(lines))
        for line in lines:
            poll.register(line.sock.fileno(), select.EPOLLIN)
        return lambda: poll.poll(5)
    selector = selectors.DefaultSelector()
    for line in lines:
        selector.register(line.sock, selectors.EVENT_READ)
    return lambda: [(key.fd, mask) for key, mask in selector.select(5)]


def drive(plan: GeneratorPlan) -> GeneratorResult:
    """Run the closed loop; OSError or RuntimeError when the server does not answer."""
    words: Counter[str] = Counter()
    make = http_feed if plan.protocol == "http" else resp_feed
    lines = {}
    for _ in range(plan.connections):
        line = _connect(plan, make(words))
        lines[line.sock.fileno()] = line
    wait, clock = _poller(list(lines.values())), time.perf_counter
    templates, count = plan.templates, len(plan.templates)
    number, depth = plan.number_from, plan.depth
    latencies = array("d")

    def send(line: _Line) -> None:
        nonlocal number
        if depth == 1:
            number += 1
            data = templates[number % count].replace(b"%s", b"%015d" % number)
        else:
            data = b"".join(
                templates[n % count].replace(b"%s", b"%015d" % n)
                for n in range(number + 1, number + 1 + depth)
            )
            number += depth
        line.waiting = depth
        line.sent_at = clock()
        line.write(data)

    for line in lines.values():
        send(line)
    began, cpu, answers, ends = clock(), time.process_time(), 0, 0.0
    warm_until, is_warm = began + plan.warm_s, False
    while True:
        ready = wait()
        if not ready:
            raise RuntimeError("no answer for 5 s")
        for fd, _ in ready:
            line = lines[fd]
            data = line.read(65_536)
            if not data:
                raise RuntimeError("the server closed a connection")
            done = line.feed(data)
            answers += done
            line.waiting -= done
            if line.waiting <= 0:
                latencies.append(clock() - line.sent_at)
                send(line)
        now = clock()
        if not is_warm and now >= warm_until:
            is_warm, began, cpu, answers = True, now, time.process_time(), 0
            ends = now + plan.seconds
            words.clear()
            del latencies[:]
        elif is_warm and now >= ends:
            break
    result = GeneratorResult(
        answers=answers,
        seconds=now - began,
        cpu_s=time.process_time() - cpu,
        words=dict(words),
        latencies=latencies.tobytes(),
    )
    for line in lines.values():
        line.sock.close()
    return result


def main() -> int:
    """0 with a result on stdout; 1 with one sentence on stderr."""
    plan = msgspec.msgpack.decode(sys.stdin.buffer.read(), type=GeneratorPlan)
    try:
        result = drive(plan)
    except (OSError, RuntimeError) as error:
        print(f"generator: {error}", file=sys.stderr)
        return 1
    sys.stdout.buffer.write(msgspec.msgpack.encode(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
