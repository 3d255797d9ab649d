"""Scripts: one command per file in `engine/lua/`; the header is the contract and is executed.

    -- @key  name type …     KEYS in this order become locals of that name
    -- @arg  name int|str …  ARGV likewise; an int is turned into a number
    -- @include name         the text of lua/includes/name.lua, after the bindings
    -- @returns …            the replies, for people

So nobody counts `KEYS[n]`: `Script.command` takes keyword arguments and refuses a missing or
unknown one. The bindings stand on the shebang's next line, where a comment stood.
"""

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path

from engine.errors import RefusedStart

_FOLDER = Path(__file__).parent / "lua"
_HEADER = re.compile(r"^-- @(key|arg|include|returns)\s+(\S+)(?:\s+(\S+))?", re.M)


class Script:
    """A loaded script: `source` as the server gets it, `sha`, and the order of its arguments."""

    def __init__(self, name: str, text: str, includes: Mapping[str, str]) -> None:
        self.name = name
        self.keys: list[str] = []
        self.args: list[str] = []
        bindings: list[str] = []
        included: list[str] = []
        for what, field, kind in _HEADER.findall(text):
            if what == "key":
                self.keys.append(field)
                bindings.append(f"local {field} = KEYS[{len(self.keys)}]")
            elif what == "arg":
                if kind not in ("int", "str"):
                    raise RefusedStart("bad_script", f"{name}.lua: @arg {field} needs int or str")
                self.args.append(field)
                value = f"ARGV[{len(self.args)}]"
                bindings.append(
                    f"local {field} = {f'tonumber({value})' if kind == 'int' else value}"
                )
            elif what == "include":
                if field not in includes:
                    raise RefusedStart("bad_script", f"{name}.lua: no include {field}")
                included.append(includes[field])
        names = self.keys + self.args
        if len(set(names)) != len(names):
            raise RefusedStart("bad_script", f"{name}.lua: a name is declared twice")
        shebang, _, body = text.partition("\n")
        if not shebang.startswith("#!lua"):
            raise RefusedStart("bad_script", f"{name}.lua does not begin with #!lua")
        self.source = "\n".join([shebang, "; ".join(bindings), *included, body])
        self.sha = hashlib.sha1(self.source.encode(), usedforsecurity=False).hexdigest()
        self._head: tuple[str, str, int] = ("EVALSHA", self.sha, len(self.keys))
        self._names = (*self.keys, *self.args)

    def command(self, **values: str | int) -> tuple[str | int, ...]:
        """The EVALSHA command for these keys and arguments, all by name."""
        if len(values) != len(self._names):
            raise TypeError(f"{self.name} takes {self._names}, got {tuple(values)}")
        return (*self._head, *[values[name] for name in self._names])


def load_all(folder: Path = _FOLDER) -> dict[str, Script]:
    """All scripts by name; RefusedStart names the file whose header cannot be used."""
    includes = {path.stem: path.read_text() for path in (folder / "includes").glob("*.lua")}
    return {
        path.stem: Script(path.stem, path.read_text(), includes)
        for path in sorted(folder.glob("*.lua"))
    }
