// onnxruntime-web (WebAssembly) in node, on the layout that `wav2edge pack --for transformers.js` writes: line.py's
// orders. onnxruntime_web.mjs serve FOLDER VARIANT THREADS, with the folder of npm's packages in MODULES.
import { existsSync, readFileSync } from "node:fs";
import { resolve } from "node:path";
import { createInterface } from "node:readline";
import { pathToFileURL } from "node:url";

const [, folder, variant, threads] = process.argv.slice(2);
const say = (answer) => process.stdout.write(JSON.stringify(answer) + "\n");
const status = (field) => 1024 * Number(readFileSync("/proc/self/status", "utf-8").match(new RegExp(`${field}:\\s+(\\d+)`))[1]);

try {
  const modules = resolve(process.env.MODULES, "onnxruntime-web");
  const ort = await import(pathToFileURL(resolve(modules, "dist/ort.node.min.mjs")).href);
  ort.env.wasm.numThreads = Number(threads);
  const bare = status("VmRSS");
  const file = resolve(folder, "onnx", variant === "fp32" ? "model.onnx" : "model_quantized.onnx");
  const session = await ort.InferenceSession.create(file, { executionProviders: ["wasm"] });
  const json = (name) => JSON.parse(readFileSync(resolve(folder, name), "utf-8"));
  const labels = new Map();
  const vocabulary = existsSync(resolve(folder, "vocab.json")) ? json("vocab.json") : json("tokenizer.json").model.vocab;
  for (const [label, index] of Object.entries(vocabulary)) labels.set(index, label);
  const blank = json("config.json").pad_token_id;

  const recognize = async (clip) => {
    const mean = clip.reduce((sum, value) => sum + value, 0) / clip.length;
    const variance = clip.reduce((sum, value) => sum + (value - mean) ** 2, 0) / clip.length;
    const values = clip.map((value) => (value - mean) / Math.sqrt(variance + 1e-7));
    const feeds = { [session.inputNames[0]]: new ort.Tensor("float32", values, [1, values.length]) };
    const logits = (await session.run(feeds))[session.outputNames[0]];
    const [, frames, width] = logits.dims;
    let text = "", last = -1;
    for (let frame = 0; frame < frames; frame++) {
      const row = logits.data.subarray(frame * width, (frame + 1) * width);
      const best = row.indexOf(row.reduce((most, value) => Math.max(most, value), -Infinity));
      if (best !== last && best !== blank && !/^<.*>$/.test(labels.get(best))) text += labels.get(best);
      last = best;
    }
    return text.replaceAll("|", " ").trim();
  };

  say({ ready: true });
  for await (const line of createInterface({ input: process.stdin })) {
    const asked = JSON.parse(line);
    if (asked.run === undefined) {
      const peak = status("VmHWM");
      say({ above: peak - bare, peak });
      continue;
    }
    const bytes = readFileSync(asked.run);
    const clip = new Float32Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length));
    const started = performance.now();
    const text = await recognize(clip);
    say({ seconds: (performance.now() - started) / 1000, text });
  }
  process.exit(0);
} catch (error) {
  say({ error: `${error.name ?? "Error"}: ${String(error.message ?? error).split("\n")[0]}` });
  process.exit(1);
}
