/** What HQ types for a flash campaign, and the draft that the server gets. Pure. */
import type { Schemas } from "@/api/client";

export type CampaignIn = Schemas["CampaignIn"];
export type CampaignOut = Schemas["CampaignOut"];

export interface Form {
  name: string;
  starts: string; // as `<input type=datetime-local>` has it
  hours: number;
  sku_id: string;
  total: number;
  price_yuan: string;
  per_buyer: number;
  by_host: boolean;
  minutes: number;
}

/** The house's split until HQ edits plans here: 8 % promoter, 2 % upline, 10 % store, 30 % cap. */
const SPLIT_PLAN = { promoter_bps: 800, upline_bps: 200, store_bps: 1000, level_two: true, cap_bps: 3000 };

/** "39.9" as 3990 fen, without floats; null for what is no amount. */
export function fenOf(yuan: string): number | null {
  const match = /^(\d{1,8})(?:\.(\d{1,2}))?$/.exec(yuan.trim());
  if (!match) return null;
  const fen = Number(match[1]) * 100 + Number((match[2] ?? "").padEnd(2, "0"));
  return fen > 0 ? fen : null;
}

export function draftOf(form: Form): CampaignIn | null {
  const price_fen = fenOf(form.price_yuan);
  const starts_at_ms = new Date(form.starts).getTime();
  if (price_fen === null || Number.isNaN(starts_at_ms)) return null;
  return {
    name: form.name.trim(),
    starts_at_ms,
    ends_at_ms: starts_at_ms + form.hours * 3_600_000,
    split_plan: SPLIT_PLAN,
    per_campaign_max: form.per_buyer,
    late: "refund",
    offers: [
      {
        kind: "flash",
        sku_id: form.sku_id.trim(),
        total: form.total,
        prices: [{ price_fen, from_ms: 0 }],
        per_order_max: Math.min(form.per_buyer, 99),
        per_buyer_max: form.per_buyer,
        launch: form.by_host ? "host" : "schedule",
        duration_ms: form.by_host ? form.minutes * 60_000 : null,
      },
    ],
  };
}

export type Step = "submit" | "approve" | "publish";

/** What can be done next with a campaign; null when there is nothing. */
export function nextStep(state: string): Step | null {
  const steps: Record<string, Step> = { draft: "submit", in_review: "approve", approved: "publish" };
  return steps[state] ?? null;
}
