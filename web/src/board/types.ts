/** What GET /v1/board answers. Times are milliseconds, money is whole fen. */

export interface BoardTiles {
  gmv_fen: number;
  orders: number;
  paid: number;
  refunds_fen: number;
  viewers: number | null; // null: the hot store cannot be asked
}

export interface BoardSecond {
  at_ms: number;
  claims: number;
  paid: number;
}

export interface BoardStock {
  at_ms: number;
  available: number;
}

export interface BoardOffer {
  offer_id: string;
  name: string;
  available: number;
  held: number;
  sold: number;
  total: number;
  live?: boolean; // false: of the last settled orders
}

export interface BoardMark {
  at_ms: number;
  kind: string; // flash_start, live, pause, end or pin
  what: string;
}

export interface BoardLaw {
  law: string;
  ok: boolean;
  checked: number;
  age_ms: number;
  detail?: string;
}

export interface RoomWatched {
  room_id: string;
  viewers: number;
}

export interface Board {
  at_ms: number;
  zone: string;
  since_ms: number;
  tiles: BoardTiles;
  series: BoardSecond[];
  stock?: BoardStock[];
  offers: BoardOffer[];
  marks: BoardMark[];
  rooms?: RoomWatched[];
  laws: BoardLaw[];
  not_checked?: string[];
}

export interface RoomRow {
  room_id: string;
  title: string;
  state: "scheduled" | "live" | "paused" | "ended";
  host: { guide_id: string; name: string };
  store: { store_id: string; name: string };
  starts_at_ms: number;
}

/** Which rows stand behind a figure: the filters of GET /v1/orders. */
export interface RowsFilter {
  title: string;
  note?: string;
  state?: string;
  offer_id?: string;
  from_ms?: number;
}
