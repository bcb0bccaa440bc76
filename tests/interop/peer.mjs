// A supabase-js client as the TypeScript app uses it, driven by a test: one JSON command a line on stdin, one JSON
// answer or event a line on stdout. Nothing here knows the Python SDK; it follows docs/reference/wire.md alone.

import { randomUUID, randomBytes } from "node:crypto"
import { createInterface } from "node:readline"
import { createClient } from "@supabase/supabase-js"
import { WebSocket } from "ws"

const client = createClient(process.env.SUPABASE_URL, process.env.SUPABASE_ANON_KEY, {
  auth: { persistSession: false, autoRefreshToken: false },
  realtime: { transport: WebSocket }, // Node before 22 has none of its own
})

let user = null
let username = ""
let sessionId = null
let channel = null

const tell = (line) => process.stdout.write(JSON.stringify(line) + "\n")
const event = (name, data) => tell({ event: name, ...data })

// RFC 9562: 48 bits of milliseconds, then version, variant and random bits.
function uuidv7() {
  const bytes = randomBytes(16)
  bytes.writeUIntBE(Date.now(), 0, 6)
  bytes[6] = (bytes[6] & 0x0f) | 0x70
  bytes[8] = (bytes[8] & 0x3f) | 0x80
  const hex = bytes.toString("hex")
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join("-")
}

async function rpc(name, params) {
  const { data, error } = await client.rpc(name, params)
  if (error) throw Object.assign(new Error(error.message), { hint: error.hint, details: error.details, code: error.code })
  return data
}

// As in wire.md: where a frame waits for its tick, whoever wrote asks for it.
function flushWhenDue(frame) {
  if (frame?.pending) {
    setTimeout(() => rpc("flush_frame", { p_session_id: sessionId }).then(flushWhenDue).catch((error) => console.error(error.message)), frame.wait_ms)
  }
}

const commands = {
  async sign_in({ name }) {
    const { data, error } = await client.auth.signInAnonymously({ options: { data: { username: name } } })
    if (error) throw error
    user = data.user
    username = name
    await client.realtime.setAuth()
    return { user_id: user.id }
  },

  async join({ session_id, isPrivate = true, member = true }) {
    sessionId = session_id
    if (member) await rpc("join_session", { p_session_id: sessionId })
    const filter = `session_id=eq.${sessionId}`
    channel = client.channel(`session:${sessionId}`, { config: { private: isPrivate, presence: { key: user.id } } })
    channel
      .on("broadcast", { event: "chat" }, ({ payload }) => event("chat", { payload }))
      .on("broadcast", { event: "typing" }, ({ payload }) => event("typing", { payload }))
      .on("presence", { event: "sync" }, () => event("presence", { state: channel.presenceState() }))
      .on("system", {}, (payload) => event("system", { payload }))
    for (const table of ["votes", "tips", "queue_items"]) {
      channel.on("postgres_changes", { event: "*", schema: "public", table, filter }, (change) =>
        event("row", { table, type: change.eventType, row: change.new }))
    }
    return await new Promise((resolve) => {
      channel.subscribe((status, error) => resolve({ status, error: error?.message ?? null }))
    })
  },

  // The topic that only the database writes to; resolves once frames arrive.
  async frames() {
    const topic = `session:${sessionId}:frames`
    const heard = client.channel(topic, { config: { private: true, broadcast: { replication_ready: true } } })
    heard.on("broadcast", { event: "frame" }, ({ payload }) => event("frame", { payload }))
    return await new Promise((resolve) => {
      heard.on("system", {}, (payload) => resolve({ status: payload.status }))
      heard.subscribe((status, error) => {
        if (status !== "SUBSCRIBED") resolve({ status, error: error?.message ?? null })
      })
    })
  },

  async track() {
    return await channel.track({ user_id: user.id, username, role: "listener", online_at: new Date().toISOString() })
  },

  // As in wire.md: heard at once, then stored under the same id.
  async chat({ text }) {
    const id = uuidv7()
    const message = {
      id, session_id: sessionId, user_id: user.id, username, content: text, created_at: new Date().toISOString(),
    }
    const sent = await channel.send({ type: "broadcast", event: "chat", payload: { message } })
    const stored = await rpc("insert_messages", { p_session_id: sessionId, p_messages: [{ id, content: text }] })
    flushWhenDue(stored.frame)
    return { id, sent, result: stored.results[0] }
  },

  async typing({ typing }) {
    return await channel.send({ type: "broadcast", event: "typing", payload: { user_id: user.id, username, typing } })
  },

  async rpc({ name, params }) {
    return await rpc(name, params)
  },

  async vote({ song_id, value }) {
    const cast = await rpc("cast_vote", {
      p_session_id: sessionId, p_song_id: song_id, p_value: value, p_key: randomUUID(),
    })
    flushWhenDue(cast.frame)
    return cast
  },

  async leave() {
    return await client.removeChannel(channel)
  },
}

for await (const line of createInterface({ input: process.stdin })) {
  const { id, do: name, ...given } = JSON.parse(line)
  // Not awaited: an answer may have to wait for what a later command brings about.
  commands[name](given).then(
    (result) => tell({ id, result }),
    (error) => tell({ id, error: { message: error.message, hint: error.hint, details: error.details } }),
  )
}
await client.removeAllChannels()
process.exit(0)
