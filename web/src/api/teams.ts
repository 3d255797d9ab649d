/** Teams over HTTP: seats, one team, the open ones of an offer, and mine. */
import type { Answer } from "./client";
import { call } from "./rooms";

export interface Member {
  nickname: string;
  captain: boolean;
  paid: boolean;
  mine: boolean;
}
export interface Step {
  seats: number;
  price_id: string;
  price_fen: number;
}
export type TeamState = "opening" | "forming" | "reached" | "closing" | "formed" | "failed";
export interface Team {
  team_id: string;
  offer_id: string;
  kind: "team" | "crowd";
  state: TeamState;
  why: string;
  size: number; // 0: a crowd
  paid: number;
  held: number; // seats that are not paid yet
  subsidy: number;
  step: number; // of the ladder, latched
  steps: Step[];
  charging: "" | "low" | "regular";
  members: Member[];
  stock_for_missing: boolean;
  my_claim_id: string | null;
  deadline_ms: number;
  server_time_ms: number;
}
export interface SeatOut {
  claim_id: string;
  team_id: string;
  price_id: string;
  price_fen: number;
  expires_at_ms: number;
}
export interface OpenTeam {
  team_id: string;
  captain: string;
  missing: number;
  deadline_ms: number;
}

/** One that I have or had a seat in. */
export interface MyTeam {
  team_id: string;
  offer_id: string;
  name: string;
  sku_id: string;
  kind: "team" | "crowd";
  state: TeamState;
  size: number;
  paid: number;
  subsidy: number;
  step: number;
  steps: Step[];
  captain: boolean;
  deadline_ms: number;
}

/** An offer that is bought in teams. */
export interface GroupOffer {
  offer_id: string;
  name: string;
  sku_id: string;
  kind: "team" | "crowd";
  phase: "waiting" | "upcoming" | "open" | "ended" | "closed";
  price: { price_id: string; price_fen: number };
  captain_price: { price_id: string; price_fen: number } | null;
  shelf_price_fen: number;
  mall_price_fen: number;
  starts_at_ms: number;
  ends_at_ms: number;
  late: "refund" | "seat" | "other" | "new";
  size: number;
  seat_qty: number; // 0: as many as wanted
  newcomers_only: boolean;
  ready_after_days: number;
  steps: Step[];
  charging: "" | "low" | "regular";
  per_order_max: number;
  per_buyer_max: number;
  crowd_id: string;
  stock: { available: number; held: number; sold: number; total: number };
}

interface Wanted {
  key: string;
  qty: number;
  price_id: string;
}

/** A seat of this team, or of a new one (`team_id` ""). The same key on each repeat. */
export function takeSeat(
  offerId: string,
  { key, qty, price_id }: Wanted,
  { team_id, consent }: { team_id: string; consent: boolean },
): Promise<Answer<SeatOut>> {
  return call("POST", `/v1/offers/${offerId}/seats`, { door: "customer", key, body: { qty, price_id, team_id, consent } });
}

export function readOffer(offerId: string): Promise<Answer<GroupOffer>> {
  return call("GET", `/v1/offers/${offerId}`, { door: "customer" });
}

export function readTeam(teamId: string): Promise<Answer<Team>> {
  return call("GET", `/v1/teams/${encodeURIComponent(teamId)}`, { door: "customer" });
}

/** Those of `captain`'s own link come first. */
export function openTeams(offerId: string, captain = ""): Promise<Answer<OpenTeam[]>> {
  return call("GET", `/v1/offers/${offerId}/teams?captain=${encodeURIComponent(captain)}`, { door: "customer" });
}

export function myTeams(): Promise<Answer<MyTeam[]>> {
  return call("GET", "/v1/me/teams", { door: "customer" });
}

/** Where a team is found by whoever gets the link. */
export function linkOf(teamId: string): string {
  return `${window.location.origin}/t/${teamId}`;
}
export function pictureOf(teamId: string, what: "qr" | "poster", lang: string): string {
  return `/v1/teams/${encodeURIComponent(teamId)}/${what}.svg?lang=${lang}`;
}
