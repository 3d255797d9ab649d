/**
 * Who is signed in at which door. Kept per tab (sessionStorage) and per door, so that a customer,
 * a guide and HQ can be open side by side; a session that has expired is none.
 */
import { computed, reactive, type ComputedRef } from "vue";

export type Door = "customer" | "guide" | "hq";
export interface Session {
  access_token: string;
  expires_at_ms: number;
  role: string;
  subject: string;
  name: string;
  guide_id?: string | null; // of a guide
}

const DOORS: readonly Door[] = ["customer", "guide", "hq"];
const keyOf = (door: Door): string => `kaituan.session.${door}`;

function stored(door: Door): Session | null {
  try {
    const session = JSON.parse(sessionStorage.getItem(keyOf(door)) ?? "null") as Session | null;
    return session && session.expires_at_ms > Date.now() ? session : null;
  } catch {
    return null;
  }
}

const sessions = reactive(
  Object.fromEntries(DOORS.map((door) => [door, stored(door)])) as Record<Door, Session | null>,
);

/** Whose sign-in ran out, until they sign in again: their page says so. */
export const lapsed = reactive<Record<Door, boolean>>({ customer: false, guide: false, hq: false });

export function sessionOf(door: Door): Session | null {
  const session = sessions[door];
  return session && session.expires_at_ms > Date.now() ? session : null;
}

export function useSession(door: Door): ComputedRef<Session | null> {
  return computed(() => sessionOf(door));
}

export function signedIn(door: Door, session: Session): void {
  sessions[door] = session;
  lapsed[door] = false;
  try {
    sessionStorage.setItem(keyOf(door), JSON.stringify(session));
  } catch {
    // No storage: signed in until the tab is reloaded.
  }
}

/** `isLapsed`: the server no longer takes the token. */
export function signOut(door: Door, isLapsed = false): void {
  lapsed[door] = isLapsed;
  sessions[door] = null;
  try {
    sessionStorage.removeItem(keyOf(door));
  } catch {
    // nothing was stored
  }
}
