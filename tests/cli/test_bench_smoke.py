"""`kaituan bench --quick` runs to its end, gives every figure, and leaves nothing behind.

No speed is asserted: that is the benchmark's to report, not a test's.
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

from cli.bench.report import PARTS, RATIOS, Results
from cli.place import temporary_root


@pytest.fixture
def own_tmp() -> Iterator[Path]:
    """A TMPDIR of this test's own that every user may walk through (as root: `nobody`)."""
    folder = Path(tempfile.mkdtemp(prefix="bench-smoke-", dir=temporary_root()))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.mark.slow
def test_quick_bench_has_all_figures(own_tmp: Path, tmp_path: Path) -> None:
    file = tmp_path / "results.json"
    done = subprocess.run(
        [sys.executable, "-m", "cli.main", "bench", "--quick", "--results", str(file)],
        env={**os.environ, "TMPDIR": str(own_tmp), "COLUMNS": "200"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert "Only ratios of one run mean anything" in done.stdout
    results = msgspec.json.decode(file.read_bytes(), type=Results)
    assert set(results.parts) == set(PARTS)
    assert set(results.ratios) == set(RATIOS)
    for part, by_connections in results.parts.items():
        for one in by_connections.values():
            assert one.per_s > 0, part
            assert part in ("copy", "settle") or 0 < one.p50_ms <= one.p95_ms <= one.p99_ms, part
            assert set(one.words) <= {"201", "held"}, (part, one.words)
    assert all(value > 0 for ratios in results.ratios.values() for value in ratios.values())
    assert list(own_tmp.iterdir()) == [], "its temporary place was left behind"
