/**
 * A member who was moved by a rescue, or whose late payment landed elsewhere: which team they are
 * in now. Their claim tells it; where this tab does not know the claim (the old link on another
 * phone), their own teams do.
 */
import { computed, shallowRef, watch, type ComputedRef, type Ref } from "vue";
import { useSession } from "@/api/session";
import { myTeams, type Team } from "@/api/teams";
import type { Purchase } from "@/room/purchase";
import { isDecided } from "./states";

export interface Moved {
  team_id: string;
  sure: boolean; // from this team; else only known to sit elsewhere
}

export function useMoved(
  teamId: Ref<string>,
  team: Ref<Team | null>,
  mine: Ref<Purchase | null>,
): ComputedRef<Moved | null> {
  const session = useSession("customer");
  const elsewhere = shallowRef("");
  const isOver = computed(() => !!team.value && team.value.kind === "team" && isDecided(team.value) && !team.value.my_claim_id);

  watch(
    [isOver, () => session.value?.subject],
    async ([over, who]) => {
      elsewhere.value = "";
      if (!over || !who) return;
      const got = await myTeams();
      if (!got.ok || session.value?.subject !== who) return;
      const mineNow = got.data.find(
        (one) => one.offer_id === team.value?.offer_id && one.team_id !== teamId.value && one.seat === "taken" && one.state !== "failed",
      );
      elsewhere.value = mineNow?.team_id ?? "";
    },
    { immediate: true },
  );

  return computed(() => {
    const claim = mine.value?.state.claim;
    const now = claim?.team_id ?? "";
    if (now && now !== teamId.value && ["paying", "paid"].includes(claim?.state ?? "")) return { team_id: now, sure: true };
    return elsewhere.value ? { team_id: elsewhere.value, sure: false } : null;
  });
}
