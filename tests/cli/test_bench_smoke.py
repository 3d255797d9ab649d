"""`kaituan bench --quick` runs to its end, gives every figure, and leaves nothing behind.

No speed is asserted: that is the benchmark's to report, not a test's. In make fuzz, for its length.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from cli.bench import rooms
from cli.bench.report import PARTS, RATIOS, Results
from cli.bench.room_targets import has_nchan
from cli.place import temporary_root


@pytest.fixture
def own_tmp() -> Iterator[Path]:
    """A TMPDIR of this test's own that every user may walk through (as root: `nobody`)."""
    folder = Path(tempfile.mkdtemp(prefix="bench-smoke-", dir=temporary_root()))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def _bench(own_tmp: Path, file: Path, group: str) -> str:
    done = subprocess.run(
        [
            *(sys.executable, "-m", "cli.main", "bench", "--quick"),
            *("--group", group, "--results", str(file)),
        ],
        env={**os.environ, "TMPDIR": str(own_tmp), "COLUMNS": "200"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert list(own_tmp.iterdir()) == [], "its temporary place was left behind"
    return done.stdout


@pytest.mark.long
def test_quick_bench_of_rooms_has_all_figures(own_tmp: Path, tmp_path: Path) -> None:
    file = tmp_path / "results.json"
    file.write_bytes(b'{"parts": "of another run"}')
    told = _bench(own_tmp, file, "rooms")
    kept = msgspec.json.decode(file.read_bytes())
    assert kept["parts"] == "of another run"
    results = msgspec.convert(kept["rooms"], rooms.RoomResults)
    missing = set() if has_nchan() else {"nchan"}
    assert set(results.parts) == set(rooms.PARTS) - missing
    assert ("nchan is not installed" in told) == bool(missing)
    for by_count in results.parts.values():
        for one in by_count.values():
            assert one.events >= one.frames > 0
            assert one.per_core > 0
    assert results.parts["ours"]["100"].events == results.parts["ours"]["100"].frames
    ticks = results.parts["ours_ticks"]["100"]
    assert ticks.events == rooms.TICK_EVENTS * ticks.frames
    assert set(results.ratios) == set(rooms.RATIOS)


@pytest.mark.long
def test_quick_bench_of_claims_has_all_figures(own_tmp: Path, tmp_path: Path) -> None:
    file = tmp_path / "results.json"
    told = _bench(own_tmp, file, "claims")
    assert "Only ratios of one run mean anything" in told
    results = msgspec.json.decode(file.read_bytes(), type=Results)
    assert set(results.parts) == set(PARTS)
    assert set(results.ratios) == set(RATIOS)
    for part, by_connections in results.parts.items():
        for one in by_connections.values():
            assert one.per_s > 0, part
            assert part in ("copy", "settle") or 0 < one.p50_ms <= one.p95_ms <= one.p99_ms, part
            assert set(one.words) <= {"201", "held"}, (part, one.words)
    assert all(value > 0 for ratios in results.ratios.values() for value in ratios.values())
