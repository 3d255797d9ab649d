/** Fetch a file with the sign-in (a plain link would have none) and hand it to the browser. */
import { answer, type Problem } from "./client";
import { sessionOf, type Door } from "./session";

const FILE_TIMEOUT_MS = 60_000;

/** Null when it is with the browser, else why not. */
export async function download(door: Door, path: string, name: string): Promise<Problem | null> {
  const token = sessionOf(door)?.access_token ?? "";
  const response = await fetch(path, {
    headers: { Authorization: `Bearer ${token}` },
    signal: AbortSignal.timeout(FILE_TIMEOUT_MS),
  }).catch(() => null);
  if (!response?.ok) {
    const error: unknown = await response?.json().catch(() => ({}));
    const sent = { error, response: response ?? new Response(null, { status: 504 }) };
    const got = await answer<never>(Promise.resolve(sent));
    if (got.ok) throw new Error("a refusal was expected");
    return got.problem;
  }
  const link = document.createElement("a");
  link.href = URL.createObjectURL(await response.blob());
  link.download = name;
  link.click();
  window.setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
  return null;
}
