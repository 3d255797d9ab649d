/** Why money goes back, in words; a cause without one is shown as it is. */
import { has, t } from "@/i18n";

export function causeWord(cause: string): string {
  const word = cause.split(":")[0] ?? "";
  const key = `orders.cause.${word.startsWith("wrong") ? "wrong" : word}`;
  return has(key) ? t(key) : cause;
}
