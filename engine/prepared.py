"""A script's command of which most values never change, packed for the wire once.

A claim's EVALSHA has 24 parts; 16 of them are the same for every claim of an offer. Building and
packing all of them anew cost 77,000 instructions a claim, a quarter of what the API process spent
on it; filling in the eight that differ costs 12,000.
"""

from collections.abc import Mapping, Sequence

import hiredis

from engine.scripts import Script

Value = str | int
_LENGTHS = [f"{length}\r\n" for length in range(513)]  # longer values take the slow way


def pack(command: Sequence[str | bytes | int]) -> bytes:
    """The command as the store reads it."""
    packed: bytes = hiredis.pack_command(tuple(command))  # type: ignore[arg-type]  # stub: a 1-tuple
    return packed


class Prepared:
    """`pack(*values)` for the names in `free`, in the script's own order; all others are fixed.

    Raises TypeError, as `Script.command` does, when the names are not exactly the script's.
    """

    def __init__(self, script: Script, fixed: Mapping[str, Value], free: Sequence[str]) -> None:
        marks = {name: f"\0{name}\0" for name in free}
        command = script.command(**{**fixed, **marks})
        self._names = [name for name in (*script.keys, *script.args) if name in marks]
        if list(free) != self._names:
            raise TypeError(f"{script.name} takes {self._names} in this order, not {list(free)}")
        self._fixed = [None if part in marks.values() else part for part in command]
        # [text, length, value, text, length, value, …, text]: joining is all that is left to do.
        self._pieces: list[str] = []
        text = f"*{len(command)}\r\n"
        for part in self._fixed:
            if part is None:
                self._pieces += [text + "$", "", ""]
                text = "\r\n"
            else:
                text += f"${len(str(part))}\r\n{part}\r\n"
        self._pieces.append(text)

    def pack(self, *values: str) -> bytes:
        """The whole command with these values."""
        pieces = self._pieces.copy()
        try:
            pieces[1::3] = [_LENGTHS[len(text)] for text in values]
            pieces[2::3] = values
            return "".join(pieces).encode("ascii")
        except (IndexError, UnicodeEncodeError):
            # Very long, or not ASCII (lengths on the wire are bytes): let the library count.
            rest = iter(values)
            return pack([next(rest) if part is None else part for part in self._fixed])
