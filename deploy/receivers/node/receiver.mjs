// Receives webhooks of xacam with nothing but Node. Copy it and change handle.
import { createHmac, timingSafeEqual } from "node:crypto";
import { closeSync, existsSync, fsyncSync, openSync, readFileSync, writeSync } from "node:fs";
import { createServer } from "node:http";

const tolerance = 300; // seconds
const maxBody = 64 * 1024;

const keys = (process.env.WEBHOOK_SECRET ?? "").split(" ").filter(Boolean)
  .map((s) => Buffer.from(s.replace(/^whsec_/, ""), "base64"));
if (keys.length === 0 || keys.some((k) => k.length < 24)) {
  console.error("WEBHOOK_SECRET is not whsec_…");
  process.exit(1);
}
const path = process.env.EVENTS_FILE || "events.jsonl";

// Of a receiver that runs for years: a table with a unique key.
const seen = new Set();
if (existsSync(path)) {
  for (const line of readFileSync(path, "utf8").split("\n")) {
    try { seen.add(JSON.parse(line).webhook_id); } catch { /* half a line, never answered */ }
  }
}
const file = openSync(path, "a", 0o600);
if (existsSync(path)) {
  const text = readFileSync(path);
  if (text.length > 0 && text[text.length - 1] !== 10) writeSync(file, "\n"); // ends the half line
}
process.on("exit", () => closeSync(file));

function verified(headers, body) {
  const id = headers["webhook-id"], stamp = headers["webhook-timestamp"], given = headers["webhook-signature"];
  if (!id || !given || !/^[0-9]{1,15}$/.test(stamp ?? "")) return false;
  if (Math.abs(Date.now() / 1000 - Number(stamp)) > tolerance) return false;
  return given.split(" ").some((one) => {
    const [version, encoded] = one.split(",");
    if (version !== "v1" || !encoded) return false;
    const signature = Buffer.from(encoded, "base64");
    return keys.some((key) => {
      const want = createHmac("sha256", key).update(`${id}.${stamp}.`).update(body).digest();
      return signature.length === want.length && timingSafeEqual(signature, want);
    });
  });
}

// handle stores an event once.
function handle(id, body) {
  if (seen.has(id)) return;
  const line = Buffer.from(JSON.stringify({ webhook_id: id, body: body.toString("utf8") }) + "\n");
  if (writeSync(file, line) !== line.length) {
    writeSync(file, "\n"); // ends the half line
    throw new Error("the disk is full");
  }
  fsyncSync(file);
  seen.add(id);
}

const server = createServer((req, res) => {
  const answer = (status) => res.writeHead(status).end();
  if (req.method !== "POST") return answer(405);
  const chunks = [];
  let size = 0;
  req.on("data", (chunk) => {
    size += chunk.length;
    if (size > maxBody) {
      answer(413);
      req.destroy();
      return;
    }
    chunks.push(chunk);
  });
  req.on("end", () => {
    const body = Buffer.concat(chunks);
    if (!verified(req.headers, body)) return answer(401);
    try {
      handle(req.headers["webhook-id"], body);
      answer(204);
    } catch (error) {
      console.error(error.message);
      answer(500); // xacam tries again
    }
  });
});
server.requestTimeout = 10_000;
server.listen(Number(process.env.PORT || 9090), "127.0.0.1");
