/** A refusal in one sentence for people: the catalogue's own words, else what the server said. */
import type { Problem } from "@/api/client";
import { has, t } from "@/i18n";

export function sayProblem(problem: Problem): string {
  const key = `error.${problem.code}`;
  if (has(key)) return t(key);
  const said = `${problem.title} ${problem.detail}`.trim();
  return said || t("staff.failed", { code: problem.code });
}
