import { makeHandler, type Settle, SettlementRefused } from "./handler.ts";
import { assertEquals, delivery, paymentEvent, SECRET } from "./testing.ts";

const NOW = 1_800_000_000;
const TIP = "a0000000-0000-4000-8000-000000000001";

function recorder(result: () => Awaited<ReturnType<Settle>> = () => ({ replayed: false })) {
  const calls: unknown[] = [];
  const settle: Settle = (settlement, signedAt) => {
    calls.push({ ...settlement, signedAt });
    return Promise.resolve().then(result);
  };
  return { calls, handle: makeHandler(SECRET, settle, () => NOW) };
}

async function outcome(response: Response): Promise<[number, unknown]> {
  return [response.status, await response.json()];
}

Deno.test("a payment confirms its tip", async () => {
  const { calls, handle } = recorder();
  const response = await handle(await delivery(paymentEvent("payment_intent.succeeded", TIP), NOW));
  assertEquals(await outcome(response), [200, { settled: TIP, status: "confirmed", duplicate: false }]);
  assertEquals(calls, [{
    eventId: "evt_1",
    tipId: TIP,
    status: "confirmed",
    amount: 500,
    currency: "EUR",
    providerRef: "pi_1",
    signedAt: NOW,
  }]);
});

Deno.test("money back refunds it, a part of it does not", async () => {
  const { calls, handle } = recorder();
  await handle(await delivery(paymentEvent("charge.refunded", TIP), NOW));
  await handle(await delivery(paymentEvent("payment_intent.canceled", TIP), NOW));
  const part = await handle(await delivery(paymentEvent("charge.refunded", TIP, { refunded: 100 }), NOW));
  assertEquals(await outcome(part), [200, { ignored: true }]);
  assertEquals(calls.map((call) => (call as { status: string }).status), ["refunded", "refunded"]);
});

Deno.test("what is none of ours is acknowledged and ignored", async () => {
  const { calls, handle } = recorder();
  const others = [
    paymentEvent("payment_intent.created", TIP),
    paymentEvent("payment_intent.succeeded", undefined),
    paymentEvent("payment_intent.succeeded", "not-a-uuid"),
    {},
    null,
    [],
    7,
    "x",
    { type: "payment_intent.succeeded" },
    {
      type: "payment_intent.succeeded",
      data: { object: { metadata: { tip_id: TIP }, amount_received: "500" } },
    },
  ];
  for (const event of others) {
    assertEquals(await outcome(await handle(await delivery(event, NOW))), [200, { ignored: true }]);
  }
  assertEquals(calls, []);
});

Deno.test("nothing is settled without a good signature", async () => {
  const { calls, handle } = recorder();
  const event = paymentEvent("payment_intent.succeeded", TIP);
  const unsigned = new Request("http://localhost/", { method: "POST", body: JSON.stringify(event) });
  assertEquals(await outcome(await handle(unsigned)), [400, { error: "signature_missing" }]);
  assertEquals(await outcome(await handle(await delivery(event, NOW - 400))), [400, {
    error: "signature_too_old",
  }]);
  const signed = await delivery(event, NOW);
  const changed = new Request(signed.url, { method: "POST", headers: signed.headers, body: "{}" });
  assertEquals(await outcome(await handle(changed)), [400, { error: "signature_mismatch" }]);
  assertEquals(calls, []);
});

Deno.test("only POST, only so large, only JSON", async () => {
  const { handle } = recorder();
  assertEquals((await handle(new Request("http://localhost/"))).status, 405);
  assertEquals((await handle(await delivery("x".repeat(300_000), NOW))).status, 413);
  const { header } = await import("./testing.ts");
  const body = new TextEncoder().encode("{not json");
  const headers = { "stripe-signature": await header(body, NOW) };
  const response = await handle(new Request("http://localhost/", { method: "POST", body, headers }));
  assertEquals(await outcome(response), [400, { error: "not_json" }]);
});

Deno.test("a replay, a refusal and an outage each have their status", async () => {
  const event = paymentEvent("payment_intent.succeeded", TIP);
  const replay = recorder(() => ({ replayed: true }));
  assertEquals(await outcome(await replay.handle(await delivery(event, NOW))), [409, { error: "replayed" }]);
  const refused = recorder(() => {
    throw new SettlementRefused("unknown_tip", 404);
  });
  assertEquals(await outcome(await refused.handle(await delivery(event, NOW))), [404, {
    error: "unknown_tip",
  }]);
  const silence = console.error;
  console.error = () => {};
  try {
    const down = recorder(() => {
      throw new Error("no connection to secret.host");
    });
    assertEquals(await outcome(await down.handle(await delivery(event, NOW))), [503, {
      error: "unavailable",
    }]);
  } finally {
    console.error = silence;
  }
});

Deno.test("a missing secret is noticed at once", () => {
  let message = "";
  try {
    makeHandler("", recorder().handle as unknown as Settle);
  } catch (error) {
    message = (error as Error).message;
  }
  assertEquals(message, "the webhook's secret is missing or too short");
});
