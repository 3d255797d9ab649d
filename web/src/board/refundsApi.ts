/** What HQ asks about refunds and about seats that the merchant may fill. */
import { answer, apiFor, newKey, type Answer, type Schemas } from "@/api/client";

export type Refund = Schemas["RefundEntry"];
export type RefundPage = Schemas["RefundPage"];
export type RefundCount = Schemas["RefundCount"];
export type Progress = Schemas["TeamProgress"];
export type Budget = Schemas["SubsidyBudget"];
export type RefundState = "due" | "failed" | "done";

export interface RefundFilter {
  state: RefundState | "";
  cause: string;
  team_id: string;
}

const PAGE = 50;
export const STATES: readonly RefundState[] = ["due", "failed", "done"];
export const CAUSES = [
  "team_failed", "crowd_difference", "after_sale", "late", "second_payment", "wrong_amount", "rejected",
] as const;

const api = () => apiFor("hq");
const asked = (filter: RefundFilter) => ({
  state: filter.state || undefined,
  cause: filter.cause || undefined,
  team_id: filter.team_id || undefined,
});

export function refundsPage(filter: RefundFilter, after: string | null): Promise<Answer<RefundPage>> {
  const query = { ...asked(filter), limit: PAGE, after: after ?? undefined };
  return answer(api().GET("/v1/refunds", { params: { query } }));
}

export function refundsCsv(filter: RefundFilter): string {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(asked(filter))) if (value) query.set(name, value);
  const text = query.toString();
  return `/v1/refunds.csv${text && `?${text}`}`;
}

export function teamProgress(team_id: string): Promise<Answer<Progress>> {
  return answer(api().GET("/v1/teams/{team_id}/progress", { params: { path: { team_id } } }));
}

export function budgetOf(offer_id: string): Promise<Answer<Budget>> {
  return answer(api().GET("/v1/offers/{offer_id}/subsidy", { params: { path: { offer_id } } }));
}

export function openTeamsOf(offer_id: string): Promise<Answer<Schemas["OpenTeams"]>> {
  return answer(api().GET("/v1/offers/{offer_id}/teams", { params: { path: { offer_id } } }));
}

/** One key for each decision, kept while nobody knows what became of it. */
export const decisionKey = (): string => newKey("sub");

export function fillSeats(team_id: string, seats: number, reason: string, key: string): Promise<Answer<Schemas["SubsidyOut"]>> {
  return answer(
    api().POST("/v1/teams/{team_id}/subsidise", {
      params: { path: { team_id }, header: { "Idempotency-Key": key } },
      body: { seats, reason },
    }),
  );
}
