/**
 * Where a purchase stands, from what the server says of the claim: a pure function.
 *
 * choose → claiming → held → ordered → opening → pay → paying → paid; exits: released, late,
 * refused (a payment that did not match), rejected, refunding, refunded, lost.
 */
import type { Schemas } from "@/api/client";
import type { PaymentEvent } from "@/live/protocol";

export type Claim = Schemas["ClaimView"];
export type Refund = Schemas["RefundView"];
export type Step =
  | "choose"
  | "claiming"
  | "held"
  | "ordered"
  | "opening"
  | "pay"
  | "paying"
  | "paid"
  | "released"
  | "late"
  | "refused"
  | "rejected"
  | "refunding"
  | "refunded"
  | "lost";

/** What this page knows besides: the till was opened, the buyer pressed pay there. */
export interface Known {
  hasTill: boolean;
  hasPaid: boolean;
  payment: PaymentEvent | undefined;
  refunds: readonly Refund[];
}

const WRONG = ["wrong_amount", "wrong_currency", "unknown_claim"];

export function stepOf(claim: Claim, known: Known): Step {
  const causes = known.refunds.map((refund) => refund.cause);
  if (claim.order_state === "rejected") return "rejected";
  if (claim.state === "paid") {
    if (claim.order_state === "refunding") return "refunding";
    return claim.order_state === "refunded" ? "refunded" : "paid";
  }
  if (claim.state === "returned") return "refunded";
  if (known.payment?.what === "late" || causes.includes("late")) return "late";
  if (known.payment?.what === "refused" || causes.some((cause) => WRONG.includes(cause))) return "refused";
  if (claim.state === "released") return "released";
  if (!claim.ordered) return "held";
  if (known.hasPaid) return "paying";
  if (known.hasTill) return "pay";
  return "ordered";
}

/** Whether anything may still change without the buyer: then it is worth asking again. */
export function isMoving(step: Step, known: Known): boolean {
  if (["held", "ordered", "pay", "paying", "refunding"].includes(step)) return true;
  if (["late", "refused", "rejected", "refunded"].includes(step)) {
    return known.refunds.length === 0 || known.refunds.some((refund) => refund.state === "due");
  }
  return step === "released" && known.hasPaid;
}
