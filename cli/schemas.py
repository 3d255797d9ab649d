"""`kaituan schemas`: docs/openapi.json and docs/protocol.json from the code, nothing is started."""

from dataclasses import fields
from inspect import cleandoc
from pathlib import Path
from typing import Any

import click
import msgspec

from campaigns.app import create_framework
from campaigns.parts import Parts
from engine.room_events import AnyTopicEvent
from engine.settings import Settings
from ws.protocol import FromViewer, ToViewer

OPENAPI = Path("docs/openapi.json")
PROTOCOL = Path("docs/protocol.json")


def openapi_document() -> bytes:
    """The OpenAPI document as pretty JSON; routes are only described, so no part is opened."""
    unopened: dict[str, Any] = {field.name: None for field in fields(Parts)}
    unopened["settings"] = Settings(mode="development")
    return _pretty(create_framework(Parts(**unopened)).openapi_schema.to_schema())


def protocol_document() -> bytes:
    """JSON schemas of the gateway's frames, by direction, and of the events inside them."""
    shapes = (FromViewer, ToViewer, AnyTopicEvent)
    (from_viewer, to_viewer, event), named = msgspec.json.schema_components(
        shapes, ref_template="#/$defs/{name}"
    )
    # Python 3.13 takes the indentation out of docstrings, older ones leave it.
    for shape in named.values():
        if "description" in shape:
            shape["description"] = cleandoc(shape["description"])
    return _pretty(
        {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "title": "Kaituan 开团: the room protocol (docs/protocol.md)",
            "$defs": {"FromViewer": from_viewer, "ToViewer": to_viewer, "Event": event, **named},
        }
    )


def _pretty(document: Any) -> bytes:
    return msgspec.json.format(msgspec.json.encode(document, order="sorted"), indent=2) + b"\n"


@click.command("schemas")
def schemas() -> None:
    """Write docs/openapi.json and docs/protocol.json."""
    OPENAPI.write_bytes(openapi_document())
    PROTOCOL.write_bytes(protocol_document())
    click.echo(f"Wrote {OPENAPI} and {PROTOCOL}.")
