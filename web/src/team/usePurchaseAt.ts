/** A purchase for each place of a page (a team, or "a new one"), of whoever is signed in. */
import { onScopeDispose, shallowReactive, watch } from "vue";
import { useSession } from "@/api/session";
import { Purchase } from "@/room/purchase";

export function usePurchaseAt() {
  const session = useSession("customer");
  const all = shallowReactive(new Map<string, Purchase>());

  function at(offerId: string, place: string): Purchase | null {
    const buyer = session.value?.subject;
    if (!buyer || !offerId) return null;
    let purchase = all.get(place);
    if (!purchase) {
      purchase = new Purchase(offerId, buyer, place);
      all.set(place, purchase);
    }
    return purchase;
  }
  function stopAll(): void {
    for (const purchase of all.values()) purchase.stop();
    all.clear();
  }
  watch(() => session.value?.subject, stopAll);
  onScopeDispose(stopAll);
  return { at };
}
