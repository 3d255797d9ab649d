/**
 * A room as it is now, for one page: `const live = useLive(roomId, "customer")`.
 *
 * Owns the connection, the position {epoch, offset} of each topic and the state that follows from
 * it; everything returned is reactive. `onEvent` hears each new event once, in order (not those
 * inside a snapshot). `window.kaituanLive` shows positions and the state hash to browser tests.
 */
import { computed, onScopeDispose, reactive, ref, shallowRef, watch, type Ref } from "vue";
import { newKey } from "@/api/client";
import { roomPass } from "@/api/rooms";
import { useSession, type Door } from "@/api/session";
import { serverClock } from "./clock";
import type {
  ClaimEvent,
  LiveEvent,
  OfferEvent,
  PaymentEvent,
  PinEvent,
  RoomEvent,
  ServerFrame,
  ShelfEvent,
  StockEvent,
  OfferTeamsEvent,
  WaitEvent,
} from "./protocol";
import { LiveSocket, type Connection, type Reasons } from "./socket";
import { applyEvents, applySnapshot, emptyState, stateHash, type TopicState } from "./state";

const LIKES_MAX = 100; // in one frame
const LIKES_EVERY_MS = 500;
const SAYING_MAX_MS = 8_000;

/** What became of a comment: in the log, too fast, refused, or no line to send it on. */
export type Said = { what: "said" } | { what: "too_fast"; retryMs: number } | Refusal | { what: "offline" };
interface Refusal {
  what: "refused";
  code: string;
  says: string;
}

export type Live = ReturnType<typeof useLive>;

export function useLive(roomId: string, door: Door) {
  const roomTopic = `room:${roomId}`;
  const topics = reactive<Record<string, TopicState>>({});
  const connection = ref<Connection>("connecting");
  const away: Ref<Reasons | null> = shallowRef(null);
  const viewers = ref<number | null>(null);
  const likes = ref(0);
  const recovered = ref(0);
  const behindMs = ref(0); // for so long the gateway has not reached the hot store
  const listeners = new Set<(event: LiveEvent, topic: string) => void>();
  const saying = new Map<string, (said: Said) => void>();
  let tapped = 0;
  let unanswered: { text: string; id: string } | null = null;

  const socket = new LiveSocket({
    pass: () => roomPass(roomId, door),
    positions: (names) =>
      names.map((topic) => {
        const state = topics[topic];
        return state?.epoch ? { topic, epoch: state.epoch, offset: state.offset } : { topic };
      }),
    heard,
    became(next, why) {
      connection.value = next;
      away.value = why;
      if (next !== "online") for (const done of [...saying.values()]) done({ what: "offline" });
    },
  });

  function heard(frame: ServerFrame): void {
    if (frame.type === "snapshot") {
      const state = (topics[frame.topic] ??= emptyState());
      applySnapshot(state, frame);
    } else if (frame.type === "events") {
      const applied = applyEvents((topics[frame.topic] ??= emptyState()), frame);
      if (applied.what === "gap") {
        // Cannot happen; if it does, what we have is worth nothing: join again without a position.
        delete topics[frame.topic];
        socket.restart(false);
      }
      if (applied.what === "applied") for (const event of applied.events) tell(event, frame.topic);
    } else if (frame.type === "live" && frame.topic === roomTopic) {
      viewers.value = frame.viewers;
      likes.value = frame.likes;
      behindMs.value = frame.behind_ms ?? 0;
    } else if (frame.type === "said") {
      saying.get(frame.id)?.({ what: "said" });
    } else if (frame.type === "refused") {
      const { id, code, says, retry_ms } = frame;
      const said: Said =
        code === "too_fast" ? { what: code, retryMs: retry_ms ?? 1000 } : { what: "refused", code, says };
      if (id) saying.get(id)?.(code === "unknown" ? { what: "offline" } : said);
    }
  }

  function tell(event: LiveEvent, topic: string): void {
    if (event.kind === "recovered") recovered.value++;
    for (const listener of listeners) listener(event, topic);
  }

  /**
   * Say something; the answer comes when the gateway has it in the log, or says no. The same words
   * again after a lost answer keep their id, so that they are said once.
   */
  function say(text: string): Promise<Said> {
    const id = unanswered?.text === text ? unanswered.id : newKey("say");
    unanswered = { text, id };
    return new Promise((resolve) => {
      const done = (said: Said): void => {
        saying.delete(id);
        clearTimeout(timer);
        if (said.what !== "offline") unanswered = null;
        resolve(said);
      };
      const timer = setTimeout(() => done({ what: "offline" }), SAYING_MAX_MS);
      saying.set(id, done);
      if (!socket.send({ type: "comment", topic: roomTopic, id, text })) done({ what: "offline" });
    });
  }

  /** One tap; taps are summed and sent together. Counted here only once the server counts it. */
  function like(): void {
    tapped = Math.min(tapped + 1, LIKES_MAX);
  }
  const liking = setInterval(() => {
    if (tapped > 0 && socket.send({ type: "like", topic: roomTopic, n: tapped })) tapped = 0;
  }, LIKES_EVERY_MS);

  /** Hear each new event of any topic; returns how to stop. */
  function onEvent(listener: (event: LiveEvent, topic: string) => void): () => void {
    listeners.add(listener);
    return () => listeners.delete(listener);
  }

  const state = computed(() => topics[roomTopic]);
  const parts = computed<Record<string, LiveEvent>>(() => state.value?.parts ?? {});
  const mine = computed<Record<string, LiveEvent>>(() => {
    const me = Object.keys(topics).find((topic) => topic.startsWith("me:"));
    return me ? (topics[me]?.parts ?? {}) : {};
  });
  const shelf = computed(() => (parts.value["shelf"] as ShelfEvent | undefined)?.offers ?? []);
  const offerOf = (id: string) => parts.value[`offer:${id}`] as OfferEvent | undefined;
  const stockOf = (id: string) => parts.value[`stock:${id}`] as StockEvent | undefined;
  const teamsOf = (id: string) => parts.value[`teams:${id}`] as OfferTeamsEvent | undefined;
  const claimOf = (id: string) => mine.value[`claim:${id}`] as ClaimEvent | undefined;
  const paymentOf = (id: string) => mine.value[`payment:${id}`] as PaymentEvent | undefined;

  const waitOf = (id: string) => mine.value[`wait:${id}`] as WaitEvent | undefined;

  // Another person at this door has other topics: a new pass, and nothing of the last one's kept.
  const session = useSession(door);
  const subject = computed(() => session.value?.subject ?? "");
  watch(subject, () => {
    for (const topic of Object.keys(topics)) if (topic.startsWith("me:")) delete topics[topic];
    socket.restart(true);
  });

  const hash = (topic = roomTopic): Promise<string> => stateHash(topics[topic] ?? emptyState());
  const shown = {
    hash,
    connection: () => connection.value,
    positions: () =>
      Object.fromEntries(
        Object.entries(topics).map(([topic, { epoch, offset }]) => [topic, { epoch, offset }]),
      ),
  };
  (window as unknown as { kaituanLive?: typeof shown }).kaituanLive = shown;

  socket.start();
  onScopeDispose(() => {
    clearInterval(liking);
    socket.stop();
  });

  return {
    connection,
    away,
    clock: serverClock,
    viewers,
    likes,
    recovered,
    behindMs,
    parts,
    room: computed(() => parts.value["room"] as RoomEvent | undefined),
    shelf,
    offers: computed(() => shelf.value.map(offerOf).filter((one) => one !== undefined)),
    pinned: computed(() => (parts.value["pin"] as PinEvent | undefined)?.offer_id ?? null),
    comments: computed(() => state.value?.comments ?? []),
    claims: computed(() =>
      Object.values(mine.value).filter((one): one is ClaimEvent => one.kind === "claim"),
    ),
    offerOf,
    stockOf,
    teamsOf,
    claimOf,
    paymentOf,
    waitOf,
    say,
    like,
    onEvent,
    hash,
  };
}
