// Checks messages with the reference libraries: reads JSON lines
// {secret, headers, body} and prints one line of JSON for each.
import { createInterface } from "node:readline";
import { HTTP } from "cloudevents";
import { Webhook } from "standardwebhooks";

for await (const line of createInterface({ input: process.stdin })) {
  const { secret, headers, body } = JSON.parse(line);
  const out = { verified: false, type: "", id: "", kind: "" };
  try {
    new Webhook(secret).verify(body, headers);
    out.verified = true;
    const event = HTTP.toEvent({ headers, body });
    event.validate();
    out.type = event.type;
    out.id = event.id;
    out.kind = event.data.kind ?? "";
  } catch (error) {
    out.error = String(error.message);
  }
  console.log(JSON.stringify(out));
}
