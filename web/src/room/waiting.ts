/**
 * The waiting list of one offer, for who looks at it: join, place, leave. `me` tells what became of
 * it; units that come free are held as a claim like any other, which the purchase then follows.
 */
import { computed, onScopeDispose, reactive, ref, shallowRef, watch, type ComputedRef, type Ref } from "vue";
import { answer, apiFor, isPassing, newKey, type Problem, type Schemas } from "@/api/client";
import { useSession } from "@/api/session";
import { usePolled } from "@/live/usePolled";
import type { ClaimEvent } from "@/live/protocol";
import type { Live } from "@/live/useLive";

const EVERY_MS = 3_000;
const REPEAT_MS = 1_000;
const REPEATS_MAX = 20;

export type WaitState = "none" | "waiting" | "skipped";

/** Claims that were there before their buyer began to wait: paying one of them serves no wish. */
const earlier = new Set<string>();

/** The claim that a wish became: of this offer, told after the wish was. */
export function servedOf(live: Live, offerId: string): ClaimEvent | undefined {
  const wait = live.waitOf(offerId);
  if (!wait || wait.state === "left") return undefined;
  const claims = live.claims.value.filter((one) => one.offer_id === offerId);
  for (const one of claims) if (one.at_ms < wait.at_ms) earlier.add(one.claim_id);
  return claims.filter((one) => !earlier.has(one.claim_id)).sort((a, b) => b.at_ms - a.at_ms)[0];
}

export type Waiting = ReturnType<typeof useWaiting>;

export function useWaiting(live: Live, offerId: Ref<string>) {
  const session = useSession("customer");
  const api = apiFor("customer");
  const mine = reactive({ place: null as number | null, before: null as number | null });
  const about = shallowRef<Schemas["OfferView"] | null>(null);
  const busy = ref(false);
  const problem = ref<Problem | null>(null);
  const joinedAtMs = ref(0); // until `me` tells it, too
  let key = "";
  let timer: ReturnType<typeof setTimeout> | undefined;

  const told = computed(() => live.waitOf(offerId.value));
  const served = computed(() => servedOf(live, offerId.value));
  const state: ComputedRef<WaitState> = computed(() => {
    const is = told.value;
    if (served.value) return "none";
    if (is?.state === "waiting" || joinedAtMs.value > (is?.at_ms ?? 0)) return "waiting";
    return is?.state === "skipped" ? "skipped" : "none";
  });

  /** How long a held unit waits for its payment, and how many wait: only the offer's page tells. */
  async function read(): Promise<void> {
    const offer_id = offerId.value;
    const got = await answer(apiFor("nobody").GET("/v1/offers/{offer_id}", { params: { path: { offer_id } } }));
    if (got.ok && offer_id === offerId.value) about.value = got.data;
  }

  const { now: look } = usePolled(async () => {
    if (state.value !== "waiting" || !session.value) return null;
    const got = await answer(
      api.GET("/v1/offers/{offer_id}/waiting", { params: { path: { offer_id: offerId.value } } }),
    );
    if (got.ok) Object.assign(mine, { place: got.data.place ?? null, before: got.data.before ?? null });
    return EVERY_MS;
  });
  watch(state, () => {
    void look();
    void read();
  }, { immediate: true });
  watch(told, () => (joinedAtMs.value = 0));
  watch([offerId, () => session.value?.subject], () => {
    Object.assign(mine, { place: null, before: null });
    joinedAtMs.value = 0;
    problem.value = null;
    void read();
  });

  /** Once a press; the same key until the server has decided. */
  async function join(qty: number, price_id: string): Promise<void> {
    if (busy.value) return;
    busy.value = true;
    problem.value = null;
    key = newKey("wait");
    await ask(qty, price_id, 0);
  }
  async function ask(qty: number, price_id: string, repeats: number): Promise<void> {
    const got = await answer(
      api.POST("/v1/offers/{offer_id}/waiting", {
        params: { path: { offer_id: offerId.value }, header: { "Idempotency-Key": key } },
        body: { qty, price_id },
      }),
    );
    if (!got.ok && isPassing(got.problem) && repeats < REPEATS_MAX) {
      timer = setTimeout(() => void ask(qty, price_id, repeats + 1), Math.max(REPEAT_MS, got.problem.retryAfterMs));
      return;
    }
    busy.value = false;
    if (!got.ok) problem.value = got.problem;
    else if (got.data.state === "waiting") {
      Object.assign(mine, { place: got.data.place ?? null, before: got.data.before ?? null });
      joinedAtMs.value = live.clock.now();
    }
  }

  async function leave(): Promise<void> {
    if (busy.value) return;
    busy.value = true;
    problem.value = null;
    const params = { path: { offer_id: offerId.value } };
    const got = await answer(api.DELETE("/v1/offers/{offer_id}/waiting", { params }));
    busy.value = false;
    joinedAtMs.value = 0;
    if (!got.ok) problem.value = got.problem;
  }
  onScopeDispose(() => clearTimeout(timer));
  return { state, served, told, mine, about, busy, problem, read, join, leave };
}
