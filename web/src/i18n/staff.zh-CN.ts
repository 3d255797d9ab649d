/** 导购台与总部看板的中文。键与 staff.en.ts 相同。 */
export const staffZhCN = {};
