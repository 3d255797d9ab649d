"""`kaituan schemas`: write docs/openapi.json from the code, without starting anything."""

from dataclasses import fields
from pathlib import Path
from typing import Any

import click
import msgspec

from campaigns.app import create_framework
from campaigns.parts import Parts
from engine.settings import Settings

OPENAPI = Path("docs/openapi.json")


def openapi_document() -> bytes:
    """The OpenAPI document as pretty JSON; routes are only described, so no part is opened."""
    unopened: dict[str, Any] = {field.name: None for field in fields(Parts)}
    unopened["settings"] = Settings(mode="development")
    document = create_framework(Parts(**unopened)).openapi_schema.to_schema()
    return msgspec.json.format(msgspec.json.encode(document, order="sorted"), indent=2) + b"\n"


@click.command("schemas")
def schemas() -> None:
    """Write docs/openapi.json."""
    OPENAPI.write_bytes(openapi_document())
    click.echo(f"Wrote {OPENAPI}.")
