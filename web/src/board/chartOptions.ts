/**
 * The evening in one chart: claims and payments per second above, stock below, one time axis.
 *
 * Two grids with linked axes: what a flash start or a pin did can be read straight down from its
 * mark to the stock. Pure: the same board, words, colours and width give the same options.
 */
import type { EChartsCoreOption } from "echarts/core";

import { timeOfDay } from "./figures";
import type { Board, BoardMark, BoardStock } from "./types";

export interface ChartWords {
  claims: string;
  paid: string;
  stock: string;
  number: (n: number) => string;
  mark: (mark: BoardMark) => string;
}

export interface ChartColours {
  claims: string;
  paid: string;
  stock: string;
  ink: string;
  quiet: string;
  line: string;
  card: string;
  tint: string;
}

export const MARKS_MAX = 12;
const LANES = 2;
const LABEL_PX = 156; // the widest words with their padding, and some air
const SIDES_PX = 68; // left and right of the grid
export const SPAN_MS = 600_000;

type Point = [number, number];

/** A per-second series in which a second without anything is a zero, not a gap. */
export function everySecond(points: readonly Point[], from_ms: number, to_ms: number): Point[] {
  const found = new Map(points.map(([at, n]) => [Math.floor(at / 1000), n]));
  const out: Point[] = [];
  for (let s = Math.ceil(from_ms / 1000); s < Math.floor(to_ms / 1000); s += 1) {
    out.push([s * 1000, found.get(s) ?? 0]);
  }
  return out;
}

/** From where the axis runs: ten minutes at most, less while little has happened. */
export function axisStart(board: Board, stock: readonly BoardStock[]): number {
  const busy = board.series.find((one) => one.claims > 0 || one.paid > 0);
  const first = [busy?.at_ms, stock[0]?.at_ms, board.marks[0]?.at_ms];
  const known = first.filter((at): at is number => at !== undefined);
  const earliest = Math.min(board.at_ms - 60_000, ...known.map((at) => at - 10_000));
  return Math.max(board.at_ms - SPAN_MS, earliest);
}

export interface Placed {
  mark: BoardMark;
  lane: number | null; // null: its line stands, but there is no room for its words
  align: "left" | "center" | "right";
}

/**
 * Words of marks on two levels, never on each other nor beyond the chart of so many pixels; a
 * flash start has the first choice.
 */
export function placeMarks(
  marks: readonly BoardMark[],
  from_ms: number,
  to_ms: number,
  widthPx: number,
): Placed[] {
  const label = Math.min(1, LABEL_PX / Math.max(1, widthPx - SIDES_PX));
  const span = Math.max(1, to_ms - from_ms);
  const taken: number[][] = Array.from({ length: LANES }, () => []);
  const first = (mark: BoardMark): number => (mark.kind === "flash_start" ? 0 : 1);
  return [...marks]
    .sort((a, b) => first(a) - first(b) || b.at_ms - a.at_ms)
    .map((mark) => {
      const x = (mark.at_ms - from_ms) / span;
      const align = x < label / 2 ? "left" : x > 1 - label / 2 ? "right" : "center";
      const middle = x + { left: 0.5, center: 0, right: -0.5 }[align] * label;
      const free = taken.findIndex((lane) => lane.every((one) => Math.abs(one - middle) > label));
      taken[free]?.push(middle);
      return { mark, lane: free < 0 ? null : free, align };
    });
}

function markLine(
  placed: readonly Placed[],
  words: ChartWords,
  colours: ChartColours,
  labelled: boolean,
): object {
  return {
    silent: true,
    symbol: "none",
    animation: false,
    lineStyle: { color: colours.quiet, type: [3, 4], width: 1, opacity: 0.75 },
    label: {
      show: labelled,
      color: colours.ink,
      fontSize: 12,
      backgroundColor: colours.tint,
      padding: [3, 8],
      borderRadius: 20,
      formatter: "{b}",
      overflow: "truncate",
      width: 132,
    },
    data: placed.map(({ mark, lane, align }) => ({
      name: words.mark(mark),
      xAxis: mark.at_ms,
      label: { show: labelled && lane !== null, distance: 4 + 24 * (lane ?? 0), align },
    })),
  };
}

function axes(from_ms: number, board: Board, words: ChartWords, colours: ChartColours): object {
  const shared = {
    type: "time",
    min: from_ms,
    max: board.at_ms,
    axisLine: { lineStyle: { color: colours.line } },
    axisTick: { show: false },
    splitLine: { show: false },
  };
  const label = {
    color: colours.quiet,
    fontSize: 12,
    hideOverlap: true,
    formatter: (at: number) => timeOfDay(at, board.zone),
  };
  const value = {
    type: "value",
    min: 0,
    minInterval: 1,
    splitNumber: 3,
    axisLabel: { color: colours.quiet, fontSize: 12, formatter: words.number },
    splitLine: { lineStyle: { color: colours.line } },
    nameTextStyle: { color: colours.quiet, fontSize: 12, align: "left", padding: [0, 0, 4, -44] },
  };
  return {
    xAxis: [
      { ...shared, gridIndex: 0, axisLabel: { show: false } },
      { ...shared, gridIndex: 1, axisLabel: label },
    ],
    yAxis: [
      { ...value, gridIndex: 0 },
      { ...value, gridIndex: 1, splitNumber: 2 },
    ],
  };
}

function lines(
  board: Board,
  stock: readonly BoardStock[],
  words: ChartWords,
  colours: ChartColours,
  from_ms: number,
  widthPx: number,
): object[] {
  const recent = board.marks.filter((mark) => mark.at_ms >= from_ms).slice(-MARKS_MAX);
  const marks = placeMarks(recent, from_ms, board.at_ms, widthPx);
  const upper = (points: readonly Point[]): Point[] => everySecond(points, from_ms, board.at_ms);
  const plain = { type: "line", symbol: "none", animation: false };
  return [
    {
      ...plain,
      name: words.claims,
      data: upper(board.series.map((s) => [s.at_ms, s.claims])),
      lineStyle: { color: colours.claims, width: 2 },
      itemStyle: { color: colours.claims },
      areaStyle: { color: colours.claims, opacity: 0.1 },
      markLine: markLine(marks, words, colours, true),
    },
    {
      ...plain,
      name: words.paid,
      data: upper(board.series.map((s) => [s.at_ms, s.paid])),
      lineStyle: { color: colours.paid, width: 2, type: [6, 3] },
      itemStyle: { color: colours.paid },
    },
    {
      ...plain,
      name: words.stock,
      xAxisIndex: 1,
      yAxisIndex: 1,
      step: "end",
      data: stock.filter((one) => one.at_ms >= from_ms).map((one) => [one.at_ms, one.available]),
      lineStyle: { color: colours.stock, width: 2 },
      itemStyle: { color: colours.stock },
      areaStyle: { color: colours.stock, opacity: 0.08 },
      markLine: markLine(marks, words, colours, false),
    },
  ];
}

/** Everything that ECharts needs for the board's chart. */
export function boardChart(
  board: Board,
  stock: readonly BoardStock[],
  words: ChartWords,
  colours: ChartColours,
  widthPx: number,
): EChartsCoreOption {
  const from_ms = axisStart(board, stock);
  return {
    animation: false,
    grid: [
      { left: 52, right: 16, top: 60, height: 150 },
      { left: 52, right: 16, top: 246, height: 92 },
    ],
    axisPointer: { link: [{ xAxisIndex: "all" }] },
    tooltip: {
      trigger: "axis",
      backgroundColor: colours.card,
      borderColor: colours.line,
      textStyle: { color: colours.ink, fontSize: 13 },
      valueFormatter: (n: unknown) => (typeof n === "number" ? words.number(n) : "–"),
    },
    ...axes(from_ms, board, words, colours),
    series: lines(board, stock, words, colours, from_ms, widthPx),
  };
}
