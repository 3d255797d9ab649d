/**
 * The room protocol as the page speaks it (docs/protocol.md is the contract).
 *
 * Server frames carry `type`; events carry `kind` and say by it which part of the topic's state
 * they replace ("" = none). Unknown kinds are kept out of the state but count in the offset.
 */

export interface Topic {
  topic: string;
  epoch?: string;
  offset?: number;
}

export interface RoomEvent {
  kind: "room";
  at_ms: number;
  room_id: string;
  title: string;
  state: "scheduled" | "live" | "paused" | "ended";
  host: { guide_id: string; name: string };
  store: { store_id: string; name: string };
  starts_at_ms: number;
}
export interface ShelfEvent {
  kind: "shelf";
  at_ms: number;
  offers: string[];
}
export interface Price {
  price_id: string;
  price_fen: number;
  from_ms: number;
}
export interface OfferEvent {
  kind: "offer";
  at_ms: number;
  offer_id: string;
  name: string;
  sku_id: string;
  offer_kind: "flash" | "regular" | "team" | "crowd";
  state: "scheduled" | "open" | "closed" | "frozen";
  prices: Price[];
  shelf_price_fen: number;
  mall_price_fen: number;
  starts_at_ms: number;
  ends_at_ms: number;
  per_order_max: number;
  per_buyer_max: number;
  late: string;
  team?: TeamCard; // only of a group buy
  audience?: "members" | "bound" | "new"; // only of an offer that is not everybody's
}
/** `size` 0: a crowd, which has a ladder and how it charges. */
export interface TeamCard {
  size: number;
  seat_qty: number;
  term_ms: number;
  newcomers_only: boolean;
  captain_price: Price | null;
  steps: { seats: number; price_id: string; price_fen: number }[];
  charging: string;
}
export interface StockEvent {
  kind: "stock";
  at_ms: number;
  offer_id: string;
  available: number;
  held: number;
  sold: number;
  total: number;
}
export interface PinEvent {
  kind: "pin";
  at_ms: number;
  offer_id: string | null;
}
export interface CommentEvent {
  kind: "comment";
  at_ms: number;
  id: string;
  nickname: string;
  text: string;
}
export interface RecoveredEvent {
  kind: "recovered";
  at_ms: number;
  shard: number;
}
export type TeamState = "opening" | "forming" | "reached" | "closing" | "formed" | "failed";
/** Of a group buy in a room: how many teams can be joined, or its crowd. */
export interface OfferTeamsEvent {
  kind: "teams";
  at_ms: number;
  offer_id: string;
  open_teams: number;
  crowd: {
    team_id: string;
    state: TeamState;
    paid: number;
    pending: number;
    step: number;
    deadline_ms: number;
  } | null;
}
/** A team in its own topic; `size` 0 of a crowd. */
export interface TeamEvent {
  kind: "team";
  at_ms: number;
  team_id: string;
  offer_id: string;
  team_kind: "team" | "crowd";
  state: TeamState;
  size: number;
  paid: number;
  pending: number;
  subsidy: number;
  step: number;
  deadline_ms: number;
}
/** What has just happened to a team, with the nickname of who opened or joined. */
export interface TeamToldEvent {
  kind: "team_event";
  at_ms: number;
  team_id: string;
  offer_id: string;
  what: string;
  nickname: string;
  paid: number;
  step: number;
}
export type ClaimState = "held" | "paying" | "paid" | "released" | "returned";
export interface ClaimEvent {
  kind: "claim";
  at_ms: number;
  claim_id: string;
  offer_id: string;
  state: ClaimState;
  units: number;
  why: string;
  price_fen?: number;
  expires_at_ms?: number;
  pay_expires_at_ms?: number;
}
export interface PaymentEvent {
  kind: "payment";
  at_ms: number;
  claim_id: string;
  offer_id: string;
  what: "late" | "refused";
  why: string;
}
/** The own place in an offer's waiting list, or that it is over; who is served hears of a claim. */
export interface WaitEvent {
  kind: "wait";
  at_ms: number;
  offer_id: string;
  state: "waiting" | "left" | "skipped";
  place?: number;
  why: string;
}
export type LiveEvent =
  | RoomEvent
  | ShelfEvent
  | OfferEvent
  | StockEvent
  | PinEvent
  | CommentEvent
  | RecoveredEvent
  | OfferTeamsEvent
  | TeamEvent
  | TeamToldEvent
  | ClaimEvent
  | PaymentEvent
  | WaitEvent;

export interface SnapshotFrame {
  type: "snapshot";
  topic: string;
  epoch: string;
  offset: number;
  parts: Record<string, LiveEvent>;
  comments: CommentEvent[];
}
export interface EventsFrame {
  type: "events";
  topic: string;
  epoch: string;
  from: number;
  to: number;
  events: LiveEvent[];
}
export type ServerFrame =
  | { type: "joined"; server_ms: number; heartbeat_ms: number; tick_ms: number; topics: unknown[] }
  | SnapshotFrame
  | EventsFrame
  | { type: "live"; topic: string; viewers: number; likes: number; server_ms: number; behind_ms?: number }
  | { type: "said"; id: string; offset: number }
  | { type: "refused"; id?: string; code: string; says: string; retry_ms?: number }
  | { type: "pong"; at_ms: number; server_ms: number }
  | { type: "bye"; code: string | number; says: string; after_ms: number };

export type ClientFrame =
  | { type: "join"; token: string; topics: Topic[] }
  | { type: "comment"; topic: string; id: string; text: string }
  | { type: "like"; topic: string; n: number }
  | { type: "token"; token: string }
  | { type: "ping"; at_ms: number };

/** What a close code asks of the page: come back, come back with a new token, or stay away. */
export function afterClose(code: number): "again" | "new_token" | "stay_away" {
  if (code === 4401 || code === 4403) return "new_token";
  return code === 4400 ? "stay_away" : "again";
}

/** The part of the topic's state that an event replaces; "" for none, null for an unknown kind. */
export function partOf(event: LiveEvent): string | null {
  switch (event.kind) {
    case "room":
    case "shelf":
    case "pin":
    case "team":
      return event.kind;
    case "offer":
    case "stock":
    case "teams":
    case "wait":
      return `${event.kind}:${event.offer_id}`;
    case "claim":
    case "payment":
      return `${event.kind}:${event.claim_id}`;
    case "comment":
    case "recovered":
    case "team_event":
      return "";
    default:
      return null;
  }
}
