"""Scripts: one command per file in `engine/lua/`; the header is the contract and is executed.

    -- @key  name type …     KEYS in this order become locals of that name
    -- @arg  name int|str …  ARGV likewise; an int is turned into a number
    -- @include name         the text of lua/includes/name.lua, after the bindings; in an include,
                             on a line of its own: that text at this very place
    -- @returns …            the replies, for people

So nobody counts `KEYS[n]`: `Script.command` takes keyword arguments and refuses a missing or
unknown one. A header that says anything else refuses the start. The bindings stand on one line
below the shebang, the includes after them.
"""

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path

from engine.errors import RefusedStart

_FOLDER = Path(__file__).parent / "lua"
_HEADER = re.compile(r"^[ \t]*--[ \t]*@(\S+)[ \t]*(\S*)[ \t]*(\S*)", re.M)
_NESTED = re.compile(r"^[ \t]*-- @include (\S+)$", re.M)
_NAME = re.compile(r"[a-z][a-z0-9_]*")
_KINDS = {
    "key": ("hash", "string", "zset", "stream", "list", "prefix"),
    "arg": ("int", "str"),
}


class Script:
    """A loaded script: `source` as the server gets it, `sha`, and the order of its arguments."""

    def __init__(self, name: str, text: str, includes: Mapping[str, str]) -> None:
        self.name = name
        self.keys: list[str] = []
        self.args: list[str] = []
        bindings: list[str] = []
        included: list[str] = []
        for what, field, kind in _HEADER.findall(text):
            if what == "returns":
                continue
            self._check(what, field, kind, includes)
            if what == "key":
                self.keys.append(field)
                bindings.append(f"local {field} = KEYS[{len(self.keys)}]")
            elif what == "arg":
                self.args.append(field)
                value = f"ARGV[{len(self.args)}]"
                bindings.append(
                    f"local {field} = {f'tonumber({value})' if kind == 'int' else value}"
                )
            else:
                included.append(self._whole(includes[field], includes))
        shebang, _, body = text.partition("\n")
        if not shebang.startswith("#!lua"):
            raise self._bad("does not begin with #!lua")
        self.source = "\n".join([shebang, "; ".join(bindings), *included, body])
        self.sha = hashlib.sha1(self.source.encode(), usedforsecurity=False).hexdigest()
        self._head: tuple[str, str, int] = ("EVALSHA", self.sha, len(self.keys))
        self.names = frozenset((*self.keys, *self.args))
        self._names = (*self.keys, *self.args)

    def _whole(self, text: str, includes: Mapping[str, str]) -> str:
        """An include with those that it names; they name no others."""
        for name in _NESTED.findall(text):
            self._check("include", name, "", includes)
        return _NESTED.sub(lambda at: includes[at[1]], text)

    def _bad(self, why: str) -> RefusedStart:
        return RefusedStart("bad_script", f"{self.name}.lua {why}")

    def _check(self, what: str, field: str, kind: str, includes: Mapping[str, str]) -> None:
        if what == "include":
            if field not in includes:
                raise self._bad(f"wants the include {field!r}, which is not there")
            return
        if what not in _KINDS:
            raise self._bad(f"says @{what}; known are @key, @arg, @include and @returns")
        if not _NAME.fullmatch(field):
            raise self._bad(f"has an @{what} whose name {field!r} is no name")
        if kind not in _KINDS[what]:
            raise self._bad(f"says @{what} {field} {kind or '(nothing)'}: needs {_KINDS[what]}")
        if field in self.keys or field in self.args:
            raise self._bad(f"declares {field} twice")

    def command(self, **values: str | int) -> tuple[str | int, ...]:
        """The EVALSHA command for these keys and arguments, all by name."""
        try:
            ordered = [values[name] for name in self._names]
        except KeyError as error:
            raise self._mismatch(values) from error
        if len(values) != len(ordered):
            raise self._mismatch(values)
        return (*self._head, *ordered)

    def _mismatch(self, values: Mapping[str, object]) -> TypeError:
        return TypeError(f"{self.name} takes {self._names}, got {tuple(values)}")


def load_all(folder: Path = _FOLDER) -> dict[str, Script]:
    """All scripts by name; RefusedStart names the file whose header cannot be used."""
    includes = {path.stem: path.read_text() for path in (folder / "includes").glob("*.lua")}
    return {
        path.stem: Script(path.stem, path.read_text(), includes)
        for path in sorted(folder.glob("*.lua"))
    }
