/** What the steps of a seat say where they differ from those of any purchase. */
import type { Problem } from "@/api/client";
import type { Team } from "@/api/teams";
import { money, t } from "@/i18n";
import type { StockEvent } from "@/live/protocol";
import type { Purchase } from "@/room/purchase";
import { refusalWords, stepWords, type Words } from "@/room/words";
import { missingOf } from "./states";

export function seatRefusal(problem: Problem, stock: StockEvent | undefined): Words {
  const { code, extra } = problem;
  const tone = "waiting";
  if (code === "team_full") return { tone, says: t("seat.full"), next: t("seat.fullSays") };
  if (code === "team_over") return { tone, says: t("seat.over"), next: t("seat.fullSays") };
  if (code === "team_open") return { tone, says: t("seat.mineOpen"), next: t("seat.mineOpenSays") };
  if (code === "newcomers_only") return { tone, says: t("seat.newcomers"), next: t("seat.newcomersSays") };
  if (code === "limit_reached" && extra["limit"] === "newcomer") {
    return { tone, says: t("seat.newcomerOnce"), next: t("seat.newcomersSays") };
  }
  return refusalWords(problem, stock);
}

/** A paid seat says how its team stands; money on its way back says why. */
export function seatWords(purchase: Purchase, now: number, team: Team | null): Words | null {
  const step = purchase.step.value;
  if (step === "held") return { tone: "success", says: t("team.seatHeld"), next: t("buy.heldSays") };
  if (step === "paid" && team) return paidWords(purchase, team);
  if (["refunding", "refunded"].includes(step)) return refundWords(purchase);
  return stepWords(purchase, now);
}

function paidWords(purchase: Purchase, team: Team): Words {
  const { state, kind } = team;
  if (state === "failed" && team.charging !== "regular") {
    return { tone: "waiting", says: t("team.refundSoon"), next: t("team.ifFails") };
  }
  const next =
    state !== "forming" || kind === "crowd"
      ? t("buy.paidSays", { order: purchase.state.claim?.order_id ?? "" })
      : t("team.paidForming", { n: missingOf(team) });
  return { tone: "success", says: t("team.paid"), next };
}

function refundWords(purchase: Purchase): Words {
  const { refunds } = purchase.state;
  const price = money(refunds.reduce((sum, refund) => sum + refund.amount_fen, 0));
  if (!refunds.length) return { tone: "waiting", says: t("team.refundSoon") };
  if (refunds.every((refund) => refund.state === "done")) {
    return { tone: "success", says: t("team.refundDone", { price }) };
  }
  if (refunds.some((refund) => refund.state === "failed")) {
    return { tone: "danger", says: t("team.refundStuck", { price }) };
  }
  return { tone: "waiting", says: t("team.refundDue", { price }) };
}

/** What becomes of a payment that is late, as the campaign declared it. */
export function landingSays(late: string): string {
  switch (late) {
    case "seat":
      return t("team.late.seat");
    case "other":
      return t("team.late.other");
    case "new":
      return t("team.late.new");
    default:
      return t("team.late.refund");
  }
}
