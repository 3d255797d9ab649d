/** The purchases of one room: one for each offer, kept while the page lives, woken by events. */
import { onScopeDispose, shallowReactive, watch } from "vue";
import { useSession } from "@/api/session";
import type { Live } from "@/live/useLive";
import { Purchase } from "./purchase";

export function usePurchases(live: Live) {
  const session = useSession("customer");
  const all = shallowReactive(new Map<string, Purchase>());

  function of(offerId: string): Purchase | null {
    const buyer = session.value?.subject;
    if (!buyer) return null;
    let purchase = all.get(offerId);
    if (!purchase) {
      purchase = new Purchase(offerId, buyer);
      all.set(offerId, purchase);
    }
    return purchase;
  }

  function stopAll(): void {
    for (const purchase of all.values()) purchase.stop();
    all.clear();
  }

  live.onEvent((event) => {
    if (event.kind !== "claim" && event.kind !== "payment") return;
    const purchase = all.get(event.offer_id);
    if (purchase?.state.press?.claim_id !== event.claim_id) return;
    purchase.wake(event.kind === "payment" ? event : undefined);
  });
  // A shard was rebuilt, or we were away: what we know of our claims may be old.
  watch([live.recovered, live.connection], () => {
    if (live.connection.value === "online") for (const purchase of all.values()) purchase.wake();
  });
  watch(() => session.value?.subject, stopAll);
  onScopeDispose(stopAll);
  return { of };
}
