/** The live state: snapshots, events that join, repeats, holes; and the hash that the server agrees on. */
import { expect, test } from "vitest";
import { afterClose, type CommentEvent, type EventsFrame, type LiveEvent } from "../src/live/protocol";
import { applyEvents, applySnapshot, canonical, COMMENTS_MAX, emptyState, stateHash } from "../src/live/state";

const pin = (id: string): LiveEvent => ({ kind: "pin", at_ms: 1, offer_id: id });
const comment = (n: number): CommentEvent => ({ kind: "comment", at_ms: n, id: `c${n}`, nickname: "小林", text: "好" });
const frame = (from: number, ...events: LiveEvent[]): EventsFrame => ({
  type: "events",
  topic: "room:a",
  epoch: "e1",
  from,
  to: from + events.length - 1,
  events,
});

function begun() {
  const state = emptyState();
  applySnapshot(state, { type: "snapshot", topic: "room:a", epoch: "e1", offset: 3, parts: { pin: pin("x") }, comments: [comment(0)] });
  return state;
}

test("events that join move the state on, each once", () => {
  const state = begun();
  expect(applyEvents(state, frame(4, pin("y"), comment(1))).what).toBe("applied");
  expect([state.offset, state.parts["pin"], state.comments.map((one) => one.id)]).toEqual([5, pin("y"), ["c0", "c1"]]);
  expect(applyEvents(state, frame(4, pin("y"), comment(1))).what).toBe("known");
  expect(applyEvents(state, frame(5, comment(1), comment(2)))).toEqual({ what: "applied", events: [comment(2)] });
  expect(state.comments.map((one) => one.id)).toEqual(["c0", "c1", "c2"]);
});

test("a hole, another epoch or a frame that miscounts changes nothing", () => {
  const state = begun();
  const before = JSON.stringify(state);
  expect(applyEvents(state, frame(5, pin("y"))).what).toBe("gap");
  expect(applyEvents(state, { ...frame(4, pin("y")), epoch: "e2" }).what).toBe("gap");
  expect(applyEvents(state, { ...frame(4, pin("y")), to: 9 }).what).toBe("gap");
  expect(JSON.stringify(state)).toBe(before);
});

test("only the last comments are kept, and an unknown kind only counts", () => {
  const state = begun();
  applyEvents(state, frame(4, ...Array.from({ length: 60 }, (_, n) => comment(n + 1))));
  expect([state.comments.length, state.comments.at(-1)?.id]).toEqual([COMMENTS_MAX, "c60"]);
  const unknown = { kind: "fireworks", at_ms: 1 } as unknown as LiveEvent;
  expect(applyEvents(state, frame(64, unknown)).what).toBe("applied");
  expect([state.offset, Object.keys(state.parts)]).toEqual([64, ["pin"]]);
});

test("the hash is the server's: sorted keys, no blanks, UTF-8", async () => {
  expect(canonical({ b: [1, null], a: "好\u0001\"" })).toBe('{"a":"好\\u0001\\"","b":[1,null]}');
  // engine.room_events.state_hash of the same parts and comments
  const parts = { pin: pin("x"), "stock:o": { kind: "stock", offer_id: "o", available: 1, held: 0, sold: 2, total: 3, at_ms: 9 } as LiveEvent };
  expect(await stateHash({ parts, comments: [comment(1), comment(2)] })).toBe("8e9766e0e2a774063a1d2565597ede809c6d74db0357d7430dcb942c2ed14feb");
});

test("a close code says whether to come back", () => {
  expect([4400, 4401, 4403, 4408, 1006, 1012].map(afterClose)).toEqual([
    "stay_away", "new_token", "new_token", "again", "again", "again",
  ]);
});
