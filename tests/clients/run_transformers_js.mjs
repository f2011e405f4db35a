// Run a packed folder in transformers.js: run_transformers_js.mjs FOLDER CLIPS.json OUT.json DTYPE MODULES.
//
// CLIPS.json lists files of float32 samples at 16 kHz; MODULES is the folder of npm's packages. OUT.json: the client's
// version, and of each clip its text (CTC) or its labels with scores, run alone and by one call of the pipeline with all.
import { readFileSync, writeFileSync } from "node:fs";
import { basename, dirname, resolve } from "node:path";
import { pathToFileURL } from "node:url";

const [folder, listed, out, dtype, modules] = process.argv.slice(2);
const home = resolve(modules, "@huggingface/transformers");
const version = JSON.parse(readFileSync(resolve(home, "package.json"), "utf-8")).version;
const { pipeline, env } = await import(pathToFileURL(resolve(home, "dist/transformers.node.mjs")).href);

env.localModelPath = dirname(resolve(folder)) + "/";
env.allowRemoteModels = false;
const config = JSON.parse(readFileSync(resolve(folder, "config.json"), "utf-8"));
const ctc = config.architectures[0].endsWith("ForCTC");
const task = ctc ? "automatic-speech-recognition" : "audio-classification";
const run = await pipeline(task, basename(resolve(folder)), { dtype });

const clips = JSON.parse(readFileSync(listed, "utf-8")).map((path) => {
  const bytes = readFileSync(path);
  return new Float32Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length));
});
const row = (result) => (ctc ? { text: result.text } : { text: result[0].label, scores: result });
const alone = [];
for (const clip of clips) alone.push(row(await run(clip)));
const batch = (await run(clips)).map(row);
writeFileSync(out, JSON.stringify({ client: `transformers.js ${version}, node ${process.version}`, alone, batch }));
