/** What the board asks of the server; a refusal becomes a `Refused` that carries its problem. */
import { download as downloadAs } from "@/api/download";
import { apiFor, answer, type Answer, type Problem, type Schemas } from "@/api/client";
import { call } from "@/api/rooms";
import { t } from "@/i18n";
import { sayProblem } from "@/ui/problems";
import type { CampaignIn, CampaignOut, Step } from "./campaignDraft";
import type { Board, RoomRow, RowsFilter } from "./types";

export type OrderRow = Schemas["OrderView"];

const ROWS_PER_PAGE = 50;
const CAMPAIGNS_MAX = 20;
const OFFERS_MAX = 100;

export class Refused extends Error {
  constructor(readonly problem: Problem) {
    super(problem.code);
  }
}

/** The data, or Refused. */
export function must<T>(got: Answer<T>): T {
  if (!got.ok) throw new Refused(got.problem);
  return got.data;
}

/** A refusal in words; wrong fields are named, one a line. */
export function sayError(error: unknown): string {
  if (!(error instanceof Refused)) return t("staff.failed", { code: "page" });
  const fields = error.problem.extra["errors"];
  const lines = Array.isArray(fields) ? (fields as { field: string; message: string }[]) : [];
  const says = sayProblem(error.problem);
  const named = lines.filter((one) => !says.includes(one.message));
  return [says, ...named.map((one) => `${one.field}: ${one.message}`)].join("\n");
}

export async function boardNow(): Promise<Board> {
  return must(await call<Board>("GET", "/v1/board", { door: "hq" }));
}

export async function roomsNow(): Promise<RoomRow[]> {
  return must(await call<{ rooms: RoomRow[] }>("GET", "/v1/rooms", { door: "hq" })).rooms;
}

/** Offers bought in teams of two or three, of the newest ones. */
export async function offersInTeams(): Promise<ReadonlySet<string>> {
  const query = { limit: OFFERS_MAX };
  const { offers } = must(await answer(apiFor("hq").GET("/v1/offers", { params: { query } })));
  return new Set(offers.filter((offer) => offer.team).map((offer) => offer.offer_id));
}

/** One page of the orders behind a figure, newest first. */
export async function ordersPage(filter: RowsFilter, after: string | null): Promise<Schemas["OrderPage"]> {
  const query = {
    limit: ROWS_PER_PAGE,
    state: filter.state,
    offer_id: filter.offer_id,
    from_ms: filter.from_ms,
    after: after ?? undefined,
  };
  return must(await answer(apiFor("hq").GET("/v1/orders", { params: { query } })));
}

export async function campaignsNow(): Promise<CampaignOut[]> {
  const query = { limit: CAMPAIGNS_MAX };
  return must(await answer(apiFor("hq").GET("/v1/campaigns", { params: { query } }))).campaigns;
}

export async function createCampaign(body: CampaignIn): Promise<CampaignOut> {
  return must(await answer(apiFor("hq").POST("/v1/campaigns", { body })));
}

/** One step of a campaign's life; an approval is signed with a note that says by whom it came. */
export async function campaignStep(campaignId: string, step: Step): Promise<void> {
  const path = `/v1/campaigns/${encodeURIComponent(campaignId)}`;
  const review = { decision: "approve", note: t("campaign.approvedNote") };
  if (step === "approve") must(await call("POST", `${path}/review`, { door: "hq", body: review }));
  else must(await call("POST", `${path}/${step}`, { door: "hq" }));
}

/** The kill switch; may be repeated. */
export async function cancelCampaign(campaign_id: string, note: string): Promise<CampaignOut> {
  const params = { path: { campaign_id } };
  return must(await answer(apiFor("hq").POST("/v1/campaigns/{campaign_id}/cancel", { params, body: { note } })));
}

/** A file for HQ; Refused when it could not be had. */
export async function download(path: string, name: string): Promise<void> {
  const problem = await downloadAs("hq", path, name);
  if (problem) throw new Refused(problem);
}
