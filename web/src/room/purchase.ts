/**
 * One purchase of one offer: claim, follow, pay. What it promises: one Idempotency-Key per press,
 * kept (also over a reload) until the server has decided, so that a repeat never buys twice.
 */
import { computed, reactive } from "vue";
import { answer, apiFor, isPassing, newKey, type Answer, type Problem, type Schemas } from "@/api/client";
import { takeSeat, type SeatOut } from "@/api/teams";
import type { PaymentEvent } from "@/live/protocol";
import { isMoving, stepOf, type Claim, type Known, type Refund, type Step } from "./steps";

export interface Press {
  key: string;
  qty: number;
  price_id: string;
  claim_id?: string;
  paid?: boolean;
  cancelled?: boolean; // given up here; the claim itself says so a little later
  seat?: Seat;
}

/** A seat of a team is asked for: of this one, or of one to be opened (""). */
export interface Seat {
  team_id: string;
  consent: boolean; // may be moved to another team if this one fails
}

const REPEAT_CAP_MS = 5_000;
const POLL_HELD_MS = 400;
const POLL_MS = 1_500;

const keyOf = (buyer: string, place: string): string => `kaituan.press.${buyer}.${place}`;

export class Purchase {
  readonly state = reactive({
    press: null as Press | null,
    claim: null as Claim | null,
    till: null as Schemas["PayPage"] | null,
    refunds: [] as Refund[],
    payment: undefined as PaymentEvent | undefined,
    busy: "" as "" | "claiming" | "opening" | "paying" | "cancelling",
    repeats: 0,
    repeatWhy: null as Problem | null,
    problem: null as Problem | null,
    tillLost: false,
    lost: false,
  });
  private timer: ReturnType<typeof setTimeout> | undefined;
  private isFollowing = false;
  private isGone = false;
  private readonly api = apiFor("customer");

  constructor(
    readonly offerId: string,
    private readonly buyer: string,
    private readonly place = offerId, // what a press is kept under: a team's page has its own
  ) {
    this.state.press = this.kept();
    if (this.state.press?.claim_id) this.wake();
    else if (this.state.press) void this.claim();
  }

  private readonly known = computed<Known>(() => ({
    hasTill: this.state.till !== null,
    hasPaid: this.state.press?.paid === true,
    payment: this.state.payment,
    refunds: this.state.refunds,
  }));

  readonly step = computed<Step>(() => {
    const { busy, claim, lost } = this.state;
    if (lost) return "lost";
    if (busy === "claiming") return "claiming";
    if (!claim) return this.state.press?.claim_id ? "held" : "choose";
    return busy === "opening" ? "opening" : stepOf(claim, this.known.value);
  });

  /** Press "buy": a new key. The outcome of an earlier press is put away. */
  press(qty: number, priceId: string, seat?: Seat): void {
    if (this.state.busy) return;
    this.reset();
    this.keep({ key: newKey("buy"), qty, price_id: priceId, seat });
    void this.claim();
  }

  /** Begin anew: nothing of the last purchase is shown. */
  reset(): void {
    clearTimeout(this.timer);
    this.keep(null);
    Object.assign(this.state, {
      claim: null, till: null, refunds: [], payment: undefined, busy: "",
      repeats: 0, repeatWhy: null, problem: null, tillLost: false, lost: false,
    });
  }

  /** Follow a claim made elsewhere (from the list of orders, or on another device). */
  follow(claimId: string): void {
    if (this.state.press?.claim_id !== claimId) {
      this.reset();
      this.keep({ key: newKey("buy"), qty: 1, price_id: "", claim_id: claimId });
    }
    this.wake();
  }

  stop(): void {
    this.isGone = true;
    clearTimeout(this.timer);
  }

  /** Something was told about this claim: look now. */
  wake(payment?: PaymentEvent): void {
    if (payment) this.state.payment = payment;
    clearTimeout(this.timer);
    if (this.state.press?.claim_id) void this.look();
  }

  private async claim(): Promise<void> {
    const press = this.state.press;
    if (!press || this.isGone) return;
    this.state.busy = "claiming";
    const got: Answer<Schemas["ClaimOut"] | SeatOut> = press.seat
      ? await takeSeat(this.offerId, press, press.seat)
      : await this.claimUnits(press);
    if (this.isGone || this.state.press !== press) return;
    if (got.ok) {
      this.state.busy = "";
      this.state.repeats = 0;
      this.state.repeatWhy = null;
      press.claim_id = got.data.claim_id;
      if (press.seat && "team_id" in got.data) press.seat.team_id = got.data.team_id;
      this.keep(press);
      this.wake();
    } else if (isPassing(got.problem)) {
      // Nobody knows, or nothing was decided: the same key again, a little later each time.
      this.state.repeats++;
      this.state.repeatWhy = got.problem;
      const waitMs = Math.min(REPEAT_CAP_MS, got.problem.retryAfterMs * 1.5 ** (this.state.repeats - 1));
      this.timer = setTimeout(() => void this.claim(), waitMs * (0.7 + Math.random() * 0.6));
    } else if (got.problem.code === "in_team" && got.problem.extra["claim_id"]) {
      // Already seated, by another press or on another device: that seat it is.
      this.state.busy = "";
      this.follow(String(got.problem.extra["claim_id"]));
    } else {
      this.state.busy = "";
      this.state.problem = got.problem;
      if (got.problem.status !== 401) this.keep(null);
    }
  }

  private claimUnits(press: Press): Promise<Answer<Schemas["ClaimOut"]>> {
    return answer(
      this.api.POST("/v1/offers/{offer_id}/claims", {
        params: { path: { offer_id: this.offerId }, header: { "Idempotency-Key": press.key } },
        body: { qty: press.qty, price_id: press.price_id },
      }),
    );
  }

  private async look(): Promise<void> {
    const id = this.state.press?.claim_id;
    if (!id || this.isFollowing || this.isGone) return;
    this.isFollowing = true;
    const got = await answer(this.api.GET("/v1/claims/{claim_id}", { params: { path: { claim_id: id } } }));
    if (got.ok && id === this.state.press?.claim_id) await this.refundsOf(got.data);
    this.isFollowing = false;
    if (this.isGone) return;
    if (id !== this.state.press?.claim_id) return this.wake(); // another claim is followed by now
    if (got.ok) this.state.claim = got.data;
    else if (got.problem.code === "claim_lost") this.state.lost = true;
    else if (!isPassing(got.problem)) {
      this.state.problem = got.problem;
      if (got.problem.status === 404) this.reset();
      return;
    }
    if (this.state.lost) this.keep(null);
    else this.lookLater();
  }

  private lookLater(): void {
    const step = this.step.value;
    if (!isMoving(step, this.known.value) && this.state.claim) return;
    clearTimeout(this.timer);
    this.timer = setTimeout(() => void this.look(), step === "held" ? POLL_HELD_MS : POLL_MS);
  }

  /** Money on its way back is a state of its own: only the refunds tell it. */
  private async refundsOf(claim: Claim): Promise<void> {
    const over = ["released", "returned"].includes(claim.state);
    const said = ["rejected", "refunding", "refunded"].includes(claim.order_state ?? "");
    if (!claim.order_id || !(over || said)) return;
    const got = await answer(
      this.api.GET("/v1/orders/{order_id}/refunds", { params: { path: { order_id: claim.order_id } } }),
    );
    if (got.ok) this.state.refunds = got.data.refunds;
  }

  /** Ask for the page where this claim is paid. */
  async openTill(): Promise<void> {
    const id = this.state.press?.claim_id;
    if (!id || this.state.busy) return;
    this.state.busy = "opening";
    this.state.problem = null;
    const got = await answer(this.api.POST("/v1/claims/{claim_id}/pay", { params: { path: { claim_id: id } } }));
    this.state.busy = "";
    if (got.ok) this.state.till = got.data;
    else this.state.problem = got.problem;
    this.wake();
  }

  /**
   * Pay at the sandbox. Its answer cannot be read from here (another origin), and need not be: the
   * claim says what became of it. A second press is the same payment.
   */
  async payInSandbox(): Promise<void> {
    const { till, press } = this.state;
    if (!till || !press || this.state.busy) return;
    this.state.busy = "paying";
    this.state.tillLost = false;
    try {
      await fetch(till.pay_url, { method: "POST", mode: "no-cors", signal: AbortSignal.timeout(10_000) });
      press.paid = true;
      this.keep(press);
    } catch {
      this.state.tillLost = true;
    }
    this.state.busy = "";
    this.wake();
  }

  async cancel(): Promise<void> {
    const id = this.state.press?.claim_id;
    if (!id || this.state.busy) return;
    this.state.busy = "cancelling";
    this.state.problem = null;
    const got = await answer(this.api.POST("/v1/claims/{claim_id}/cancel", { params: { path: { claim_id: id } } }));
    this.state.busy = "";
    const press = this.state.press;
    if (!got.ok) this.state.problem = got.problem;
    else if (press?.claim_id === id) this.keep({ ...press, cancelled: true });
    this.wake();
  }

  private kept(): Press | null {
    try {
      return JSON.parse(sessionStorage.getItem(keyOf(this.buyer, this.place)) ?? "null") as Press | null;
    } catch {
      return null;
    }
  }

  private keep(press: Press | null): void {
    this.state.press = press;
    try {
      if (press) sessionStorage.setItem(keyOf(this.buyer, this.place), JSON.stringify(press));
      else sessionStorage.removeItem(keyOf(this.buyer, this.place));
    } catch {
      // No storage: the press is kept until the tab is reloaded.
    }
  }
}

/** The sandbox takes money of nobody and only lives on this machine. */
export function isSandbox(payUrl: string): boolean {
  try {
    const { protocol, hostname } = new URL(payUrl);
    return protocol === "http:" && ["127.0.0.1", "localhost", "[::1]"].includes(hostname);
  } catch {
    return false;
  }
}
