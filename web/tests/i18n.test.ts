/** The catalogues: the same keys everywhere, no key twice, the same `{values}` in both languages. */
import { expect, test } from "vitest";
import { afterEn } from "../src/i18n/after.en";
import { afterZhCN } from "../src/i18n/after.zh-CN";
import { en } from "../src/i18n/en";
import { staffEn } from "../src/i18n/staff.en";
import { staffZhCN } from "../src/i18n/staff.zh-CN";
import { teamEn } from "../src/i18n/team.en";
import { teamZhCN } from "../src/i18n/team.zh-CN";
import { zhCN } from "../src/i18n/zh-CN";

const zh: Record<string, string> = { ...zhCN, ...staffZhCN, ...teamZhCN, ...afterZhCN };
const english: Record<string, string> = { ...en, ...staffEn, ...teamEn, ...afterEn };
const values = (text: string | undefined): string[] => [...(text ?? "").matchAll(/\{\w+\}/g)].map((m) => m[0]).sort();

test("both languages have the same keys, and no sentence is empty", () => {
  expect(Object.keys(english).sort()).toEqual(Object.keys(zh).sort());
  for (const text of [...Object.values(zh), ...Object.values(english)]) expect(text).not.toBe("");
});

test("no catalogue overrides another", () => {
  expect(Object.keys(staffZhCN).filter((key) => key in zhCN)).toEqual([]);
  expect(Object.keys(teamZhCN).filter((key) => key in zhCN || key in staffZhCN)).toEqual([]);
  const before = { ...zhCN, ...staffZhCN, ...teamZhCN };
  expect(Object.keys(afterZhCN).filter((key) => key in before)).toEqual([]);
});

test("a sentence has the same values in both languages", () => {
  for (const key of Object.keys(zh)) expect([key, values(english[key])]).toEqual([key, values(zh[key])]);
});
