/** Why nothing was handed over, in the guide's words. Pure but for the catalogue. */
import type { Problem } from "@/api/client";
import { number, t, when } from "@/i18n";
import type { Words } from "@/room/words";
import { sayProblem } from "@/ui/problems";

export function refusedWords(problem: Problem): Words {
  const { code, extra, retryAfterMs } = problem;
  switch (code) {
    case "already_handed_over":
      return {
        tone: "danger",
        says: t("pickUp.already"),
        next: t("pickUp.alreadySays", { time: when(Number(extra["fulfilled_at_ms"])), n: number(Number(extra["units"])) }),
      };
    case "other_store":
      return {
        tone: "waiting",
        says: t("pickUp.otherStore"),
        next: t("pickUp.otherStoreSays", { store: String(extra["store_id"]) }),
      };
    case "wrong_code":
      return { tone: "waiting", says: t("pickUp.wrong"), next: t("pickUp.wrongSays") };
    case "code_expired":
      return { tone: "waiting", says: t("pickUp.expired"), next: t("pickUp.expiredSays") };
    case "too_many_tries":
      return { tone: "waiting", says: t("pickUp.tooMany"), next: t("pickUp.tooManySays", { s: Math.ceil(retryAfterMs / 1000) }) };
    case "order_state":
    case "nothing_left":
      return { tone: "danger", says: t("pickUp.back"), next: t("pickUp.backSays") };
    case "no_store":
      return { tone: "waiting", says: t("pickUp.noStore"), next: t("pickUp.noStoreSays") };
    default:
      return { tone: "danger", says: sayProblem(problem), code: t("common.code", { code }) };
  }
}
