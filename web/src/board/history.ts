/**
 * What the page itself has seen: a short memory of the tiles and of the stock.
 *
 * The board's answer says how things are now; a tile's change ("+12 in the last minute") is the
 * difference to what this page saw then, and is left out until there is something to compare.
 */
import type { Board, BoardStock, BoardTiles } from "./types";

export const HISTORY_MAX = 600;
export const CHANGE_MS = 60_000;

export interface Seen {
  at_ms: number;
  tiles: BoardTiles;
  available: number;
}

export interface Change {
  by: number;
  over_ms: number;
}

/** All units that can be claimed right now. */
export function availableOf(board: Board): number {
  return board.offers.reduce((sum, offer) => sum + offer.available, 0);
}

/** The memory with this answer added; the same answer twice is remembered once. */
export function remember(seen: readonly Seen[], board: Board): Seen[] {
  const last = seen.at(-1);
  if (last && last.at_ms >= board.at_ms) return [...seen];
  const next = { at_ms: board.at_ms, tiles: board.tiles, available: availableOf(board) };
  return [...seen, next].slice(-HISTORY_MAX);
}

/** How a tile moved within the last minute, or since the page was opened if that is less. */
export function changeOf(seen: readonly Seen[], tile: keyof BoardTiles): Change | null {
  const last = seen.at(-1);
  const from = last && seen.find((one) => one.at_ms >= last.at_ms - CHANGE_MS);
  if (!last || !from || last.at_ms - from.at_ms < 5_000) return null;
  const [now, before] = [last.tiles[tile], from.tiles[tile]];
  if (now === null || before === null) return null;
  return { by: now - before, over_ms: last.at_ms - from.at_ms };
}

/** The stock line: the server's if it keeps one, else what this page saw. */
export function stockLine(board: Board, seen: readonly Seen[]): BoardStock[] {
  if (board.stock?.length) return board.stock;
  return seen.map(({ at_ms, available }) => ({ at_ms, available }));
}
