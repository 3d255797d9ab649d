/**
 * The catalogue: one file per language (and one for the staff's pages, for teams, for what comes after), the same keys in each (a test checks it).
 *
 * `t("stock.left", { n: 38 })` fills `{n}`. Money and time are written by locale here and nowhere
 * else. The language is the reader's: `?lang=`, then what they chose, then the browser's.
 */
import { computed, ref } from "vue";
import { afterEn } from "./after.en";
import { afterZhCN } from "./after.zh-CN";
import { en } from "./en";
import { staffEn } from "./staff.en";
import { staffZhCN } from "./staff.zh-CN";
import { teamEn } from "./team.en";
import { teamZhCN } from "./team.zh-CN";
import { zhCN } from "./zh-CN";

const zh = { ...zhCN, ...staffZhCN, ...teamZhCN, ...afterZhCN };
export type Key = keyof typeof zh;
export type Locale = "zh-CN" | "en";
export const catalogues: Record<Locale, Record<Key, string>> = {
  "zh-CN": zh,
  en: { ...en, ...staffEn, ...teamEn, ...afterEn },
};

const STORED = "kaituan.lang";

function first(): Locale {
  const asked = new URLSearchParams(window.location.search).get("lang") ?? read() ?? navigator.language;
  return asked.toLowerCase().startsWith("zh") ? "zh-CN" : "en";
}

function read(): string | null {
  try {
    return localStorage.getItem(STORED);
  } catch {
    return null;
  }
}

export const locale = ref<Locale>(first());
document.documentElement.lang = locale.value;

export function setLocale(next: Locale): void {
  locale.value = next;
  document.documentElement.lang = next;
  try {
    localStorage.setItem(STORED, next);
  } catch {
    // Not kept: it holds until the page is reloaded.
  }
}

export function t(key: Key, values: Record<string, string | number> = {}): string {
  const text = catalogues[locale.value][key];
  return text.replace(/\{(\w+)\}/g, (whole, name: string) => String(values[name] ?? whole));
}

/** Whether the catalogue has such a key (problem codes are looked up so). */
export function has(key: string): key is Key {
  return key in zh;
}

const yuan = computed(() => new Intl.NumberFormat(locale.value, { minimumFractionDigits: 2 }));
const day = computed(
  () => new Intl.DateTimeFormat(locale.value, { month: "short", day: "numeric", hour: "2-digit", minute: "2-digit", hourCycle: "h23" }),
);
const count = computed(() => new Intl.NumberFormat(locale.value));

/** Fen as ¥ with yuan and fen. Whole numbers in, so nothing is lost. */
export function money(fen: number): string {
  return `¥${yuan.value.format(fen / 100)}`;
}
/** A time of the server, ms, as day and minute of the reader's zone. */
export function when(ms: number): string {
  return day.value.format(ms);
}
export function number(n: number): string {
  return count.value.format(n);
}
/** What is left, ms, as mm:ss or hh:mm:ss; the last second stays visible until it is over. */
export function left(ms: number): string {
  const s = Math.max(0, Math.ceil(ms / 1000));
  const pad = (n: number): string => String(n).padStart(2, "0");
  const hours = Math.floor(s / 3600);
  return (hours ? `${pad(hours)}:` : "") + `${pad(Math.floor((s % 3600) / 60))}:${pad(s % 60)}`;
}
