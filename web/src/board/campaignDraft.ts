/** What HQ types for a campaign of one offer, and the draft that the server gets. Pure. */
import type { Schemas } from "@/api/client";

export type CampaignIn = Schemas["CampaignIn"];
export type CampaignOut = Schemas["CampaignOut"];

type OfferIn = CampaignIn["offers"][number];
export type Kind = NonNullable<OfferIn["kind"]>;

export interface Form {
  kind: Kind;
  name: string;
  starts: string; // as `<input type=datetime-local>` has it
  hours: number;
  sku_id: string;
  total: number;
  price_yuan: string;
  per_buyer: number;
  by_host: boolean;
  minutes: number;
  stores: string; // ids, by spaces or commas; empty: all
  on_cancel: CampaignIn["on_cancel"];
  audience: OfferIn["audience"];
  group: GroupForm;
}

/** What only group buys have. */
export interface GroupForm {
  size: 2 | 3;
  team_hours: number;
  late: "refund" | "seat" | "other" | "new";
  newcomers_only: boolean;
  captain_yuan: string; // empty: no price of their own
  subsidy_max: number;
  ready_after_days: number;
  steps: string; // a line each: paid buyers, price
  guarantee: boolean; // a crowd's difference also for other orders of the SKU
  regular_yuan: string; // of a crowd whose orders stand if it fails; empty: they are refunded
}

export const emptyGroup = (): GroupForm => ({
  size: 2, team_hours: 24, late: "new", newcomers_only: false, captain_yuan: "", subsidy_max: 0,
  ready_after_days: 2, steps: "", guarantee: false, regular_yuan: "",
});

/** The house's split until HQ edits plans here: 8 % promoter, 2 % upline, 10 % store, 30 % cap. */
const SPLIT_PLAN = { promoter_bps: 800, upline_bps: 200, store_bps: 1000, level_two: true, cap_bps: 3000 };

/** "39.9" as 3990 fen, without floats; null for what is no amount. */
export function fenOf(yuan: string): number | null {
  const match = /^(\d{1,8})(?:\.(\d{1,2}))?$/.exec(yuan.trim());
  if (!match) return null;
  const fen = Number(match[1]) * 100 + Number((match[2] ?? "").padEnd(2, "0"));
  return fen > 0 ? fen : null;
}

/** "100 39.90" a line; null when one is not of that form. */
export function stepsOf(text: string): { seats: number; price_fen: number }[] | null {
  const lines = text.split(/\n|;/).map((line) => line.trim()).filter((line) => line);
  const steps = lines.map((line) => {
    const [seats = "", yuan = "", ...more] = line.split(/[\s,]+/);
    const price_fen = fenOf(yuan);
    return /^\d{1,7}$/.test(seats) && price_fen !== null && !more.length ? { seats: Number(seats), price_fen } : null;
  });
  return steps.length && steps.every((step) => step !== null) ? steps : null;
}

const PLAIN: Pick<OfferIn, "coupons" | "points" | "newcomers_only" | "ready_after_days" | "subsidy_max" | "steps" | "charging" | "upgrade_guarantee"> = {
  coupons: false, points: false, newcomers_only: false, ready_after_days: 0, subsidy_max: 0, steps: [],
  charging: "pay_low_refund_if_failed", upgrade_guarantee: false,
};

/** The offer's own part by its kind; null for what is no price. */
function kindOf(form: Form): Partial<OfferIn> | null {
  const { kind, group } = form;
  const price_fen = fenOf(form.price_yuan);
  if (kind === "crowd") {
    const steps = stepsOf(group.steps);
    const regular_price_fen = group.regular_yuan ? fenOf(group.regular_yuan) : null;
    if (!steps || (group.regular_yuan && regular_price_fen === null)) return null;
    const charging = regular_price_fen === null ? "pay_low_refund_if_failed" : "pay_regular_return_difference";
    const late = group.late === "refund" ? "refund" : "seat";
    const { ready_after_days, guarantee: upgrade_guarantee } = group;
    return { prices: [], steps, charging, regular_price_fen, late, ready_after_days, upgrade_guarantee };
  }
  if (price_fen === null) return null;
  const prices = [{ price_fen, from_ms: 0 }];
  if (kind !== "team") {
    const by_host = kind === "flash" && form.by_host;
    const ready_after_days = kind === "regular" ? group.ready_after_days : 0;
    const duration_ms = by_host ? form.minutes * 60_000 : null;
    return { prices, launch: by_host ? "host" : "schedule", duration_ms, ready_after_days };
  }
  const captain_price_fen = group.captain_yuan ? fenOf(group.captain_yuan) : null;
  if (group.captain_yuan && captain_price_fen === null) return null;
  const { size, late, newcomers_only, subsidy_max, ready_after_days } = group;
  const term_ms = group.team_hours * 3_600_000;
  return { prices, size, term_ms, late, newcomers_only, captain_price_fen, subsidy_max, ready_after_days };
}

export function draftOf(form: Form): CampaignIn | null {
  const own = kindOf(form);
  const starts_at_ms = new Date(form.starts).getTime();
  if (own === null || Number.isNaN(starts_at_ms)) return null;
  const offer: OfferIn = {
    ...PLAIN,
    kind: form.kind,
    sku_id: form.sku_id.trim(),
    total: form.total,
    prices: [],
    audience: form.audience,
    per_order_max: Math.min(form.per_buyer, 99),
    per_buyer_max: form.per_buyer,
    launch: "schedule",
    ...own,
  };
  return {
    name: form.name.trim(),
    starts_at_ms,
    ends_at_ms: starts_at_ms + form.hours * 3_600_000,
    split_plan: SPLIT_PLAN,
    per_campaign_max: form.per_buyer,
    late: "refund",
    on_cancel: form.on_cancel,
    stores: form.stores.split(/[\s,，]+/).filter((store) => store),
    offers: [offer],
  };
}

export type Step = "submit" | "approve" | "publish";

/** What can be done next with a campaign; null when there is nothing. */
export function nextStep(state: string): Step | null {
  const steps: Record<string, Step> = { draft: "submit", in_review: "approve", approved: "publish" };
  return steps[state] ?? null;
}
