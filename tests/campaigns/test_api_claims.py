"""Claims over HTTP: what is answered, once per key, and what a claim becomes."""

from tests.campaigns.server import World


async def test_a_claim_is_held_and_seen(api: World) -> None:
    published = await api.campaign()
    offer = published["offers"][0]
    held = await api.claim(offer, "mbr_a")
    assert held.status_code == 201, held.text
    assert set(held.json()) == {"claim_id", "price_id", "price_fen", "expires_at_ms"}
    again = await api.claim(offer, "mbr_a")
    assert (again.status_code, again.json()) == (201, held.json())
    assert again.headers["idempotent-replay"] == "true"
    seen = await api.http.get(f"/v1/claims/{held.json()['claim_id']}", headers=api.auth("mbr_a"))
    assert seen.status_code == 200, seen.text
    assert (seen.json()["state"], seen.json()["ordered"]) == ("held", False)
