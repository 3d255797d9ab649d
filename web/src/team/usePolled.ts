/** What is asked again and again while the page can be seen; `read` says whether to go on. */
import { onScopeDispose } from "vue";

export function usePolled(read: () => Promise<number | null>) {
  let timer: ReturnType<typeof setTimeout> | undefined;
  let isGone = false;
  let isReading = false;

  /** Now; `read` answers the ms until the next time, or null for "not by itself". */
  async function now(): Promise<void> {
    clearTimeout(timer);
    if (isReading || isGone || document.visibilityState === "hidden") return;
    isReading = true;
    const nextMs = await read();
    isReading = false;
    if (nextMs !== null && !isGone) timer = setTimeout(() => void now(), nextMs);
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
