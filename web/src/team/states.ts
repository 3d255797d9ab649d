/** What a team's state means on a page: pure functions. */
import type { Team } from "@/api/teams";
import { left, money, t } from "@/i18n";
import type { Words } from "@/room/words";

export const isDecided = (team: Pick<Team, "state">): boolean => team.state === "formed" || team.state === "failed";
export const isJoinable = (team: Pick<Team, "state">): boolean => team.state === "forming" || team.state === "reached";

/** Seats that are neither paid nor the merchant's. */
export const missingOf = (team: Pick<Team, "size" | "paid" | "subsidy">): number =>
  Math.max(0, team.size - team.paid - team.subsidy);

/** Seats that nobody holds. */
export const freeOf = (team: Pick<Team, "size" | "paid" | "subsidy" | "held">): number =>
  Math.max(0, missingOf(team) - team.held);

/** The step that is not reached yet. */
export const nextStep = (team: Pick<Team, "steps" | "step">) => team.steps[team.step];

export function teamWords(team: Team, now: number): Words {
  return team.kind === "crowd" ? crowdWords(team, now) : smallWords(team, now);
}

function smallWords(team: Team, now: number): Words {
  const n = missingOf(team);
  const lasts = left(team.deadline_ms - now);
  switch (team.state) {
    case "opening":
      return { tone: "waiting", says: t("team.state.opening"), next: t("team.state.openingSays") };
    case "formed":
      return { tone: "success", says: t("team.state.formed"), next: t("team.state.formedSays", { n: team.size }) };
    case "failed":
      return team.paid === 0 // all have left
        ? { tone: "danger", says: t("team.state.failedEmpty"), next: t("team.state.failedEmptySays") }
        : { tone: "danger", says: t("team.state.failed"), next: t("team.state.failedSays") };
    case "closing":
      return closing();
    default:
      if (now >= team.deadline_ms) return closing();
      if (!team.stock_for_missing && freeOf(team) > 0) {
        return { tone: "waiting", says: t("team.state.noStock", { n }), next: t("team.state.noStockSays") };
      }
      if (freeOf(team) === 0) {
        return { tone: "waiting", says: t("team.state.formingTaken", { n }), next: t("team.state.formingSays", { size: team.size }) };
      }
      return { tone: "waiting", says: t("team.state.forming", { n, left: lasts }), next: t("team.state.formingSays", { size: team.size }) };
  }
}

const closing = (): Words => ({ tone: "waiting", says: t("team.state.closing"), next: t("team.state.closingSays") });

function crowdWords(team: Team, now: number): Words {
  const lasts = left(team.deadline_ms - now);
  const price = money(team.steps[Math.max(0, team.step - 1)]?.price_fen ?? 0);
  switch (team.state) {
    case "reached":
      if (now >= team.deadline_ms) return closing();
      return { tone: "success", says: t("crowd.state.reached", { price, left: lasts }), next: t("crowd.state.reachedSays") };
    case "formed":
      return { tone: "success", says: t("crowd.state.formed", { price }), next: t("crowd.state.formedSays") };
    case "failed":
      return { tone: "danger", says: t("crowd.state.failed"), next: howItFails(team) };
    case "closing":
      return closing();
    default: {
      if (now >= team.deadline_ms) return closing();
      const n = Math.max(0, (nextStep(team)?.seats ?? 0) - team.paid);
      const how = howItFails(team);
      return { tone: "waiting", says: t("crowd.state.forming", { n, left: lasts }), next: t("crowd.state.formingSays", { how }) };
    }
  }
}

export function howItFails(team: Pick<Team, "charging">): string {
  return t(team.charging === "regular" ? "crowd.ifFails.regular" : "crowd.ifFails.low");
}
