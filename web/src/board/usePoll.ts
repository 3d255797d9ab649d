/**
 * Asks again and again, one request at a time, and says when what is shown has become old.
 *
 * After a failure the wait doubles up to `BACK_OFF_MAX_MS`; the last good answer stays, and
 * `stale_ms` counts from it. Nothing is asked while the tab is hidden.
 */
import { computed, onBeforeUnmount, onMounted, ref, shallowRef, type ComputedRef, type Ref } from "vue";

export const EVERY_MS = 1_000;
export const BACK_OFF_MAX_MS = 15_000;
export const STALE_AFTER_MS = 4_000;

export interface Poll<T> {
  answer: Ref<T | null>;
  error: Ref<unknown>;
  failures: Ref<number>;
  age_ms: ComputedRef<number>;
  stale: ComputedRef<boolean>;
  retry: () => void;
}

/** The wait before the next question, after so many failures in a row. */
export function waitMs(failures: number, everyMs: number): number {
  return failures === 0 ? everyMs : Math.min(BACK_OFF_MAX_MS, everyMs * 2 ** Math.min(failures, 10));
}

export function usePoll<T>(ask: () => Promise<T>, everyMs = EVERY_MS): Poll<T> {
  const answer = shallowRef<T | null>(null);
  const error = shallowRef<unknown>(null);
  const failures = ref(0);
  const answeredAt = ref(Date.now());
  const now = ref(Date.now());
  let timer = 0;
  let ticker = 0;
  let stopped = false;
  let asking = false;

  async function once(): Promise<void> {
    window.clearTimeout(timer);
    if (stopped || asking) return;
    asking = true;
    try {
      answer.value = await ask();
      error.value = null;
      failures.value = 0;
      answeredAt.value = now.value = Date.now();
    } catch (caught) {
      error.value = caught;
      failures.value += 1;
    } finally {
      asking = false;
    }
    if (!stopped && !document.hidden) {
      timer = window.setTimeout(() => void once(), waitMs(failures.value, everyMs));
    }
  }

  function shown(): void {
    if (!document.hidden) void once();
  }

  onMounted(() => {
    void once();
    ticker = window.setInterval(() => (now.value = Date.now()), 1_000);
    document.addEventListener("visibilitychange", shown);
    window.addEventListener("online", shown); // a line that is back is not waited for
  });
  onBeforeUnmount(() => {
    stopped = true;
    window.clearTimeout(timer);
    window.clearInterval(ticker);
    document.removeEventListener("visibilitychange", shown);
    window.removeEventListener("online", shown);
  });

  const age_ms = computed(() => Math.max(0, now.value - answeredAt.value));
  const stale = computed(() => failures.value > 0 || age_ms.value > STALE_AFTER_MS + everyMs);
  return { answer, error, failures, age_ms, stale, retry: () => void once() };
}
