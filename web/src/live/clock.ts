/**
 * The server's clock on this device: countdowns and prices go by it, never by the phone's own.
 *
 * An answer to a ping is known to half its round trip; the quickest of the last few is the best.
 * What the server merely sends along is late by an unknown time, so it only counts at first.
 */
import { computed, onScopeDispose, ref, type ComputedRef, type Ref } from "vue";

const SAMPLES_MAX = 8;

export class ServerClock {
  /** Server minus device, ms. */
  readonly offset: Ref<number> = ref(0);
  private samples: { trip: number; offset: number }[] = [];

  now(): number {
    return Date.now() + this.offset.value;
  }

  /** A time the server sent along with something else. */
  told(serverMs: number): void {
    if (this.samples.length === 0) this.offset.value = serverMs - Date.now();
  }

  /** The answer to a question asked at `askedMs` (device). */
  answered(askedMs: number, serverMs: number): void {
    const trip = Date.now() - askedMs;
    if (trip < 0 || trip > 10_000) return; // the device's clock was set meanwhile
    this.samples.push({ trip, offset: serverMs - (askedMs + trip / 2) });
    if (this.samples.length > SAMPLES_MAX) this.samples.shift();
    const best = this.samples.reduce((a, b) => (b.trip < a.trip ? b : a));
    this.offset.value = Math.round(best.offset);
  }
}

/** One clock per page: HTTP answers and the socket feed the same. */
export const serverClock = new ServerClock();

/** The server's now, ms, moving `everyMs` while the calling component lives. */
export function useNow(everyMs = 250): ComputedRef<number> {
  const tick = ref(0);
  const timer = setInterval(() => tick.value++, everyMs);
  onScopeDispose(() => clearInterval(timer));
  return computed(() => (tick.value, serverClock.now()));
}
