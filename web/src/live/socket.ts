/**
 * One connection to the gateway that comes back by itself.
 *
 * It asks for a pass, joins with the positions it is given, renews the pass before it expires,
 * notices silence (no frame for five heartbeats) and waits longer after each failure, by chance
 * between half and all of it, so that a whole room does not return in one instant.
 */
import type { Answer } from "@/api/client";
import type { RoomPass } from "@/api/rooms";
import { serverClock } from "./clock";
import { afterClose, type ClientFrame, type ServerFrame, type Topic } from "./protocol";

export type Connection = "connecting" | "online" | "reconnecting" | "reopening" | "away";
/** Why it stays away: a code of the gateway or of the token request. */
export interface Reasons {
  code: string;
  says: string;
}
export interface Wants {
  pass(): Promise<Answer<RoomPass>>; // for a room or a team
  positions(topics: string[]): Topic[];
  heard(frame: ServerFrame): void;
  became(connection: Connection, why: Reasons | null): void;
}

const BACKOFF_FIRST_MS = 250;
const BACKOFF_MAX_MS = 8_000;
const OFFLINE_MS = 4_000;
const RENEW_BEFORE_MS = 60_000;
const RENEW_AGAIN_MS = 5_000;
const JOIN_MAX_MS = 8_000;

export class LiveSocket {
  private socket: WebSocket | null = null;
  private pass: RoomPass | null = null;
  private timers = new Set<ReturnType<typeof setTimeout>>();
  private tries = 0;
  private heartbeatMs = 1_000;
  private lastHeard = 0;
  private byeAfterMs: number | null = null;
  private stopped = false;
  private wasOnline = false;
  private turn = 0; // of the newest attempt: what an older one still hears is not for us

  constructor(private readonly wants: Wants) {}

  start(): void {
    this.stopped = false;
    window.addEventListener("online", this.now);
    window.addEventListener("offline", this.check);
    document.addEventListener("visibilitychange", this.check);
    void this.connect();
  }

  stop(): void {
    this.stopped = true;
    this.turn++;
    window.removeEventListener("online", this.now);
    window.removeEventListener("offline", this.check);
    document.removeEventListener("visibilitychange", this.check);
    this.hangUp();
  }

  /** For somebody else, or about something else: with a new pass. */
  begin(): void {
    this.pass = null;
    this.start();
  }

  /** Another person at this door, or a gap: begin again from the positions we have. */
  restart(freshPass: boolean): void {
    if (freshPass) this.pass = null;
    this.hangUp();
    if (!this.stopped) void this.connect();
  }

  /** Whether the frame was handed to the connection. */
  send(frame: ClientFrame): boolean {
    if (this.socket?.readyState !== WebSocket.OPEN) return false;
    this.socket.send(JSON.stringify(frame));
    return true;
  }

  private readonly now = (): void => {
    this.tries = 0;
    this.restart(false);
  };

  /** Timers sleep in a hidden tab: on return look whether the line is still alive. */
  private readonly check = (): void => {
    if (!navigator.onLine) this.retry(500);
    else if (document.visibilityState === "visible" && this.isSilent()) this.now();
  };

  private isSilent(): boolean {
    return Date.now() - this.lastHeard > Math.max(5 * this.heartbeatMs, 3_000);
  }

  private after(ms: number, act: () => void): void {
    const timer = setTimeout(() => {
      this.timers.delete(timer);
      act();
    }, ms);
    this.timers.add(timer);
  }

  private hangUp(): void {
    for (const timer of this.timers) clearTimeout(timer);
    this.timers.clear();
    const socket = this.socket;
    this.socket = null;
    if (socket) {
      socket.onmessage = socket.onclose = socket.onerror = socket.onopen = null;
      socket.close(1000);
    }
  }

  private async connect(): Promise<void> {
    this.hangUp();
    const turn = ++this.turn;
    if (this.tries > 0 || this.wasOnline) this.wants.became("reconnecting", null);
    const pass = await this.freshPass(turn);
    if (!pass) return;
    const { gateway_url, token, topics } = pass;
    const socket = new WebSocket(gateway_url);
    this.socket = socket;
    this.lastHeard = Date.now();
    this.after(JOIN_MAX_MS, () => this.retry());
    socket.onopen = () => {
      this.send({ type: "join", token, topics: this.wants.positions(topics) });
    };
    socket.onmessage = (message: MessageEvent<string>) => {
      if (this.socket === socket) this.hear(JSON.parse(message.data) as ServerFrame);
    };
    socket.onclose = (event) => {
      if (this.socket === socket) this.closed(event.code, event.reason);
    };
  }

  /** A pass that is good for a while; null when there is none now (and then it is retried). */
  private async freshPass(turn: number): Promise<RoomPass | null> {
    const kept = this.pass;
    if (kept && kept.expires_at_ms > serverClock.now() + RENEW_BEFORE_MS / 2) return kept;
    const got = await this.wants.pass();
    if (this.stopped || turn !== this.turn) return null;
    if (got.ok) return (this.pass = got.data);
    const { code, status, title } = got.problem;
    if (status === 404 || status === 403 || status === 410) {
      this.wants.became("away", { code, says: title });
    } else {
      this.retry(undefined, status === 503 ? "reopening" : "reconnecting");
    }
    return null;
  }

  private hear(frame: ServerFrame): void {
    this.lastHeard = Date.now();
    if (frame.type === "joined") this.joined(frame.server_ms, frame.heartbeat_ms);
    else if (frame.type === "live") serverClock.told(frame.server_ms);
    else if (frame.type === "pong") serverClock.answered(frame.at_ms, frame.server_ms);
    else if (frame.type === "bye") this.byeAfterMs = frame.after_ms;
    this.wants.heard(frame);
  }

  private joined(serverMs: number, heartbeatMs: number): void {
    for (const timer of this.timers) clearTimeout(timer);
    this.timers.clear();
    this.tries = 0;
    this.wasOnline = true;
    this.heartbeatMs = heartbeatMs;
    serverClock.told(serverMs);
    this.wants.became("online", null);
    this.beat();
    this.ping(0);
    this.renewLater();
  }

  private ping(count: number): void {
    this.send({ type: "ping", at_ms: Date.now() });
    this.after(count < 3 ? 500 : 20_000, () => this.ping(count + 1));
  }

  private beat(): void {
    this.after(this.heartbeatMs, () => {
      if (this.isSilent()) this.retry();
      else this.beat();
    });
  }

  private renewLater(): void {
    const inMs = (this.pass?.expires_at_ms ?? 0) - serverClock.now() - RENEW_BEFORE_MS;
    this.after(Math.max(inMs, RENEW_AGAIN_MS), () => void this.renew());
  }

  /** The line stays up meanwhile: if no new pass comes in time, the gateway closes with 4401. */
  private async renew(): Promise<void> {
    const turn = this.turn;
    const got = await this.wants.pass();
    if (this.stopped || turn !== this.turn) return;
    if (got.ok) {
      this.pass = got.data;
      this.send({ type: "token", token: got.data.token });
    }
    this.renewLater();
  }

  private closed(code: number, reason: string): void {
    this.socket = null;
    const next = afterClose(code);
    if (next === "new_token") this.pass = null;
    if (next === "stay_away") {
      this.hangUp();
      this.wants.became("away", { code: String(code), says: reason });
      return;
    }
    const waitMs = this.byeAfterMs ?? undefined;
    this.byeAfterMs = null;
    this.retry(waitMs, code === 1013 ? "reopening" : "reconnecting");
  }

  private retry(waitMs?: number, as: Connection = "reconnecting"): void {
    this.hangUp();
    if (this.stopped) return;
    this.wants.became(as, null);
    // The browser's "offline" is not believed (loopback works without a network), only slower.
    const first = navigator.onLine ? BACKOFF_FIRST_MS : OFFLINE_MS;
    const most = Math.min(BACKOFF_MAX_MS, first * 2 ** this.tries);
    this.tries = Math.min(this.tries + 1, 10);
    this.after(waitMs ?? most / 2 + (Math.random() * most) / 2, () => void this.connect());
  }
}
