"""The house rules that a machine can check: who imports whom, how long files are, and what is
spelled in one file only. Exceptions are listed here by name, with their reason.
"""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from engine import errors

ROOT = Path(__file__).parents[1]
PACKAGES = ("engine", "campaigns", "ws", "workers", "cli", "loadtests", "migrations")
PYTHON_LINES_MAX = 400
LUA_LINES_MAX = 120

# The arrows of the design: who may import whom (itself always).
ARROWS = {
    "engine": set(),
    "campaigns": {"engine"},
    "workers": {"engine", "campaigns"},
    "ws": {"engine"},
    "loadtests": {"engine.audit"},  # speaks HTTP; the verdict runs the audit
    "migrations": {"engine", "campaigns"},  # the tables' metadata
    "cli": {"engine", "campaigns", "workers", "ws", "loadtests", "migrations"},
}
# What a package must not know of the outside.
STRANGERS = {
    "engine": {"litestar", "arq", "websockets", "uvicorn", "click", "rich", "httpx"},
    "campaigns": {"arq", "websockets", "click", "rich", "locust"},
    "workers": {"litestar", "websockets", "click", "rich", "locust"},
    "loadtests": {"redis", "hiredis", "sqlalchemy", "asyncpg", "litestar", "arq", "alembic"},
}
OPENS_SESSIONS = {
    "AsyncSession": {"engine/db.py"},
    "async_sessionmaker": {"engine/db.py"},
    "sessionmaker": set[str](),
    "create_async_engine": {"engine/db.py"},
    "create_engine": set[str](),
}
BEGINS = {
    "engine/db.py": "the one place",
    "cli/migrate.py": "alembic brings its own transactions",
}


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(), filename=str(path))


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def modules(*folders: str) -> list[Path]:
    found = [path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]
    assert found
    return found


OURS = modules(*(folder for folder in PACKAGES if list((ROOT / folder).rglob("*.py"))))
TESTS = modules("tests")


def imports(path: Path) -> Iterator[str]:
    """Every imported module, also those imported inside functions; `a.b` for `from a import b`."""
    package = path.relative_to(ROOT).with_suffix("").parts[:-1]
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                up = package[: len(package) - node.level + 1]
                base = ".".join((*up, base)).strip(".")
            yield from (f"{base}.{alias.name}" for alias in node.names)


def within(module: str, allowed: str) -> bool:
    return module == allowed or module.startswith(f"{allowed}.")


@pytest.mark.parametrize("path", OURS, ids=name_of)
def test_arrows_between_packages(path: Path) -> None:
    package = path.relative_to(ROOT).parts[0]
    allowed = {package, *ARROWS[package]}
    for module in imports(path):
        top = module.split(".")[0]
        assert top != "tests", f"{name_of(path)} imports tests"
        if top in PACKAGES:
            assert any(within(module, one) for one in allowed), f"{name_of(path)} imports {module}"
        assert top not in STRANGERS.get(package, ()), f"{name_of(path)} imports {module}"
        if top == "arq":
            assert name_of(path) == "workers/clock.py", f"{name_of(path)} imports arq"


def test_files_are_short() -> None:
    long = [
        f"{name_of(path)}: {lines}"
        for most, paths in (
            (PYTHON_LINES_MAX, OURS + TESTS),
            (LUA_LINES_MAX, [one for folder in PACKAGES for one in (ROOT / folder).rglob("*.lua")]),
        )
        for path in paths
        if (lines := len(path.read_text().splitlines())) > most
    ]
    assert long == []


def test_every_module_says_what_it_is_for() -> None:
    silent = [
        name_of(path)
        for path in OURS + TESTS
        if path.read_text().strip() and not ast.get_docstring(tree(path))
    ]
    assert silent == []


def test_environment_is_read_in_the_settings_only() -> None:
    names = {"environ", "environb", "getenv", "getenvb", "putenv"}
    readers = {
        name_of(path)
        for path in OURS
        for node in ast.walk(tree(path))
        if (
            isinstance(node, ast.Attribute)
            and node.attr in names
            and ast.unparse(node.value) == "os"
        )
        or (isinstance(node, ast.ImportFrom) and {one.name for one in node.names} & names)
    }
    assert readers == {"engine/settings.py"}


def test_key_strings_are_spelled_in_one_file() -> None:
    """A key begins with the shard's hash tag, in Python as an f-string, in Lua never."""
    spellers = {
        name_of(path)
        for path in OURS
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and re.match(r"\{s(\d|\}|$)", node.value)
    }
    assert spellers == {"engine/keys.py"}
    for folder in PACKAGES:
        for path in (ROOT / folder).rglob("*.lua"):
            code = re.sub(r"--.*", "", path.read_text())
            assert not re.search(r"""['"]\{""", code), f"{name_of(path)} spells a key"


@pytest.mark.parametrize("name", OPENS_SESSIONS)
def test_sessions_and_pools_are_made_in_one_file(name: str) -> None:
    makers = {
        name_of(path)
        for path in OURS
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Call)
        and name in (getattr(node.func, "id", ""), getattr(node.func, "attr", ""))
    }
    assert makers <= OPENS_SESSIONS[name]


def test_transactions_open_in_one_file() -> None:
    """`db.begin()` is its door; nobody begins, commits or rolls back on a session or an engine."""
    others = []
    for path in OURS:
        if name_of(path) in BEGINS:
            continue
        for node in ast.walk(tree(path)):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
                continue
            on = ast.unparse(node.func.value).split(".")[-1]
            if node.func.attr in ("begin", "connect", "commit", "rollback") and (
                on in ("session", "engine", "connection")
            ):
                others.append(f"{name_of(path)}:{node.lineno} {ast.unparse(node.func)}")
    assert others == []


def test_nothing_of_ours_is_mocked() -> None:
    """Tests run on the real stores: no stand-ins, no mocks."""
    forbidden = ("unittest.mock", "pytest_mock", "mock", "fakeredis", "aiosqlite", "respx")
    found = [
        f"{name_of(path)}: {module}"
        for path in TESTS
        for module in imports(path)
        if any(within(module, one) for one in forbidden)
    ]
    assert found == []


def test_error_tree_is_complete() -> None:
    """The module's docstring names every error with the status that it answers with."""
    said = {
        match[1]: match[2]
        for match in re.finditer(r"^[├└]── (\w+) +(\d{3})?", errors.__doc__ or "", re.M)
    }
    there = {
        name: one
        for name, one in vars(errors).items()
        if isinstance(one, type) and issubclass(one, errors.KaituanError)
    }
    assert said.keys() | {"KaituanError"} == there.keys()
    for name, status in said.items():
        if status:
            assert there[name].status == int(status), name


def texts() -> Iterator[Path]:
    """Every file of the checkout that people wrote, without what builds and caches leave."""
    folders = (*PACKAGES, "tests", "docs", "web", "bench", ".ci")
    skipped = {"__pycache__", "node_modules", "dist"}
    for folder in folders:
        for path in sorted((ROOT / folder).rglob("*")):
            if path.is_file() and not skipped & set(path.parts):
                yield path
    yield from (path for path in sorted(ROOT.iterdir()) if path.is_file())


def test_no_file_knows_the_machine_it_was_written_on() -> None:
    # Put together here, so that this file does not find itself. (`/root` alone is anybody's.)
    places = ["/" + "work/", "/" + "root/", "/tmp/" + "brief", "/home/" + r"\w"]
    addresses = ["pypi" + r"\.org", "files" + r"\.pythonhosted", "index" + "-url", "go" + "proxy"]
    pattern = re.compile("|".join(rf"(?<![\w.}}]){one}" for one in places + addresses))
    found = []
    for path in texts():
        try:
            lines = path.read_text().splitlines()
        except UnicodeDecodeError:  # a picture
            continue
        found += [
            f"{name_of(path)}:{number}: {match[0]}"
            for number, line in enumerate(lines, 1)
            if (match := pattern.search(line))
        ]
    assert found == []
