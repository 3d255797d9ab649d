/** Figures of HQ's pages that the catalogue does not write: signs, parts, the server's clock. */

const whole = new Intl.NumberFormat("en-US");

/** 1234567 fen as `12,345` and `67`, so that the page can set the fen small. */
export function yuanParts(fen: number): { sign: string; yuan: string; fen: string } {
  const size = Math.abs(fen);
  return {
    sign: fen < 0 ? "−" : "",
    yuan: whole.format(Math.floor(size / 100)),
    fen: String(size % 100).padStart(2, "0"),
  };
}

/** A change with its sign; the minus is the real one, as wide as the plus. */
export function signed(n: number, show: (n: number) => string): string {
  if (n === 0) return "±0";
  return (n > 0 ? "+" : "−") + show(Math.abs(n));
}

/** The server's time of day in the server's zone; a zone the browser does not know: its own. */
export function timeOfDay(atMs: number, zone?: string): string {
  return inZone({ hour: "2-digit", minute: "2-digit", second: "2-digit" }, "en-GB", zone).format(atMs);
}

/** Day and minute, as a room's start is shown. */
export function dayAndTime(atMs: number, locale: string, zone?: string): string {
  const how = { month: "short", day: "numeric", hour: "2-digit", minute: "2-digit" } as const;
  return inZone(how, locale, zone).format(atMs);
}

function inZone(how: Intl.DateTimeFormatOptions, locale: string, zone?: string): Intl.DateTimeFormat {
  try {
    return new Intl.DateTimeFormat(locale, { ...how, hourCycle: "h23", timeZone: zone || undefined });
  } catch {
    return new Intl.DateTimeFormat(locale, { ...how, hourCycle: "h23" });
  }
}

/** Part of a whole in percent for a bar's width; an empty whole is an empty bar. */
export function share(part: number, of: number): number {
  return of > 0 ? Math.min(100, Math.max(0, (100 * part) / of)) : 0;
}
