/** One team as it is now: asked every two seconds while the page is seen, slower once decided. */
import { ref, shallowRef, watch, type Ref } from "vue";
import type { Problem } from "@/api/client";
import { useSession } from "@/api/session";
import { readTeam, type Team } from "@/api/teams";
import { serverClock } from "@/live/clock";
import { usePolled } from "./usePolled";
import { isDecided } from "./states";

const EVERY_MS = 2_000;
const DECIDED_EVERY_MS = 10_000;

export function useTeam(teamId: Ref<string>) {
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
    return got.ok && isDecided(got.data) ? DECIDED_EVERY_MS : EVERY_MS;
  });
  watch([teamId, () => session.value?.subject], (_, before) => {
    if (before[0] !== undefined) team.value = null;
    void look();
  }, { immediate: true });
  return { team, problem, look };
}
