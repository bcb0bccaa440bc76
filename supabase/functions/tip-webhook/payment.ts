/** What an event of the payment provider means for a tip. */

/** A tip to settle. */
export interface Settlement {
  eventId: string;
  tipId: string;
  status: "confirmed" | "refunded";
  amount: number;
  currency: string;
  providerRef: string;
}

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;

type Json = Record<string, unknown>;

function object(value: unknown): Json {
  return typeof value === "object" && value !== null ? value as Json : {};
}

function settlement(event: Json, payment: Json, status: Settlement["status"], amount: unknown, ref: unknown) {
  const tipId = object(payment.metadata).tip_id;
  if (typeof tipId !== "string" || !UUID.test(tipId)) return null;
  if (typeof event.id !== "string" || typeof ref !== "string" || typeof payment.currency !== "string") {
    return null;
  }
  if (!Number.isSafeInteger(amount)) return null;
  const currency = payment.currency.toUpperCase();
  return { eventId: event.id, tipId, status, amount: amount as number, currency, providerRef: ref };
}

/** The settlement an event asks for; null for events that are none of ours (other types, no `metadata.tip_id`). */
export function settlementOf(event: unknown): Settlement | null {
  const outer = object(event);
  const payment = object(object(outer.data).object);
  switch (outer.type) {
    case "payment_intent.succeeded":
      return settlement(outer, payment, "confirmed", payment.amount_received, payment.id);
    case "payment_intent.canceled":
      return settlement(outer, payment, "refunded", payment.amount, payment.id);
    case "charge.refunded":
      // A part of the money back leaves the tip as it is: tips are whole or not at all.
      if (payment.amount_refunded !== payment.amount) return null;
      return settlement(outer, payment, "refunded", payment.amount, payment.payment_intent);
    default:
      return null;
  }
}
