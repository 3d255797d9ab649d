/** English of the guide's desk and HQ's board. The same keys as staff.zh-CN.ts. */
import type { staffZhCN } from "./staff.zh-CN";

export const staffEn: Record<keyof typeof staffZhCN, string> = {};
