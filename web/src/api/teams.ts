/** Teams over HTTP: seats, one team, the open ones of an offer, and mine; as the pages need them. */
import { answer, apiFor, type Answer, type Schemas } from "./client";

export type Member = Schemas["Member"];
export type OpenTeam = Schemas["OpenTeam"];
export type SeatOut = Schemas["SeatOut"];
export type TeamState = "opening" | "forming" | "reached" | "closing" | "formed" | "failed";
export type Charging = "" | "low" | "regular";

export interface Step {
  seats: number;
  price_id: string;
  price_fen: number;
}
export interface Team {
  team_id: string;
  offer_id: string;
  kind: "team" | "crowd";
  state: TeamState;
  size: number; // 0: a crowd
  paid: number;
  held: number; // seats that are not paid yet
  subsidy: number;
  step: number; // of the ladder, latched
  steps: Step[];
  charging: Charging; // "": not told here, or no crowd
  members: Member[];
  stock_for_missing: boolean;
  my_claim_id: string | null;
  deadline_ms: number;
  server_time_ms: number;
}

/** One that I have or had a seat in. */
export type MyTeam = Omit<Schemas["MyTeam"], "kind" | "state" | "size"> & Pick<Team, "kind" | "state" | "size">;

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
  late: string;
  size: number;
  seat_qty: number; // 0: as many as wanted
  newcomers_only: boolean;
  audience: string;
  hasGuarantee: boolean; // the difference to this item's crowd
  ready_after_days: number;
  crowd: { team_id: string; paid: number; step: number; steps: Step[] } | null;
  charging: Charging;
  per_order_max: number;
  per_buyer_max: number;
  stock: { available: number; held: number; sold: number; total: number };
}

interface Wanted {
  key: string;
  qty: number;
  price_id: string;
}

const api = () => apiFor("customer");

/** Another shape of what was answered. */
function as<A, B>(got: Answer<A>, change: (data: A) => B): Answer<B> {
  return got.ok ? { ok: true, data: change(got.data) } : got;
}

/** A seat of this team, or of a new one (`team_id` ""). The same key on each repeat. */
export function takeSeat(
  offer_id: string,
  { key, qty, price_id }: Wanted,
  { team_id, consent }: { team_id: string; consent: boolean },
): Promise<Answer<SeatOut>> {
  return answer(
    api().POST("/v1/offers/{offer_id}/seats", {
      params: { path: { offer_id }, header: { "Idempotency-Key": key } },
      body: { qty, price_id, team_id, consent },
    }),
  );
}

export async function readOffer(offer_id: string): Promise<Answer<GroupOffer>> {
  return as(await answer(api().GET("/v1/offers/{offer_id}", { params: { path: { offer_id } } })), groupOf);
}

function groupOf(offer: Schemas["OfferView"]): GroupOffer {
  const { team, crowd, availability, price_id, price_fen } = offer;
  const { available, held, sold, total } = availability;
  const captain = team?.captain_price_id ? { price_id: team.captain_price_id, price_fen: team.captain_price_fen ?? 0 } : null;
  return {
    offer_id: offer.offer_id,
    name: offer.sku_name,
    sku_id: offer.sku_id,
    kind: crowd ? "crowd" : "team",
    phase: offer.phase as GroupOffer["phase"],
    price: { price_id, price_fen },
    captain_price: captain,
    shelf_price_fen: offer.shelf_price_fen,
    mall_price_fen: offer.mall_price_fen,
    starts_at_ms: offer.starts_at_ms,
    ends_at_ms: offer.ends_at_ms,
    late: offer.late,
    size: team?.size ?? 0,
    seat_qty: team?.seat_qty ?? crowd?.seat_qty ?? 0,
    newcomers_only: team?.newcomers_only ?? false,
    audience: offer.audience,
    hasGuarantee: offer.guarantee_says !== "",
    ready_after_days: offer.ready_after_days ?? 0,
    crowd: crowd ? { team_id: crowd.team_id, paid: crowd.paid, ...climbed(crowd.ladder) } : null,
    charging: crowd ? (crowd.charging === "pay_low_refund_if_failed" ? "low" : "regular") : "",
    per_order_max: offer.per_order_max,
    per_buyer_max: offer.per_buyer_max,
    stock: { available, held, sold, total },
  };
}

function climbed(ladder: readonly Schemas["LadderStep"][]): { step: number; steps: Step[] } {
  return { step: ladder.filter((one) => one.reached).length, steps: [...ladder] };
}

export async function readTeam(team_id: string): Promise<Answer<Team>> {
  return as(await answer(api().GET("/v1/teams/{team_id}", { params: { path: { team_id } } })), (team) => ({
    ...team,
    kind: team.kind as Team["kind"],
    state: team.state as TeamState,
    size: team.size ?? 0,
    held: team.pending,
    my_claim_id: team.my_claim_id ?? null,
    charging: "",
    ...climbed(team.ladder),
  }));
}

/** A pass for the gateway: this team, and what is mine. */
export function teamPass(team_id: string): Promise<Answer<Schemas["RoomTokenOut"]>> {
  return answer(api().POST("/v1/teams/{team_id}/token", { params: { path: { team_id } } }));
}

/**
 * The best first; `captain`: the team whose link was followed, of whose captain others come first,
 * then those of `store_id`.
 */
export async function openTeams(offer_id: string, captain = "", store_id = ""): Promise<Answer<OpenTeam[]>> {
  const query = { captain: captain || undefined, store_id: store_id || undefined };
  const params = { path: { offer_id }, query };
  return as(await answer(api().GET("/v1/offers/{offer_id}/teams", { params })), (got) => got.teams);
}

export async function myTeams(): Promise<Answer<MyTeam[]>> {
  return as(await answer(api().GET("/v1/me/teams")), (got) =>
    got.teams.map((team) => ({
      ...team,
      kind: team.kind as Team["kind"],
      state: team.state as TeamState,
      size: team.size ?? 0,
    })),
  );
}

/** Where a team is found by whoever gets the link. */
export function linkOf(teamId: string): string {
  return `${window.location.origin}/t/${teamId}`;
}
export function pictureOf(teamId: string, what: "qr" | "poster", lang: string): string {
  const path = `/v1/teams/${encodeURIComponent(teamId)}/${what}.svg`;
  return what === "poster" ? `${path}?lang=${lang}` : path;
}
