/** What each step and each refusal says: tone, sentence, next step. */
import type { Problem } from "@/api/client";
import { has, left, money, number, t } from "@/i18n";
import type { StockEvent } from "@/live/protocol";
import { saysOf } from "@/ui/says";
import { hopeOf } from "./sale";
import type { Purchase } from "./purchase";

export interface Words {
  tone: "success" | "waiting" | "danger" | "info";
  says: string;
  next?: string;
  code?: string;
}

/** The one button: what it says and does. */
export interface Button {
  says: string;
  act: (() => void) | null; // null: it only tells
  href?: string;
}

/** The server refused the press: what happened, what is safe, what to do. */
export function refusalWords(problem: Problem, stock: StockEvent | undefined): Words {
  const { code, extra } = problem;
  const tone = "waiting";
  switch (code) {
    case "sold_out":
      if (hopeOf(stock) === "available") return { tone, says: t("buy.justGone"), next: t("buy.justGoneSays") };
      return hopeOf(stock) === "held"
        ? { tone, says: t("buy.heldByOthers", { n: number(stock?.held ?? 0) }), next: t("buy.stay") }
        : { tone, says: t("buy.soldOut"), next: t("buy.lookShelf") };
    case "price_changed":
      return {
        tone,
        says: t("buy.priceChanged", { price: money(Number(extra["price_fen"])) }),
        next: t("buy.priceChangedSays"),
      };
    case "limit_reached":
      return extra["limit"] === "new_customer" || Number(extra["limit_max"]) === 0
        ? { tone, says: t("buy.limitNew"), next: t("buy.lookShelf") }
        : { tone, says: t("buy.limitReached", { n: Number(extra["limit_max"]) }), next: t("buy.limitReachedSays") };
    case "not_for_you":
      return audienceWords(String(extra["audience"]));
    case "not_open":
      return { tone, says: t("buy.notOpen"), next: t("buy.safe") };
    case "closed":
      return { tone, says: t("buy.closed"), next: t("buy.lookShelf") };
    default:
      if (problem.status === 401) return { tone, says: t("buy.signedOut") };
      return { tone: "danger", says: saysOf(problem), next: t("buy.safe"), code: t("common.code", { code }) };
  }
}

function audienceWords(audience: string): Words {
  const [says, next] = [`audience.no.${audience}`, `audience.next.${audience}`];
  return has(says) && has(next)
    ? { tone: "waiting", says: t(says), next: t(next) }
    : { tone: "waiting", says: t("error.not_for_you") };
}

/** The same request is under way again, and why. */
function repeatWords(problem: Problem | null, repeats: number): Words | null {
  if (!problem) return null;
  const key =
    problem.status === 0 ? "buy.repeatOffline" : problem.code === "reopening" ? "buy.repeatReopening" : "buy.repeatBusy";
  return { tone: "info", says: t(key), next: t("buy.repeating", { n: repeats }) };
}

/** The state of a purchase in words; null while there is nothing to say. */
export function stepWords(purchase: Purchase, now: number): Words | null {
  const { claim, press, refunds, repeatWhy, repeats, till, tillLost } = purchase.state;
  const back = refunds.reduce((sum, refund) => sum + refund.amount_fen, 0);
  const isBack = refunds.length > 0 && refunds.every((refund) => refund.state === "done");
  const term = left((till?.pay_expires_at_ms ?? claim?.pay_expires_at_ms ?? claim?.expires_at_ms ?? now) - now);
  switch (purchase.step.value) {
    case "claiming":
      return repeatWords(repeatWhy, repeats);
    case "held":
      return { tone: "success", says: t("buy.held"), next: t("buy.heldSays") };
    case "ordered":
    case "opening":
      return { tone: "waiting", says: t("buy.ordered", { left: term }), next: t("buy.orderedSays") };
    case "pay":
      return tillLost
        ? { tone: "danger", says: t("buy.tillLost"), next: t("buy.payTerm", { left: term }) }
        : { tone: "waiting", says: t("buy.payTerm", { left: term }) };
    case "paying":
      return { tone: "waiting", says: t("buy.paying"), next: t("buy.payingSays") };
    case "paid":
      return { tone: "success", says: t("buy.paid"), next: t("buy.paidSays", { order: claim?.order_id ?? "" }) };
    case "released":
      if (press?.paid) return { tone: "waiting", says: t("buy.releasedPaid") };
      return { tone: "waiting", says: t("buy.released"), next: t(whyReleased(press?.cancelled ? "cancelled" : (claim?.reason ?? ""))) };
    case "late":
      return {
        tone: isBack ? "info" : "waiting",
        says: t(isBack ? "buy.lateDone" : "buy.late"),
        next: back ? t("buy.lateSays", { price: money(back) }) : undefined,
      };
    case "refused":
      return { tone: isBack ? "info" : "waiting", says: t(isBack ? "buy.refusedDone" : "buy.refused") };
    case "rejected":
      return { tone: "danger", says: t("buy.rejected"), next: t("buy.rejectedSays") };
    case "refunding":
      return { tone: "waiting", says: t("buy.refunding") };
    case "refunded":
      return { tone: "info", says: isBack ? t("buy.refunded", { price: money(back) }) : t("buy.refunding") };
    case "lost":
      return { tone: "danger", says: t("buy.lost"), next: t("buy.lostSays") };
    default:
      return null;
  }
}

function whyReleased(reason: string) {
  if (reason === "cancelled") return "buy.releasedSays.cancelled" as const;
  return reason === "lapsed" || reason === "expired"
    ? ("buy.releasedSays.lapsed" as const)
    : ("buy.releasedSays.other" as const);
}
