/** For the tests: signed requests, events, and an assertion, so that they need nothing from the network. */

import { digest } from "./signature.ts";

export const SECRET = "whsec_a_secret_for_tests_only";

export function assertEquals(actual: unknown, expected: unknown): void {
  const [left, right] = [actual, expected].map((value) => JSON.stringify(value, null, 1));
  if (left !== right) throw new Error(`expected ${right}, got ${left}`);
}

/** The signature header of a body. */
export async function header(body: Uint8Array, signedAt: number): Promise<string> {
  const bytes = await digest(SECRET, signedAt, body);
  return `t=${signedAt},v1=${[...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("")}`;
}

/** A signed delivery. */
export async function delivery(event: unknown, signedAt: number): Promise<Request> {
  const body = new TextEncoder().encode(JSON.stringify(event));
  const headers = { "stripe-signature": await header(body, signedAt) };
  return new Request("http://localhost/tip-webhook", { method: "POST", body, headers });
}

/** An event of the provider about a payment for a tip. */
export function paymentEvent(
  type: string,
  tipId: string | undefined,
  options: { id?: string; payment?: string; amount?: number; currency?: string; refunded?: number } = {},
): unknown {
  const { id = "evt_1", payment = "pi_1", amount = 500, currency = "eur" } = options;
  const refunded = options.refunded ?? amount;
  const object = type.startsWith("charge")
    ? { id: "ch_1", payment_intent: payment, amount, amount_refunded: refunded }
    : { id: payment, amount, amount_received: amount };
  return { id, type, data: { object: { ...object, currency, metadata: tipId ? { tip_id: tipId } : {} } } };
}
