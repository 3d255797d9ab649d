/** The demo's doors, one tap each: the ordinary sign-ins, filled in. */
import { answer, apiFor, type Answer, type Schemas } from "./client";
import { signedIn, type Door } from "./session";

type SessionOut = Schemas["SessionOut"];

export async function enterStaff(
  door: Exclude<Door, "customer">,
  login: string,
  password: string,
): Promise<Answer<SessionOut>> {
  const got = await answer(apiFor("nobody").POST("/v1/sign-in/staff", { body: { login, password } }));
  if (got.ok) signedIn(door, got.data);
  return got;
}

/** By the code that the sandbox shows; where none is shown, the code itself is still to be typed. */
export async function enterCustomer(phone: string): Promise<Answer<SessionOut>> {
  const api = apiFor("nobody");
  const sent = await answer(api.POST("/v1/sign-in/customer/code", { body: { phone } }));
  if (!sent.ok) return sent;
  const code = sent.data.sandbox_code ?? "";
  const got = await answer(api.POST("/v1/sign-in/customer", { body: { phone, code } }));
  if (got.ok) signedIn("customer", got.data);
  return got;
}
