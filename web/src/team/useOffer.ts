/** One group-buy offer as it is now: price, stock, rules; asked every few seconds. */
import { ref, shallowRef, watch, type Ref } from "vue";
import type { Problem } from "@/api/client";
import { readOffer, type GroupOffer } from "@/api/teams";
import { usePolled } from "@/live/usePolled";

const EVERY_MS = 4_000;

export function useOffer(offerId: Ref<string>) {
  const offer = shallowRef<GroupOffer | null>(null);
  const problem = ref<Problem | null>(null);
  const { now: look } = usePolled(async () => {
    const asked = offerId.value;
    if (!asked) return null;
    const got = await readOffer(asked);
    if (asked !== offerId.value) return 0;
    problem.value = got.ok ? null : got.problem;
    if (got.ok) offer.value = got.data;
    return EVERY_MS;
  });
  watch(offerId, () => void look(), { immediate: true });
  return { offer, problem, look };
}
