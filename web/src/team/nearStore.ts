/** The store of the room that this tab was in last: its teams are offered first. */

const KEY = "kaituan.store";

export function rememberStore(storeId: string): void {
  try {
    sessionStorage.setItem(KEY, storeId);
  } catch {
    // No storage: no store is preferred.
  }
}

export function nearStore(): string {
  try {
    return sessionStorage.getItem(KEY) ?? "";
  } catch {
    return "";
  }
}
