"""What is wrong with the files, in sentences that lead to the cell.

All problems are counted, the first `problems_max` are kept: a file of the wrong kind would
otherwise answer with as many sentences as it has rows.
"""

from typing import NamedTuple

from engine.errors import BadInput


class Problem(NamedTuple):
    """One sentence and where it applies; `line` counts from 1, as editors do."""

    file: str
    line: int | None
    column: str | None
    message: str

    def __str__(self) -> str:
        place = self.file
        if self.line is not None:
            place += f" line {self.line}"
        if self.column is not None:
            place += f", column {self.column}"
        return f"{place}: {self.message}"


class Problems:
    """Collects problems of one import."""

    def __init__(self, problems_max: int) -> None:
        self.total = 0
        self.first: list[Problem] = []
        self._problems_max = problems_max

    def add(
        self, message: str, file: str, line: int | None = None, column: str | None = None
    ) -> None:
        """Count a problem, and keep it while there is room."""
        self.total += 1
        if len(self.first) < self._problems_max:
            self.first.append(Problem(file, line, column, message))

    def raise_any(self) -> None:
        """BadInput `import_refused` with `problems` (sentences) and `total`, if there are any."""
        if self.total:
            raise BadInput(
                "import_refused",
                "Nothing was imported: the files have errors.",
                f"{self.total} found. Correct the files and import all of them again.",
                problems=[str(problem) for problem in self.first],
                total=self.total,
            )


def quoted(text: str) -> str:
    """A cell's text for a sentence: short and on one line."""
    flat = " ".join(text.split())
    return f'"{flat[:37]}..."' if len(flat) > 40 else f'"{flat}"'
