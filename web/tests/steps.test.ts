/** Where a purchase stands: money that came too late or did not match is never called "released". */
import { expect, test } from "vitest";
import type { OfferEvent, StockEvent } from "../src/live/protocol";
import { hopeOf, phaseOf, priceOf } from "../src/room/sale";
import { stepOf, type Claim, type Known, type Refund } from "../src/room/steps";

const claim = (of: Partial<Claim>): Claim => ({
  claim_id: "c", offer_id: "o", order_id: "d", order_state: "open", ordered: true, state: "held",
  qty: 1, units: 1, price_fen: 990, expires_at_ms: 1, ...of,
});
const known = (of: Partial<Known> = {}): Known => ({ hasTill: false, hasPaid: false, payment: undefined, refunds: [], ...of });
const refund = (cause: string): Refund => ({
  cause, refund_id: "r", order_id: "d", state: "due", amount_fen: 990, units: 0, created_at_ms: 1, done_at_ms: null,
});

test("from the press to the paid order", () => {
  expect(stepOf(claim({ ordered: false, order_id: null }), known())).toBe("held");
  expect(stepOf(claim({}), known())).toBe("ordered");
  expect(stepOf(claim({ state: "paying" }), known({ hasTill: true }))).toBe("pay");
  expect(stepOf(claim({ state: "paying" }), known({ hasTill: true, hasPaid: true }))).toBe("paying");
  expect(stepOf(claim({ state: "paid", order_state: "paid" }), known({ hasPaid: true }))).toBe("paid");
});

test("exits say what became of the money", () => {
  const released = claim({ state: "released", order_state: "released" });
  expect(stepOf(released, known())).toBe("released");
  expect(stepOf(released, known({ refunds: [refund("late")] }))).toBe("late");
  expect(stepOf(released, known({ refunds: [refund("wrong_amount")] }))).toBe("refused");
  expect(stepOf(claim({ order_state: "rejected" }), known())).toBe("rejected");
  expect(stepOf(claim({ state: "paid", order_state: "refunding" }), known())).toBe("refunding");
  expect(stepOf(claim({ state: "returned", order_state: "refunded" }), known())).toBe("refunded");
});

test("an offer by the server's clock", () => {
  const offer = {
    state: "open", starts_at_ms: 100, ends_at_ms: 200,
    prices: [{ price_id: "a", price_fen: 9, from_ms: 100 }, { price_id: "b", price_fen: 8, from_ms: 150 }],
  } as OfferEvent;
  expect([99, 100, 199, 200].map((now) => phaseOf(offer, now))).toEqual(["upcoming", "open", "open", "ended"]);
  expect([0, 149, 150].map((now) => priceOf(offer, now)?.price_id)).toEqual(["a", "a", "b"]);
  expect(phaseOf({ ...offer, starts_at_ms: 200 }, 150)).toBe("waiting");
  expect(phaseOf({ ...offer, state: "frozen" }, 150)).toBe("closed");
  const stock = (available: number, held: number) => ({ available, held }) as StockEvent;
  expect([hopeOf(undefined), hopeOf(stock(1, 0)), hopeOf(stock(0, 2)), hopeOf(stock(0, 0))]).toEqual([
    "unknown", "available", "held", "gone",
  ]);
});
