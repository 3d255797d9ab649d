/** A team's states in words: what is missing, until when, and what becomes of the money. */
import { expect, test, vi } from "vitest";

vi.stubGlobal("window", { location: { search: "?lang=en", origin: "http://here" } });
await import("vue"); // before there is half a document
vi.stubGlobal("document", { documentElement: {} });

const { freeOf, isJoinable, missingOf, teamWords } = await import("../src/team/states");
const { landingSays, seatRefusal } = await import("../src/team/seatWords");
type Team = import("../src/api/teams").Team;
type Problem = import("../src/api/client").Problem;

const team = (of: Partial<Team> = {}): Team => ({
  team_id: "tem-1", offer_id: "ofr-1", kind: "team", state: "forming", size: 3, paid: 1, held: 0, subsidy: 0,
  step: 0, steps: [], charging: "", members: [], stock_for_missing: true, my_claim_id: null,
  deadline_ms: 100_000, server_time_ms: 0, ...of,
});
const steps = [{ seats: 10, price_id: "a", price_fen: 900 }, { seats: 20, price_id: "b", price_fen: 800 }];

test("seats are missing until they are paid, and free until somebody holds them", () => {
  expect([missingOf(team()), freeOf(team())]).toEqual([2, 2]);
  expect([missingOf(team({ held: 2 })), freeOf(team({ held: 2 }))]).toEqual([2, 0]);
  expect(missingOf(team({ subsidy: 2 }))).toBe(0);
  expect(["opening", "forming", "reached", "closing", "formed", "failed"].filter((state) => isJoinable({ state } as Team))).toEqual(
    ["forming", "reached"],
  );
});

test("a small team says what is so", () => {
  expect(teamWords(team(), 0).says).toBe("2 more needed, 01:40 left");
  expect(teamWords(team({ held: 2 }), 0).says).toContain("Somebody is paying");
  expect(teamWords(team({ stock_for_missing: false }), 0).says).toContain("no stock");
  expect(teamWords(team(), 100_000).says).toContain("Time is up"); // before the worker says so
  expect(teamWords(team({ state: "formed", paid: 3 }), 0)).toMatchObject({ tone: "success" });
  expect(teamWords(team({ state: "failed", paid: 0 }), 0).says).toContain("dissolved");
  expect(teamWords(team({ state: "failed" }), 0).next).toContain("goes back in full");
});

test("a crowd says which price holds and what happens if it fails", () => {
  const crowd = team({ kind: "crowd", size: 0, steps, charging: "low" });
  expect(teamWords(crowd, 0).says).toBe("9 more buyers and it is reached, 01:40 left");
  expect(teamWords(crowd, 0).next).toContain("go back in full");
  expect(teamWords({ ...crowd, charging: "regular" }, 0).next).toContain("regular price");
  expect(teamWords({ ...crowd, state: "reached", step: 1, paid: 12 }, 0).says).toContain("¥9.00 holds");
  expect(teamWords({ ...crowd, state: "formed", step: 2, paid: 25 }, 0).says).toBe("Complete at ¥8.00");
});

test("each refusal of a seat has its own sentence, and each landing", () => {
  const says = (code: string, extra = {}): string => seatRefusal({ code, status: 409, extra } as unknown as Problem, undefined).says;
  const codes = ["team_full", "team_over", "team_open", "newcomers_only"];
  expect(new Set(codes.map((code) => says(code))).size).toBe(codes.length);
  expect(says("limit_reached", { limit: "newcomer", limit_max: 1 })).toContain("one each");
  expect(says("limit_reached", { limit: "offer", limit_max: 2 })).toContain("at most 2");
  expect(new Set(["refund", "seat", "other", "new"].map(landingSays)).size).toBe(4);
});
