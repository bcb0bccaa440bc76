/**
 * The payment provider calls this when money moved. Secrets:
 *   TIP_WEBHOOK_SECRET  the provider's signing secret of this endpoint
 *   TIP_DATABASE_URL    the pooler in transaction mode (port 6543); SUPABASE_DB_URL, which is direct, only in development
 */

import { connect } from "./database.ts";
import { makeHandler } from "./handler.ts";

function required(...names: string[]): string {
  for (const name of names) {
    const value = Deno.env.get(name);
    if (value) return value;
  }
  throw new Error(`set one of: ${names.join(", ")}`);
}

const { settle } = connect(required("TIP_DATABASE_URL", "SUPABASE_DB_URL"));
Deno.serve(makeHandler(required("TIP_WEBHOOK_SECRET"), settle));
