/** How old something is, in one unit that fits. */
import { number, t } from "@/i18n";

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

export function ageOf(ms: number): string {
  if (ms < MINUTE) return t("age.seconds", { n: Math.max(0, Math.round(ms / 1000)) });
  if (ms < HOUR) return t("age.minutes", { n: Math.floor(ms / MINUTE) });
  return ms < DAY ? t("age.hours", { n: Math.floor(ms / HOUR) }) : t("age.days", { n: number(Math.floor(ms / DAY)) });
}
