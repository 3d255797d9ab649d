"""What an audit found: one result per law, and the report of them all.

A result is never just a word: it says how many facts were looked at, so that a law that looked
at nothing cannot pass for one that holds.
"""

from collections.abc import Sequence

import msgspec

PROBLEMS_MAX = 20  # kept per law; the sentence says how many there were


class LawResult(msgspec.Struct, frozen=True, kw_only=True):
    """`ok` is None when the law was not checked, because its source was not given.

    `checked` counts the facts looked at, `sentence` says what holds or what is broken,
    `problems` are the first ones found, each with the ids to look at.
    """

    law: str
    ok: bool | None
    checked: int
    sentence: str
    problems: tuple[str, ...] = ()


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """All laws in order. `ok`: none is broken (those not checked do not count)."""

    laws: tuple[LawResult, ...]

    @property
    def ok(self) -> bool:
        """Whether no law is broken."""
        return all(one.ok is not False for one in self.laws)

    @property
    def broken(self) -> tuple[str, ...]:
        """Names of the broken laws."""
        return tuple(one.law for one in self.laws if one.ok is False)

    def law(self, name: str) -> LawResult:
        """The result of one law, such as `I4`."""
        return next(one for one in self.laws if one.law == name)

    def to_json(self) -> dict[str, object]:
        """`{"laws": {"I1": {"ok": …, "checked": …, "sentence": …, "problems": […]}}, "ok": …}`."""
        laws = {
            one.law: {
                "ok": one.ok,
                "checked": one.checked,
                "sentence": one.sentence,
                "problems": list(one.problems),
            }
            for one in self.laws
        }
        return {"laws": laws, "ok": self.ok}

    def lines(self) -> Sequence[str]:
        """One line per law for people, below a broken one its first problems."""
        out = []
        for one in self.laws:
            word = {True: "holds", False: "BROKEN", None: "not checked"}[one.ok]
            out.append(f"{one.law:<4}{word:<12}{one.checked:>10,}  {one.sentence}")
            out += [f"      - {problem}" for problem in one.problems]
        return out


class Finding:
    """What one law collects while it looks: facts counted, problems found."""

    def __init__(self, law: str, sentence: str) -> None:
        self.law = law
        self.sentence = sentence
        self.checked = 0
        self.found = 0
        self.problems: list[str] = []

    def look(self, facts: int = 1) -> None:
        """So many facts were looked at."""
        self.checked += facts

    def problem(self, text: str) -> None:
        """One fact breaks the law; `text` names it."""
        self.found += 1
        if len(self.problems) < PROBLEMS_MAX:
            self.problems.append(text)

    def expect(self, holds: bool, text: str) -> bool:
        """Count one fact, and note `text` when it does not hold."""
        self.checked += 1
        if not holds:
            self.problem(text)
        return holds

    def result(self) -> LawResult:
        """The law's result."""
        broken = f"{self.found:,} of {self.checked:,} facts break it: {self.sentence}"
        return LawResult(
            law=self.law,
            ok=self.found == 0,
            checked=self.checked,
            sentence=broken if self.found else self.sentence,
            problems=tuple(self.problems),
        )


def not_checked(law: str, why: str) -> LawResult:
    """A law whose source was not given."""
    return LawResult(law=law, ok=None, checked=0, sentence=f"not checked: {why}")
