/** What is asked again and again while the page can be seen; `read` says whether to go on. */
import { onScopeDispose } from "vue";

export function usePolled(read: () => Promise<number | null>) {
  let timer: ReturnType<typeof setTimeout> | undefined;
  let isGone = false;
  let isReading = false;
  let isWanted = false;

  /** Now; `read` answers the ms until the next time, or null for "not by itself". */
  async function now(): Promise<void> {
    clearTimeout(timer);
    if (isReading) isWanted = true; // what is being read may be older than what asks
    if (isReading || isGone || document.visibilityState === "hidden") return;
    isReading = true;
    isWanted = false;
    const nextMs = await read();
    isReading = false;
    if (isWanted) void now();
    else if (nextMs !== null && !isGone) timer = setTimeout(() => void now(), nextMs);
  }
  const seen = (): void => void now();
  document.addEventListener("visibilitychange", seen);
  onScopeDispose(() => {
    isGone = true;
    clearTimeout(timer);
    document.removeEventListener("visibilitychange", seen);
  });
  return { now };
}
