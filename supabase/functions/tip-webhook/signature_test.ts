import { digest, equalInConstantTime, verify } from "./signature.ts";
import { assertEquals, header, SECRET } from "./testing.ts";

const NOW = 1_800_000_000;
const body = new TextEncoder().encode('{"id": "evt_1", "emoji": "🎧"}');

Deno.test("a known digest", async () => {
  // echo -n '1.x' | openssl dgst -sha256 -hmac key
  const bytes = await digest("key", 1, new TextEncoder().encode("x"));
  const hex = [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  assertEquals(hex, "fc4913c41a7bf793267e2a384f3261c9436ec2cd097bd745e7b0d99113f510ec");
});

Deno.test("a fresh signature is accepted, with its time", async () => {
  assertEquals(await verify(SECRET, await header(body, NOW), body, NOW + 10), { ok: true, signedAt: NOW });
});

Deno.test("any of several signatures will do while a secret rolls over", async () => {
  const good = (await header(body, NOW)).split("v1=")[1];
  const both = `t=${NOW},v1=${"0".repeat(64)},v0=x,v1=${good}`;
  assertEquals(await verify(SECRET, both, body, NOW), { ok: true, signedAt: NOW });
});

Deno.test("time is tolerated for five minutes, either way, to the second", async () => {
  const signed = await header(body, NOW);
  assertEquals((await verify(SECRET, signed, body, NOW + 300)).ok, true);
  assertEquals(await verify(SECRET, signed, body, NOW + 301), { ok: false, reason: "too_old" });
  assertEquals((await verify(SECRET, signed, body, NOW - 300)).ok, true);
  assertEquals(await verify(SECRET, signed, body, NOW - 301), { ok: false, reason: "too_new" });
});

Deno.test("a changed body, time or secret does not match", async () => {
  const signed = await header(body, NOW);
  const mismatch = { ok: false, reason: "mismatch" };
  assertEquals(await verify(SECRET, signed, new TextEncoder().encode("{}"), NOW), mismatch);
  assertEquals(await verify(SECRET, signed.replace(`${NOW}`, `${NOW + 1}`), body, NOW), mismatch);
  assertEquals(await verify(`${SECRET}x`, signed, body, NOW), mismatch);
  assertEquals(await verify(SECRET, `t=${NOW},v1=${"0".repeat(64)}`, body, NOW), mismatch);
});

Deno.test("what is no signature is refused as such", async () => {
  assertEquals(await verify(SECRET, null, body, NOW), { ok: false, reason: "missing" });
  for (
    const text of [
      "x",
      "t=1",
      `v1=${"0".repeat(64)}`,
      "t=x,v1=00",
      `t=1,t=2,v1=${"0".repeat(64)}`,
      "t=1,v1=0g",
    ]
  ) {
    assertEquals(await verify(SECRET, text, body, NOW), { ok: false, reason: "malformed" });
  }
});

Deno.test("comparing looks at every byte", () => {
  const one = new Uint8Array(32).fill(7);
  for (let index = 0; index < 32; index++) {
    const other = one.slice();
    other[index] ^= 1;
    assertEquals(equalInConstantTime(one, other), false);
  }
  assertEquals(equalInConstantTime(one, one.slice()), true);
  assertEquals(equalInConstantTime(one, one.slice(0, 31)), false);
});
