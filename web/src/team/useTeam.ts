/**
 * One team as it is now: read when its topic tells of a change, and else every two seconds while
 * the page is seen; more slowly while the topic is heard, or once it is decided.
 */
import { ref, shallowRef, watch, type Ref } from "vue";
import type { Problem } from "@/api/client";
import { useSession } from "@/api/session";
import { readTeam, type Team } from "@/api/teams";
import { serverClock } from "@/live/clock";
import type { TeamEvent } from "@/live/protocol";
import { usePolled } from "@/live/usePolled";
import { useTeamLive } from "./useTeamLive";
import { isDecided } from "./states";

const EVERY_MS = 2_000;
const CALM_EVERY_MS = 10_000;

/** `told`: something of mine changed; without it (inside a room, which has a line) no line is opened. */
export function useTeam(teamId: Ref<string>, told?: () => void) {
  const session = useSession("customer");
  const team = shallowRef<Team | null>(null);
  const problem = ref<Problem | null>(null);

  const { now: look } = usePolled(async () => {
    const asked = teamId.value;
    if (!session.value || !asked) return null;
    const askedMs = Date.now();
    const got = await readTeam(asked);
    if (asked !== teamId.value) return 0;
    problem.value = got.ok ? null : got.problem;
    if (got.ok) {
      serverClock.answered(askedMs, got.data.server_time_ms);
      team.value = got.data;
    }
    return got.ok && (isOnline.value || isDecided(got.data)) ? CALM_EVERY_MS : EVERY_MS;
  });
  /** A crowd's figures come with the event itself: thousands of screens do not all ask at once. */
  function tell(event: TeamEvent): void {
    const known = team.value;
    if (known?.kind !== "crowd" || isDecided(event)) void look();
    else if (!isDecided(known)) {
      const { state, paid, pending, step } = event;
      team.value = { ...known, state, paid, held: pending, step };
    }
  }
  const isOnline = told ? useTeamLive(teamId, tell, told).isOnline : ref(false);
  watch([teamId, () => session.value?.subject], (_, before) => {
    if (before[0] !== undefined) team.value = null;
    void look();
  }, { immediate: true });
  return { team, problem, look, isOnline };
}
