/** Signatures of webhooks: `Stripe-Signature: t=<seconds>,v1=<hex HMAC-SHA256 of "t.body">`, several v1 while a secret rolls over. */

/** Why a signature was refused. */
export type Refusal = "missing" | "malformed" | "too_old" | "too_new" | "mismatch";

/** What checking came to: when it was signed (seconds since 1970), or why it is refused. */
export type Verdict = { ok: true; signedAt: number } | { ok: false; reason: Refusal };

const TOLERANCE_SECONDS = 300;
const DIGEST_BYTES = 32;

interface Parsed {
  signedAt: number;
  candidates: Uint8Array[];
}

function parse(header: string): Parsed | null {
  const times: number[] = [];
  const candidates: Uint8Array[] = [];
  for (const part of header.split(",")) {
    const [name, value = ""] = part.trim().split("=", 2);
    if (name === "t" && /^\d{1,12}$/.test(value)) times.push(Number(value));
    if (name === "v1" && /^[0-9a-f]{64}$/i.test(value)) candidates.push(fromHex(value));
  }
  return times.length === 1 && candidates.length > 0 ? { signedAt: times[0], candidates } : null;
}

function fromHex(text: string): Uint8Array {
  return Uint8Array.from(text.match(/../g) ?? [], (pair) => parseInt(pair, 16));
}

/** Compares without telling by its time where two digests differ. */
export function equalInConstantTime(left: Uint8Array, right: Uint8Array): boolean {
  let difference = left.length ^ right.length;
  for (let index = 0; index < DIGEST_BYTES; index++) difference |= (left[index] ?? 0) ^ (right[index] ?? 0);
  return difference === 0;
}

/** The HMAC-SHA256 of `signedAt.body`. */
export async function digest(secret: string, signedAt: number, body: Uint8Array): Promise<Uint8Array> {
  const encoder = new TextEncoder();
  const key = await crypto.subtle.importKey(
    "raw",
    encoder.encode(secret),
    { name: "HMAC", hash: "SHA-256" },
    false,
    [
      "sign",
    ],
  );
  const prefix = encoder.encode(`${signedAt}.`);
  const message = new Uint8Array(prefix.length + body.length);
  message.set(prefix);
  message.set(body, prefix.length);
  return new Uint8Array(await crypto.subtle.sign("HMAC", key, message));
}

/**
 * Checks a signature over the bytes as they came: parsing and writing JSON again would change them.
 *
 * @param now seconds since 1970.
 */
export async function verify(
  secret: string,
  header: string | null,
  body: Uint8Array,
  now: number,
): Promise<Verdict> {
  if (!header) return { ok: false, reason: "missing" };
  const parsed = parse(header);
  if (!parsed) return { ok: false, reason: "malformed" };
  const expected = await digest(secret, parsed.signedAt, body);
  // Every candidate is compared, so that the time does not tell which one matched.
  const matches = parsed.candidates.map((candidate) => equalInConstantTime(candidate, expected));
  if (!matches.includes(true)) return { ok: false, reason: "mismatch" };
  if (parsed.signedAt < now - TOLERANCE_SECONDS) return { ok: false, reason: "too_old" };
  if (parsed.signedAt > now + TOLERANCE_SECONDS) return { ok: false, reason: "too_new" };
  return { ok: true, signedAt: parsed.signedAt };
}
