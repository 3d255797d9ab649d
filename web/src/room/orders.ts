/** My orders and what money is on its way back; read while the list is open, and when told. */
import { onScopeDispose, reactive, ref, watch, type Ref } from "vue";
import { answer, apiFor, newKey, type Problem, type Schemas } from "@/api/client";
import type { Live } from "@/live/useLive";

export type Order = Schemas["OrderView"];
export type Refund = Schemas["RefundView"];

const SHOWN_MAX = 20;
const POLL_MS = 3_000;

/** `live`: the room that tells of changes; without one they are only read now and then. */
export function useOrders(open: Ref<boolean>, live?: Live) {
  const api = apiFor("customer");
  const orders = ref<Order[] | null>(null);
  const refunds = reactive(new Map<string, Refund[]>());
  const names = reactive(new Map<string, string>());
  const isLost = ref(false);
  const keys = new Map<string, string>(); // one Idempotency-Key per (order, units) asked for
  let timer: ReturnType<typeof setTimeout> | undefined;

  async function read(): Promise<void> {
    clearTimeout(timer);
    const got = await answer(api.GET("/v1/orders", { params: { query: { limit: SHOWN_MAX } } }));
    isLost.value = !got.ok;
    if (got.ok) {
      orders.value = got.data.orders;
      await Promise.all(got.data.orders.map(refundsOf));
      await Promise.all(got.data.orders.map((order) => nameOf(order.offer_id)));
    }
    if (open.value) timer = setTimeout(() => void read(), POLL_MS);
  }

  /** Only what can have any: an order that ended, or one that already gave something back. */
  async function refundsOf(order: Order): Promise<void> {
    const over = !["open", "paid"].includes(order.state) || order.refunded_fen > 0 || refunds.has(order.order_id);
    const known = refunds.get(order.order_id);
    const isSettled = known?.length && known.every((one) => one.state === "done");
    if (!over || (isSettled && order.refunded_fen === sum(known))) return;
    const path = { order_id: order.order_id };
    const got = await answer(api.GET("/v1/orders/{order_id}/refunds", { params: { path } }));
    if (got.ok && (got.data.refunds.length || known)) refunds.set(order.order_id, got.data.refunds);
  }

  async function nameOf(offerId: string): Promise<void> {
    const here = live?.offerOf(offerId)?.name ?? names.get(offerId);
    if (here) {
      names.set(offerId, here);
      return;
    }
    const got = await answer(api.GET("/v1/offers/{offer_id}", { params: { path: { offer_id: offerId } } }));
    if (got.ok) names.set(offerId, got.data.sku_name);
  }

  /** Ask once: the key stays with (order, units) until it was answered. */
  async function giveBack(order: Order, units: number): Promise<Problem | null> {
    const what = `${order.order_id}-${units}`;
    const key = keys.get(what) ?? newKey("rfd");
    keys.set(what, key);
    const got = await answer(
      api.POST("/v1/orders/{order_id}/refunds", {
        params: { path: { order_id: order.order_id }, header: { "Idempotency-Key": key } },
        body: { units },
      }),
    );
    if (!got.ok) return got.problem;
    keys.delete(what);
    refunds.set(order.order_id, [...(refunds.get(order.order_id) ?? []), got.data]);
    void read();
    return null;
  }

  watch(open, (is) => (is ? void read() : clearTimeout(timer)), { immediate: true });
  const off = live?.onEvent((event) => {
    if (open.value && (event.kind === "claim" || event.kind === "payment")) void read();
  });
  onScopeDispose(() => {
    clearTimeout(timer);
    off?.();
  });
  return { orders, refunds, names, isLost, giveBack };
}

const sum = (refunds: Refund[]): number => refunds.reduce((all, one) => all + one.amount_fen, 0);
