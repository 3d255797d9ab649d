/** What an offer is at a moment: pure functions of its events and the server's time. */
import type { OfferEvent, Price, StockEvent } from "@/live/protocol";

export type Phase = "waiting" | "upcoming" | "open" | "ended" | "closed";
export type Hope = "available" | "held" | "gone" | "unknown";

/** `waiting`: approved, but its host has not launched it yet, so its window is still empty. */
export function phaseOf(offer: OfferEvent, now: number): Phase {
  if (offer.state === "closed" || offer.state === "frozen") return "closed";
  if (offer.starts_at_ms >= offer.ends_at_ms) return now < offer.ends_at_ms ? "waiting" : "ended";
  if (now < offer.starts_at_ms) return "upcoming";
  return now < offer.ends_at_ms ? "open" : "ended";
}

/** Bought in seats, with others. */
export const isGroupBuy = (kind: string): boolean => kind === "team" || kind === "crowd";

/** The price in force at `now`, or the first one before the start. */
export function priceOf(offer: OfferEvent, now: number): Price | undefined {
  const at = Math.max(now, offer.starts_at_ms);
  const begun = offer.prices.filter((price) => price.from_ms <= at);
  const [first] = begun.length ? begun : offer.prices;
  return begun.reduce<Price | undefined>((a, b) => (a && a.from_ms > b.from_ms ? a : b), first);
}

/** The price that follows, if one does before the end. */
export function nextPriceOf(offer: OfferEvent, now: number): Price | undefined {
  return offer.prices
    .filter((price) => price.from_ms > Math.max(now, offer.starts_at_ms) && price.from_ms < offer.ends_at_ms)
    .sort((a, b) => a.from_ms - b.from_ms)[0];
}

/** What a buyer can hope for: held units are not paid yet and may come back. */
export function hopeOf(stock: StockEvent | undefined): Hope {
  if (!stock) return "unknown";
  if (stock.available > 0) return "available";
  return stock.held > 0 ? "held" : "gone";
}

export function qtyMax(offer: OfferEvent, stock: StockEvent | undefined): number {
  return Math.max(1, Math.min(offer.per_order_max, offer.per_buyer_max, stock?.available || offer.per_order_max));
}
