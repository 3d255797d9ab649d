/** Why a comment was refused, in the reader's words: the gateway speaks English to machines. */
import { has, t } from "@/i18n";

export function refusalOf(code: string): string {
  if (code === "not_live") return t("room.saidNotLive");
  const key = `said.${code}`;
  return t("room.saidRefused", { says: t(has(key) ? key : "said.other") });
}
