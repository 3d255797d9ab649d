/**
 * The typed client. `apiFor(door)` signs requests with that door's session; without one they go
 * out unsigned. A lost connection is a value (`status` 0, `code` "offline"), not an exception.
 */
import createClient, { type Client } from "openapi-fetch";
import type { components, paths } from "./schema.gen";
import { lapsed, sessionOf, signOut, type Door } from "./session";

export type Schemas = components["schemas"];

/** A problem document; some codes bring members of their own (`price_id`, `starts_at_ms` …). */
export interface Problem {
  code: string;
  status: number;
  title: string;
  detail: string;
  retryAfterMs: number;
  extra: Record<string, unknown>;
}
export type Answer<T> = { ok: true; data: T } | { ok: false; problem: Problem };

const TIMEOUT_MS = 10_000;

async function bounded(request: Request): Promise<Response> {
  return fetch(new Request(request, { signal: AbortSignal.timeout(TIMEOUT_MS) }));
}

const clients = new Map<Door | "nobody", Client<paths>>();

export function apiFor(door: Door | "nobody"): Client<paths> {
  const known = clients.get(door);
  if (known) return known;
  const client = createClient<paths>({ baseUrl: window.location.origin, fetch: bounded });
  client.use({
    onRequest({ request }) {
      const session = door === "nobody" ? null : sessionOf(door);
      if (session) request.headers.set("Authorization", `Bearer ${session.access_token}`);
      return request;
    },
    onResponse({ response }) {
      // The token is no longer good: the page shows its sign-in again.
      if (response.status === 401 && door !== "nobody") signOut(door, sessionOf(door) !== null || lapsed[door]);
    },
  });
  clients.set(door, client);
  return client;
}

/** Wait for a call of the client and turn it into a value, whatever happens. */
export async function answer<T>(
  call: Promise<{ data?: T; error?: unknown; response: Response }>,
): Promise<Answer<T>> {
  try {
    const { data, error, response } = await call;
    if (response.ok) return { ok: true, data: data as T };
    return { ok: false, problem: problemOf(error, response) };
  } catch {
    return { ok: false, problem: lost() };
  }
}

function lost(): Problem {
  return { code: "offline", status: 0, title: "", detail: "", retryAfterMs: 1000, extra: {} };
}

function problemOf(error: unknown, response: Response): Problem {
  const body = (typeof error === "object" && error ? error : {}) as Record<string, unknown>;
  const text = (key: string): string => (typeof body[key] === "string" ? body[key] : "");
  return {
    code: text("code") || `http_${response.status}`,
    status: response.status,
    title: text("title"),
    detail: text("detail"),
    retryAfterMs: Number(response.headers.get("Retry-After") ?? "1") * 1000 || 1000,
    extra: body,
  };
}

/** Whether the same request may simply be sent again: nothing was decided, or nobody knows. */
export function isPassing(problem: Problem): boolean {
  return problem.status === 0 || problem.status === 503 || problem.status === 502;
}

/** 24 random letters: an Idempotency-Key, a comment's id. */
export function newKey(prefix: string): string {
  const bytes = crypto.getRandomValues(new Uint8Array(12));
  return prefix + Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
