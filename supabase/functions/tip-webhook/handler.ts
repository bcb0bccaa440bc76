/** From a request to a settled tip, without knowing where the database is. */

import { type Settlement, settlementOf } from "./payment.ts";
import { verify } from "./signature.ts";

const MAX_BODY_BYTES = 256 * 1024;

/** What the database says to a settlement. */
export interface Settled {
  replayed: boolean;
  duplicate?: boolean;
}

/** A refusal of the database: stable code and HTTP status. */
export class SettlementRefused extends Error {
  constructor(readonly code: string, readonly status: number) {
    super(code);
    this.name = "SettlementRefused";
  }
}

/** Settles a tip in the database; throws SettlementRefused. */
export type Settle = (settlement: Settlement, signedAt: number) => Promise<Settled>;

function answer(status: number, body: Record<string, unknown>): Response {
  return Response.json(body, { status });
}

async function settleOnce(settle: Settle, settlement: Settlement, signedAt: number): Promise<Response> {
  try {
    const settled = await settle(settlement, signedAt);
    if (settled.replayed) return answer(409, { error: "replayed" });
    return answer(200, {
      settled: settlement.tipId,
      status: settlement.status,
      duplicate: settled.duplicate === true,
    });
  } catch (error) {
    if (error instanceof SettlementRefused) return answer(error.status, { error: error.code });
    // The provider tries again later; what went wrong is for the log, not for the caller.
    console.error("settling a tip failed", error);
    return answer(503, { error: "unavailable" });
  }
}

/** Makes the function's handler. `now` is in seconds since 1970. */
export function makeHandler(
  secret: string,
  settle: Settle,
  now: () => number = () => Math.floor(Date.now() / 1000),
): (request: Request) => Promise<Response> {
  if (secret.length < 16) throw new Error("the webhook's secret is missing or too short");
  return async (request) => {
    if (request.method !== "POST") return answer(405, { error: "method_not_allowed" });
    const body = new Uint8Array(await request.arrayBuffer());
    if (body.length > MAX_BODY_BYTES) return answer(413, { error: "too_large" });
    const verdict = await verify(secret, request.headers.get("stripe-signature"), body, now());
    if (!verdict.ok) return answer(400, { error: `signature_${verdict.reason}` });
    let event: unknown;
    try {
      event = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(body));
    } catch {
      return answer(400, { error: "not_json" });
    }
    const settlement = settlementOf(event);
    return settlement
      ? await settleOnce(settle, settlement, verdict.signedAt)
      : answer(200, { ignored: true });
  };
}
