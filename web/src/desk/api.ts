/** What the desk asks of the server, always as the guide who is signed in. */
import { answer, apiFor, newKey, type Answer, type Schemas } from "@/api/client";
import { call, type Room } from "@/api/rooms";

export type OfferView = Schemas["OfferView"];
export interface NewRoom {
  title: string;
  starts_at_ms: number;
  offers: string[];
}
export interface Launched {
  offer_id: string;
  starts_at_ms: number;
  ends_at_ms: number;
  in_effect: boolean;
}

const OFFERS_MAX = 100;
const path = (roomId: string, step: string): string => `/v1/rooms/${encodeURIComponent(roomId)}/${step}`;

/** The rooms that this guide hosts. */
export async function myRooms(guideId: string): Promise<Answer<Room[]>> {
  const asked = `/v1/rooms?host_guide_id=${encodeURIComponent(guideId)}`;
  const got = await call<{ rooms: Room[] }>("GET", asked, { door: "guide" });
  return got.ok ? { ok: true, data: got.data.rooms } : got;
}

/** Offers that can go on a shelf: on sale, to come, or waiting for a host to launch them. */
export async function shelfChoices(): Promise<Answer<OfferView[]>> {
  const query = { limit: OFFERS_MAX };
  const got = await answer(apiFor("nobody").GET("/v1/offers", { params: { query } }));
  if (!got.ok) return got;
  const over = new Set(["ended", "closed"]);
  return { ok: true, data: got.data.offers.filter((offer) => !over.has(offer.phase)) };
}

/** How many units an offer has; null when that cannot be read, or its stock is not opened yet. */
export async function unitsOf(offerId: string): Promise<number | null> {
  const params = { path: { offer_id: offerId } };
  const got = await answer(apiFor("nobody").GET("/v1/offers/{offer_id}", { params }));
  return (got.ok && got.data.availability.total) || null;
}

export const createRoom = (room: NewRoom): Promise<Answer<Room>> =>
  call("POST", "/v1/rooms", { door: "guide", body: room, key: newKey("room") });

export const setState = (roomId: string, step: "live" | "pause" | "end"): Promise<Answer<Room>> =>
  call("POST", path(roomId, step), { door: "guide" });

export const setPin = (roomId: string, offerId: string | null): Promise<Answer<Room>> =>
  call("PUT", path(roomId, "pin"), { door: "guide", body: { offer_id: offerId } });

export const setShelf = (roomId: string, offers: string[]): Promise<Answer<Room>> =>
  call("PUT", path(roomId, "shelf"), { door: "guide", body: { offers } });

export const launch = (roomId: string, offerId: string, countdownMs: number): Promise<Answer<Launched>> =>
  call("POST", path(roomId, "launch"), {
    door: "guide",
    body: { offer_id: offerId, countdown_ms: countdownMs },
  });
