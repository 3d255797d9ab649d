/** Rooms over HTTP, in the shapes that docs/openapi.json gives them. */
import { answer, apiFor, type Answer, type Schemas } from "./client";
import { sessionOf, signOut, type Door } from "./session";

type States = "scheduled" | "live" | "paused" | "ended";
export type Room = Omit<Schemas["RoomView"], "state"> & { state: States };
export type RoomPass = Schemas["RoomTokenOut"];
export type Doors = Schemas["DoorsOut"];

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
      if (response.status === 401 && session && door) signOut(door, true);
      const said: unknown = await response.json().catch(() => ({}));
      return response.ok ? { data: said as T, response } : { error: said, response };
    }),
  );
}

export async function listRooms(): Promise<Answer<Room[]>> {
  const got = await answer(apiFor("nobody").GET("/v1/rooms"));
  return got.ok ? { ok: true, data: got.data.rooms as Room[] } : got;
}

export async function readRoom(roomId: string): Promise<Answer<Room>> {
  const params = { path: { room_id: roomId } };
  const got = await answer(apiFor("nobody").GET("/v1/rooms/{room_id}", { params }));
  return got.ok ? { ok: true, data: got.data as Room } : got;
}

/** A pass for the gateway: the room, and for who is signed in also their own topic. */
export function roomPass(roomId: string, door: Door): Promise<Answer<RoomPass>> {
  const params = { path: { room_id: roomId } };
  return answer(apiFor(door).POST("/v1/rooms/{room_id}/token", { params }));
}

/** The demo's sign-ins; null where there are none (production). */
export async function demoDoors(): Promise<Doors | null> {
  const got = await answer(apiFor("nobody").GET("/v1/demo/doors"));
  return got.ok ? got.data : null;
}
