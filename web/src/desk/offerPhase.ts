/** Where an offer stands at a moment, by the server's clock. Pure. */
import type { OfferEvent } from "@/live/protocol";

/** `waiting`: the host launches it; its window is empty until then. */
export type Phase = "waiting" | "counting" | "open" | "over" | "closed" | "frozen";

export function phaseOf(offer: OfferEvent, nowMs: number): Phase {
  if (offer.state === "closed") return "closed";
  if (offer.state === "frozen") return "frozen";
  if (offer.starts_at_ms >= offer.ends_at_ms) return "waiting";
  if (nowMs < offer.starts_at_ms) return "counting";
  return nowMs < offer.ends_at_ms ? "open" : "over";
}

/** The unit price in fen that holds at a moment; before the first one, the first. */
export function priceAt(offer: OfferEvent, nowMs: number): number {
  const begun = offer.prices.filter((price) => price.from_ms <= nowMs);
  const holding = begun.reduce<(typeof begun)[number] | undefined>(
    (last, price) => (!last || price.from_ms >= last.from_ms ? price : last),
    undefined,
  );
  return (holding ?? offer.prices[0])?.price_fen ?? 0;
}
