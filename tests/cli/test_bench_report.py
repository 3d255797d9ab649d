"""Medians and ratios are arithmetic, so they are tested without a clock."""

from collections import Counter

from cli.bench.generator import http_feed, resp_feed
from cli.bench.parts import Figure
from cli.bench.report import summarise


def _figure(per_s: float, cores: float = 0.5) -> Figure:
    return Figure(per_s=per_s, p50_ms=1, p95_ms=2, p99_ms=3, cores={"api-1": cores, "echo": cores})


def test_medians_and_ratios() -> None:
    results = summarise(
        {
            ("echo", 64): [_figure(100), _figure(300), _figure(200)],
            ("ours", 64): [_figure(50), _figure(90), _figure(100)],
            ("ours", 256): [_figure(10)],
        },
        "kaituan bench",
        {"before": [0.0], "after": [0.0]},
    )
    assert results.parts["echo"]["64"].per_s == 200
    assert results.parts["ours"]["64"].runs == [50, 90, 100]
    assert results.parts["ours"]["64"].cpu_us == round(0.5 / 90 * 1e6, 1)
    assert results.ratios["ours ÷ echo"] == {"64": 0.45}  # 256 has nothing to be compared with
    assert results.ratios["settler ÷ COPY"] == {}


def test_http_answers_are_counted_whole() -> None:
    words: Counter[str] = Counter()
    feed = http_feed(words)
    answer = b"HTTP/1.1 201 Created\r\ncontent-length: 5\r\n\r\nhello"
    assert feed(answer) == 1
    for cut in range(1, len(answer)):
        assert feed(answer[:cut]) == 0
        assert feed(answer[cut:]) == 1
    assert words == {"201": len(answer)}


def test_store_replies_are_counted() -> None:
    words: Counter[str] = Counter()
    feed = resp_feed(words)
    assert feed(b"*2\r\n$4\r\nheld\r\n$1\r\nx\r\n*1\r\n$8\r\nsol") == 1
    assert feed(b"d_out\r\n-NOSCRIPT none\r\n") == 2
    assert sorted(words) == ["NOSCRIPT none", "held", "sold_out"]
