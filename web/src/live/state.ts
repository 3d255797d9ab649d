/**
 * The state of a topic: its parts and its last comments, at a position {epoch, offset}.
 *
 * A snapshot replaces it; events move it on only when they join without a gap. The same events in
 * the same order give the same state, whoever was cut in between: `stateHash` compares that.
 */
import { partOf, type CommentEvent, type EventsFrame, type LiveEvent, type SnapshotFrame } from "./protocol";

export const COMMENTS_MAX = 50; // a state keeps so many, as the server's does

export interface TopicState {
  epoch: string;
  offset: number;
  parts: Record<string, LiveEvent>;
  comments: CommentEvent[]; // oldest first
}

export type Applied = { what: "applied"; events: LiveEvent[] } | { what: "known" } | { what: "gap" };

export function emptyState(): TopicState {
  return { epoch: "", offset: 0, parts: {}, comments: [] };
}

/** Take a snapshot as it is; it holds up to its own offset. */
export function applySnapshot(state: TopicState, frame: SnapshotFrame): void {
  state.epoch = frame.epoch;
  state.offset = frame.offset;
  state.parts = { ...frame.parts };
  state.comments = frame.comments.slice(-COMMENTS_MAX);
}

/**
 * Apply what is new in a frame. A frame whose events are all known changes nothing; one that
 * does not join (another epoch, or a hole before it) changes nothing and is a `gap`: ask again.
 */
export function applyEvents(state: TopicState, frame: EventsFrame): Applied {
  const wellFormed = frame.events.length === frame.to - frame.from + 1;
  if (frame.epoch !== state.epoch || frame.from > state.offset + 1 || !wellFormed) {
    return { what: "gap" };
  }
  const events = frame.events.slice(state.offset + 1 - frame.from);
  if (frame.to <= state.offset) return { what: "known" };
  for (const event of events) {
    const part = partOf(event);
    if (part) state.parts[part] = event;
    else if (event.kind === "comment") state.comments.push(event);
  }
  if (state.comments.length > COMMENTS_MAX) state.comments = state.comments.slice(-COMMENTS_MAX);
  state.offset = frame.to;
  return { what: "applied", events };
}

/** JSON with sorted keys and no blanks. */
export function canonical(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonical).join(",")}]`;
  if (value !== null && typeof value === "object") {
    const fields = Object.entries(value)
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([key, one]) => `${JSON.stringify(key)}:${canonical(one)}`);
    return `{${fields.join(",")}}`;
  }
  return JSON.stringify(value);
}

/** sha256 (hex) over the sorted parts, each with its JSON text, and the comments' ids, oldest first. */
export async function stateHash(state: Pick<TopicState, "parts" | "comments">): Promise<string> {
  const parts = Object.keys(state.parts)
    .sort()
    .map((part) => [part, canonical(state.parts[part])]);
  const text = canonical([parts, state.comments.map((one) => one.id)]);
  const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text));
  return Array.from(new Uint8Array(digest), (byte) => byte.toString(16).padStart(2, "0")).join("");
}
