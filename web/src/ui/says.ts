/** What a refused request means, in the reader's words; the code stays beside it for support. */
import type { Problem } from "@/api/client";
import { has, locale, t } from "@/i18n";

export function saysOf(problem: Problem): string {
  const key = `error.${problem.code}`;
  if (has(key)) return t(key);
  if (problem.status === 503) return t("error.busy");
  const said = `${problem.title} ${problem.detail}`.trim();
  return locale.value === "en" && said ? said : t("error.unknown");
}
