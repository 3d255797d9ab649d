/** Goods after the sale: what a store needs, has and hands over; where an order is picked up. */
import { answer, apiFor, type Answer, type Schemas } from "@/api/client";
import type { Door } from "@/api/session";

export type Staff = Exclude<Door, "customer">;
export type StockingLine = Schemas["StockingLine"];
export type StockingPage = Schemas["StockingPage"];
export type Ready = Schemas["ReadyOut"];
export type PickUp = Schemas["PickUpView"];
export type HandedOver = Schemas["PickUpOut"];

const PAGE = 100;
export const CSV_PATH = "/v1/stocking-list.csv";

export function stockingList(door: Staff, after: string | null): Promise<Answer<StockingPage>> {
  const query = { limit: PAGE, after: after ?? undefined };
  return answer(apiFor(door).GET("/v1/stocking-list", { params: { query } }));
}

/** The goods of this offer are in this store: its orders become ready, each with a pick-up code. */
export function makeReady(door: Staff, offer_id: string, store_id: string): Promise<Answer<Ready>> {
  return answer(apiFor(door).POST("/v1/stocking-list/ready", { body: { offer_id, store_id } }));
}

/** Hand over what this code stands for, once. */
export function handOver(code: string): Promise<Answer<HandedOver>> {
  return answer(apiFor("guide").POST("/v1/pick-ups", { body: { code } }));
}

export function pickUpOf(order_id: string): Promise<Answer<PickUp>> {
  return answer(apiFor("customer").GET("/v1/orders/{order_id}/pick-up", { params: { path: { order_id } } }));
}

export function chooseStore(order_id: string, store_id: string): Promise<Answer<PickUp>> {
  const params = { path: { order_id } };
  return answer(apiFor("customer").PUT("/v1/orders/{order_id}/pick-up-store", { params, body: { store_id } }));
}
