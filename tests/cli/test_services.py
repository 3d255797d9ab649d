"""Where browsers are told to go, made of what was given and of the ports that were free."""

from cli.services import with_addresses
from engine.settings import Settings


def test_addresses_are_made_of_the_ports() -> None:
    made = with_addresses(Settings(), 9001, 9002)
    assert made.public_url == made.origins == "http://127.0.0.1:9001"
    assert made.gateway_url == "ws://127.0.0.1:9002/v1/live"
    assert (made.api_port, made.gateway_port) == (9001, 9002)


def test_given_addresses_stay() -> None:
    given = Settings(public_url="https://shop.example/", gateway_url="wss://live.example/v1/live")
    made = with_addresses(given, 9001, 9002)
    assert made.public_url == given.public_url
    assert made.gateway_url == given.gateway_url
    assert made.origins == "https://shop.example"


def test_given_origins_stay() -> None:
    given = Settings(origins="https://a.example,https://b.example")
    assert with_addresses(given, 1, 2).origins == given.origins
