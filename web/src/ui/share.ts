/** Send a link on: the phone's own dialog where there is one, else the clipboard. */

export type Shared = "shared" | "copied" | "neither";

export async function shareLink(url: string, title: string): Promise<Shared> {
  if (typeof navigator.share === "function") {
    try {
      await navigator.share({ url, title });
      return "shared";
    } catch (error) {
      if (error instanceof DOMException && error.name === "AbortError") return "neither"; // closed again
    }
  }
  try {
    await navigator.clipboard.writeText(url);
    return "copied";
  } catch {
    return "neither";
  }
}
