/**
 * Tells when a team changes, and `told` when something of mine did: the gateway's topics are the
 * bell. `isOnline` says whether it is heard; without it the page asks often.
 */
import { onScopeDispose, ref, watch, type Ref } from "vue";
import { useSession } from "@/api/session";
import { teamPass } from "@/api/teams";
import { LiveSocket } from "@/live/socket";
import { applyEvents, applySnapshot, emptyState, type TopicState } from "@/live/state";
import type { ServerFrame, TeamEvent } from "@/live/protocol";

export function useTeamLive(teamId: Ref<string>, tell: (team: TeamEvent) => void, told: () => void) {
  const session = useSession("customer");
  const isOnline = ref(false);
  const topics = new Map<string, TopicState>();

  const socket = new LiveSocket({
    pass: () => teamPass(teamId.value),
    positions: (names) =>
      names.map((topic) => {
        const state = topics.get(topic);
        return state?.epoch ? { topic, epoch: state.epoch, offset: state.offset } : { topic };
      }),
    heard,
    became: (next) => (isOnline.value = next === "online"),
  });

  function heard(frame: ServerFrame): void {
    if (frame.type !== "snapshot" && frame.type !== "events") return;
    const state = topics.get(frame.topic) ?? emptyState();
    topics.set(frame.topic, state);
    if (frame.type === "snapshot") applySnapshot(state, frame);
    else if (applyEvents(state, frame).what === "gap") {
      topics.delete(frame.topic);
      socket.restart(false);
    }
    const team = state.parts["team"];
    if (team?.kind === "team") tell(team);
    else if (frame.topic.startsWith("me:")) told();
  }

  watch(
    [teamId, () => session.value?.subject],
    ([id, subject]) => {
      socket.stop();
      topics.clear();
      isOnline.value = false;
      if (id && subject) socket.begin();
    },
    { immediate: true },
  );
  onScopeDispose(() => socket.stop());
  return { isOnline };
}
