"""docs/openapi.json and docs/protocol.json are what the code says; `make schemas` writes them."""

from pathlib import Path

from cli.schemas import OPENAPI, PROTOCOL, openapi_document, protocol_document

ROOT = Path(__file__).parents[2]


def test_the_written_api_is_the_codes() -> None:
    assert (ROOT / OPENAPI).read_bytes() == openapi_document()


def test_the_written_protocol_is_the_codes() -> None:
    assert (ROOT / PROTOCOL).read_bytes() == protocol_document()
