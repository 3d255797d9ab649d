/** 中文。键与 en.ts 相同。 */
export const zhCN = {
  "title.landing": "开团 Kaituan",
  "title.room": "直播间 · 开团",
  "title.desk": "导购台 · 开团",
  "title.board": "总部看板 · 开团",
  "page.broken": "页面没有加载完整，可能刚刚更新过。",
  "page.reload": "重新加载",
};
