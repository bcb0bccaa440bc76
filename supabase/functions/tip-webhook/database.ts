/** Settles tips through the connection pooler in transaction mode. */

import postgres from "postgres";
import { type Settle, SettlementRefused } from "./handler.ts";

/**
 * Connects lazily. Transaction mode hands out another server connection per transaction, so: no prepared statements,
 * and everything that must hold together (role, call) in one transaction.
 */
export function connect(url: string): { settle: Settle; close: () => Promise<void> } {
  const sql = postgres(url, { prepare: false, max: 1, idle_timeout: 20, connect_timeout: 10 });
  const settle: Settle = async (settlement, signedAt) => {
    try {
      return await sql.begin(async (transaction) => {
        await transaction`set local role service_role`;
        const [row] = await transaction`
          select public.settle_tip_event(
            ${settlement.eventId}, ${signedAt}, ${settlement.tipId}::uuid, ${settlement.status},
            ${settlement.amount}, ${settlement.currency}, ${settlement.providerRef}) as reply`;
        return row.reply;
      });
    } catch (error) {
      if (error instanceof postgres.PostgresError && /^PT\d{3}$/.test(error.code)) {
        throw new SettlementRefused(error.hint ?? "refused", Number(error.code.slice(2)));
      }
      throw error;
    }
  };
  return { settle, close: () => sql.end({ timeout: 5 }) };
}
