// OpenAI's JavaScript client in realtime: node realtime.mjs BASE_URL FILE.pcm prints the transcript.
// FILE.pcm holds 16-bit samples at 24 kHz.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

const require = createRequire(join(process.env.NODE_MODULES, "x.js"));
const { default: OpenAI } = await import(pathToFileURL(require.resolve("openai")));
const { OpenAIRealtimeWS } = await import(pathToFileURL(require.resolve("openai/realtime/ws")));

const [baseURL, file] = process.argv.slice(2);
const client = new OpenAI.OpenAI({ apiKey: "none", baseURL });
const realtime = new OpenAIRealtimeWS({ model: "wav2edge-demo" }, client);
let deltas = "";

realtime.on("session.created", () => {
  realtime.send({
    type: "session.update",
    session: {
      type: "transcription",
      audio: { input: { format: { type: "audio/pcm", rate: 24000 }, turn_detection: null } },
    },
  });
});
realtime.on("session.updated", () => {
  const data = readFileSync(file);
  for (let at = 0; at < data.length; at += 4800) {
    const audio = data.subarray(at, at + 4800).toString("base64");
    realtime.send({ type: "input_audio_buffer.append", audio });
  }
  realtime.send({ type: "input_audio_buffer.commit" });
});
realtime.on("conversation.item.input_audio_transcription.delta", (event) => {
  deltas += event.delta;
});
realtime.on("conversation.item.input_audio_transcription.completed", (event) => {
  console.log(JSON.stringify({ deltas, transcript: event.transcript }));
  realtime.close();
});
realtime.on("error", (error) => {
  console.error(String(error));
  process.exit(1);
});
