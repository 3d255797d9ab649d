/**
 * The lines over the picture: comments, and what the room itself says (pins, openings, sold out).
 * System lines are this page's words about events it heard; they are not part of the log's state.
 */
import { computed, onScopeDispose, ref } from "vue";
import { left, t } from "@/i18n";
import { serverClock } from "@/live/clock";
import type { CommentEvent, LiveEvent, TeamToldEvent } from "@/live/protocol";
import type { Live } from "@/live/useLive";
import { hopeOf } from "./sale";

export interface Line {
  id: string;
  atMs: number;
  who: string;
  text: string;
  isSystem: boolean;
}

const SYSTEM_MAX = 10;
const LINES_MAX = 50;

/** What teams do, in the room's words; seats one by one are not worth a line. */
function teamSays({ what, nickname }: TeamToldEvent, name: string): string {
  if (what === "team.opened") return t("room.lineTeamOpened", { name, who: nickname || t("team.someone") });
  if (what === "team.formed") return t("room.lineTeamFormed", { name });
  if (what === "crowd.reached") return t("room.lineCrowdReached", { name });
  return what === "crowd.formed" ? t("room.lineCrowdFormed", { name }) : "";
}

export function useTalk(live: Live) {
  const own = ref<Line[]>([]);
  const gone = new Set<string>();
  let count = 0;

  function system(atMs: number, text: string): void {
    own.value.push({ id: `own-${count++}`, atMs, who: "", text, isSystem: true });
    if (own.value.length > SYSTEM_MAX) own.value.shift();
  }

  const name = (offerId: string): string => live.offerOf(offerId)?.name ?? offerId;

  function hear(event: LiveEvent): void {
    if (event.kind === "pin" && event.offer_id) {
      system(event.at_ms, t("room.linePinned", { name: name(event.offer_id) }));
    } else if (event.kind === "offer") {
      const waits = event.starts_at_ms - serverClock.now();
      const isLaunch = event.offer_kind === "flash" && event.ends_at_ms > event.starts_at_ms;
      if (event.state === "closed") system(event.at_ms, t("room.lineClosed", { name: event.name }));
      else if (isLaunch && waits > 1_000 && waits < 600_000) {
        system(event.at_ms, t("room.lineLaunch", { name: event.name, left: left(waits) }));
      }
    } else if (event.kind === "team_event") {
      const says = teamSays(event, name(event.offer_id));
      if (says) system(event.at_ms, says);
    } else if (event.kind === "stock") {
      const isGone = hopeOf(event) === "gone";
      if (isGone && !gone.has(event.offer_id)) {
        system(event.at_ms, t("room.lineGone", { name: name(event.offer_id) }));
      }
      if (isGone) gone.add(event.offer_id);
      else gone.delete(event.offer_id);
    }
  }
  onScopeDispose(live.onEvent(hear));

  const line = (one: CommentEvent): Line => ({
    id: one.id, atMs: one.at_ms, who: one.nickname, text: one.text, isSystem: false,
  });
  const lines = computed(() =>
    [...live.comments.value.map(line), ...own.value].sort((a, b) => a.atMs - b.atMs).slice(-LINES_MAX),
  );
  return { lines };
}
