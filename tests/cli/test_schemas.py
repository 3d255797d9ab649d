"""docs/openapi.json is what the code says; `make schemas` writes it."""

from pathlib import Path

from cli.schemas import OPENAPI, openapi_document


def test_the_written_document_is_the_codes() -> None:
    root = Path(__file__).parents[2]
    assert (root / OPENAPI).read_bytes() == openapi_document()
