/** Against a migrated database: TIP_DATABASE_URL is the pooler, TIP_OWNER_URL a direct connection that makes tips. */

import postgres from "postgres";
import { connect } from "./database.ts";
import { makeHandler } from "./handler.ts";
import { assertEquals, delivery, paymentEvent, SECRET } from "./testing.ts";

const pooler = Deno.env.get("TIP_DATABASE_URL");
const owner = Deno.env.get("TIP_OWNER_URL");
const ignore = !pooler || !owner;
const NOW = Math.floor(Date.now() / 1000);

async function withTip(run: (tipId: string, sql: postgres.Sql) => Promise<void>): Promise<void> {
  const sql = postgres(owner!, { max: 1 });
  try {
    const session = crypto.randomUUID();
    const tip = await sql.begin(async (transaction) => {
      const claims = JSON.stringify({ sub: crypto.randomUUID(), role: "authenticated" });
      await transaction`select set_config('request.jwt.claims', ${claims}, true)`;
      await transaction`select public.create_session('Tips', '{}', ${session}::uuid)`;
      const [row] = await transaction`
        select public.send_tip(${session}::uuid, 500, 'EUR', null, gen_random_uuid()) as reply`;
      return row.reply.tip.id as string;
    });
    await run(tip, sql);
  } finally {
    await sql.end();
  }
}

async function status(sql: postgres.Sql, tip: string): Promise<string> {
  return (await sql`select status from public.tips where id = ${tip}::uuid`)[0].status;
}

Deno.test({
  name: "a tip is confirmed once, whatever is delivered how often",
  ignore,
  fn: () =>
    withTip(async (tip, sql) => {
      const { settle, close } = connect(pooler!);
      try {
        const handle = makeHandler(SECRET, settle);
        const [id, payment] = [crypto.randomUUID(), `pi_${crypto.randomUUID()}`];
        const event = paymentEvent("payment_intent.succeeded", tip, { id, payment });
        const wrong = paymentEvent("payment_intent.succeeded", tip, { id, payment, amount: 5 });
        assertEquals((await handle(await delivery(wrong, NOW))).status, 422);
        assertEquals(await status(sql, tip), "pending");
        assertEquals(await (await handle(await delivery(event, NOW))).json(), {
          settled: tip,
          status: "confirmed",
          duplicate: false,
        });
        assertEquals(await status(sql, tip), "confirmed");
        assertEquals((await handle(await delivery(event, NOW))).status, 409);
        assertEquals((await (await handle(await delivery(event, NOW + 1))).json()).duplicate, true);
        const unknown = paymentEvent("payment_intent.succeeded", crypto.randomUUID());
        assertEquals((await handle(await delivery(unknown, NOW))).status, 404);
        const refund = paymentEvent("charge.refunded", tip, { id: `${id}r`, payment });
        assertEquals((await handle(await delivery(refund, NOW))).status, 200);
        assertEquals(await status(sql, tip), "refunded");
        assertEquals((await handle(await delivery(event, NOW + 2))).status, 409);
      } finally {
        await close();
      }
    }),
});

Deno.test({
  name: "twenty deliveries at once are one confirmation",
  ignore,
  fn: () =>
    withTip(async (tip, sql) => {
      const connections = Array.from({ length: 4 }, () => connect(pooler!));
      try {
        const event = paymentEvent("payment_intent.succeeded", tip, {
          id: crypto.randomUUID(),
          payment: `pi_${crypto.randomUUID()}`,
        });
        const handlers = connections.map(({ settle }) => makeHandler(SECRET, settle));
        const responses = await Promise.all(
          Array.from({ length: 20 }, async (_, n) => handlers[n % 4](await delivery(event, NOW + n % 10))),
        );
        const replies = await Promise.all(responses.map((response) => response.json()));
        assertEquals(replies.filter((reply) => reply.duplicate === false).length, 1);
        assertEquals(replies.filter((reply) => reply.error === "replayed").length, 10);
        const events = await sql`
          select 1 from public.session_events where kind = 'tip' and payload -> 'tip' ->> 'id' = ${tip}`;
        assertEquals(events.length, 1);
      } finally {
        await Promise.all(connections.map(({ close }) => close()));
      }
    }),
});
