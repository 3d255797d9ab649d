/** The pure parts of the desk and the board. */
import { expect, test } from "vitest";
import { draftOf, emptyGroup, fenOf, nextStep, stepsOf, type Form } from "@/board/campaignDraft";
import { everySecond, placeMarks } from "@/board/chartOptions";
import { share, signed, timeOfDay, yuanParts } from "@/board/figures";
import { changeOf, HISTORY_MAX, remember, type Seen } from "@/board/history";
import type { Board } from "@/board/types";
import { BACK_OFF_MAX_MS, waitMs } from "@/board/usePoll";
import { phaseOf, priceAt } from "@/desk/offerPhase";
import type { OfferEvent } from "@/live/protocol";

const tiles = { gmv_fen: 0, orders: 0, paid: 0, refunds_fen: 0, viewers: null };
const boardAt = (at_ms: number, orders: number): Board => ({
  at_ms,
  zone: "Asia/Shanghai",
  since_ms: 0,
  tiles: { ...tiles, orders },
  series: [],
  offers: [],
  marks: [],
  laws: [],
});

test("money is split without floats", () => {
  expect(yuanParts(1_234_507)).toEqual({ sign: "", yuan: "12,345", fen: "07" });
  expect(fenOf("39.9")).toBe(3990);
  expect(fenOf("0.29")).toBe(29);
  for (const wrong of ["", "0", "-1", "1.234", "1e3", "¥5"]) expect(fenOf(wrong)).toBeNull();
});

test("figures in words", () => {
  expect([signed(3, String), signed(-3, String), signed(0, String)]).toEqual(["+3", "−3", "±0"]);
  expect(timeOfDay(0, "Asia/Shanghai")).toBe("08:00:00");
  expect([share(1, 4), share(5, 4), share(1, 0)]).toEqual([25, 100, 0]);
});

test("a failed poll waits longer, up to a limit", () => {
  expect([0, 1, 2, 3].map((n) => waitMs(n, 1000))).toEqual([1000, 2000, 4000, 8000]);
  expect(waitMs(50, 1000)).toBe(BACK_OFF_MAX_MS);
});

test("a tile's change is what the page saw, and nothing before that", () => {
  let seen: Seen[] = remember([], boardAt(1_000, 5));
  expect(changeOf(seen, "orders")).toBeNull();
  seen = remember(remember(seen, boardAt(11_000, 9)), boardAt(11_000, 9));
  expect(seen).toHaveLength(2);
  expect(changeOf(seen, "orders")).toEqual({ by: 4, over_ms: 10_000 });
  expect(changeOf(seen, "viewers")).toBeNull();
  for (let s = 12; s < 2_000; s += 1) seen = remember(seen, boardAt(s * 1000, s));
  expect(seen).toHaveLength(HISTORY_MAX);
  expect(changeOf(seen, "orders")?.over_ms).toBe(60_000);
});

test("a second in which nothing happened is a zero", () => {
  expect(everySecond([[2_000, 7]], 1_000, 4_000)).toEqual([
    [1_000, 0],
    [2_000, 7],
    [3_000, 0],
  ]);
});

test("words of marks never lie on each other, and a flash start goes first", () => {
  const crowd = Array.from({ length: 9 }, (_, n) => ({ at_ms: 500 + n, kind: "pin", what: `${n}` }));
  const placed = placeMarks([...crowd, { at_ms: 499, kind: "flash_start", what: "f" }], 0, 1_000, 900);
  expect(placed).toHaveLength(10);
  expect(placed.filter((one) => one.lane !== null)).toHaveLength(2);
  expect(placed.find((one) => one.mark.what === "f")?.lane).toBe(0);
  expect(placeMarks([{ at_ms: 990, kind: "pin", what: "x" }], 0, 1_000, 900)[0]?.align).toBe("right");
});

test("an offer's phase and price by the server's clock", () => {
  const offer = {
    state: "open",
    starts_at_ms: 100,
    ends_at_ms: 200,
    prices: [
      { price_id: "a", price_fen: 10, from_ms: 0 },
      { price_id: "b", price_fen: 20, from_ms: 150 },
    ],
  } as OfferEvent;
  expect([99, 100, 199, 200].map((now) => phaseOf(offer, now))).toEqual(["counting", "open", "open", "over"]);
  expect(phaseOf({ ...offer, ends_at_ms: 100 }, 150)).toBe("waiting");
  expect(phaseOf({ ...offer, state: "frozen" }, 150)).toBe("frozen");
  expect([149, 150].map((now) => priceAt(offer, now))).toEqual([10, 20]);
});

test("a draft for the host to launch says how long it is open", () => {
  const form: Form = {
    name: " 夜场 ",
    starts: "2030-01-01T20:00",
    hours: 2,
    sku_id: "SP1",
    total: 5,
    price_yuan: "9.90",
    per_buyer: 2,
    by_host: true, on_cancel: "finish", audience: "all",
    minutes: 3,
    kind: "flash",
    stores: "",
    group: emptyGroup(),
  };
  const draft = draftOf(form);
  expect(draft?.name).toBe("夜场");
  expect((draft?.ends_at_ms ?? 0) - (draft?.starts_at_ms ?? 0)).toBe(7_200_000);
  expect(draft?.offers[0]).toMatchObject({ launch: "host", duration_ms: 180_000, prices: [{ price_fen: 990 }] });
  expect(draftOf({ ...form, by_host: false })?.offers[0]).toMatchObject({ launch: "schedule", duration_ms: null });
  expect(draftOf({ ...form, price_yuan: "x" })).toBeNull();
  expect(["draft", "in_review", "approved", "scheduled"].map(nextStep)).toEqual(["submit", "approve", "publish", null]);
});

test("a group buy's draft has its kind's fields and no others", () => {
  const form: Form = {
    name: "团", starts: "2026-11-11T20:00", hours: 2, sku_id: "SP1", total: 9, price_yuan: "9.90", per_buyer: 2,
    by_host: true, on_cancel: "finish", audience: "all", minutes: 3, kind: "team", stores: "S01, S02", group: { ...emptyGroup(), captain_yuan: "8.90" },
  };
  expect(draftOf(form)?.stores).toEqual(["S01", "S02"]);
  expect(draftOf(form)?.offers[0]).toMatchObject({
    kind: "team", size: 2, term_ms: 86_400_000, late: "new", captain_price_fen: 890, launch: "schedule", coupons: false,
  });
  const crowd: Form = { ...form, kind: "crowd", group: { ...emptyGroup(), steps: "100 9.90\n300, 8.50\n" } };
  expect(draftOf(crowd)?.offers[0]).toMatchObject({
    kind: "crowd", prices: [], late: "seat", charging: "pay_low_refund_if_failed",
    steps: [{ seats: 100, price_fen: 990 }, { seats: 300, price_fen: 850 }],
  });
  expect(stepsOf("100")).toBeNull();
  expect(stepsOf("")).toBeNull();
  expect(draftOf({ ...crowd, group: { ...crowd.group, regular_yuan: "12" } })?.offers[0]).toMatchObject({
    charging: "pay_regular_return_difference", regular_price_fen: 1200,
  });
});
