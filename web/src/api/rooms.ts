/** Rooms over HTTP, in the shapes that docs/openapi.json gives them. */
import { type Answer, answer, type Problem } from "./client";
import { sessionOf, signOut, type Door } from "./session";

export interface Room {
  room_id: string;
  title: string;
  state: "scheduled" | "live" | "paused" | "ended";
  host: { guide_id: string; name: string };
  store: { store_id: string; name: string };
  starts_at_ms: number;
  went_live_at_ms?: number | null;
  shelf?: string[];
}
export interface RoomPass {
  token: string;
  expires_at_ms: number;
  gateway_url: string;
  topics: string[];
}
export interface Doors {
  rooms: string[];
  hq: { login: string; password: string };
  guides: { login: string; password: string; name: string }[];
  customers: { phone: string; nickname: string }[];
}

/** One request without a generated type; the same answers as the typed client's. */
export async function call<T>(
  method: "GET" | "POST" | "PUT",
  path: string,
  { door, body, key }: { door?: Door; body?: unknown; key?: string } = {},
): Promise<Answer<T>> {
  const session = door ? sessionOf(door) : null;
  const headers: Record<string, string> = {};
  if (session) headers["Authorization"] = `Bearer ${session.access_token}`;
  if (body !== undefined) headers["Content-Type"] = "application/json";
  if (key) headers["Idempotency-Key"] = key;
  const sent = fetch(path, {
    method,
    headers,
    body: body === undefined ? undefined : JSON.stringify(body),
    signal: AbortSignal.timeout(10_000),
  });
  return answer<T>(
    sent.then(async (response) => {
      if (response.status === 401 && session && door) signOut(door);
      const said: unknown = await response.json().catch(() => ({}));
      return response.ok ? { data: said as T, response } : { error: said, response };
    }),
  );
}

export async function listRooms(): Promise<Answer<Room[]>> {
  const got = await call<{ rooms: Room[] }>("GET", "/v1/rooms");
  return got.ok ? { ok: true, data: got.data.rooms } : got;
}

export const readRoom = (roomId: string): Promise<Answer<Room>> =>
  call("GET", `/v1/rooms/${encodeURIComponent(roomId)}`);

/** A pass for the gateway: the room, and for a customer also their own topic. */
export const roomPass = (roomId: string, door: Door): Promise<Answer<RoomPass>> =>
  call("POST", `/v1/rooms/${encodeURIComponent(roomId)}/token`, { door });

/** The demo's sign-ins; null where there are none (production). */
export async function demoDoors(): Promise<Doors | null> {
  const got = await call<Doors>("GET", "/v1/demo/doors");
  return got.ok ? got.data : null;
}

export type { Problem };
