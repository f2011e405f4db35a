import { Microphone } from "/page/microphone.js";
import { eventsOf, request, useToken } from "/page/server.js";
import { Transcript } from "/page/transcript.js";

const $ = (id) => document.getElementById(id);
const transcript = new Transcript($("transcript"), $("player"));
const microphone = new Microphone(transcript, showMessage, enable);

function showMessage(text) {
  $("message").textContent = text;
}

// The server's state.

async function showServer() {
  try {
    const status = await (await request("/v1/status")).json();
    $("ask").hidden = true;
    showAway("");
    const select = $("model");
    if (select.options.length !== status.models.length) {
      select.replaceChildren(...status.models.map((model) => new Option(model.id)));
    }
    const model = status.models.find((each) => each.id === select.value) || status.models[0];
    const wer = Object.entries(model.wer).map(([name, value]) => `${name} ${value} %`).join(", ");
    $("about").textContent = `${model.architecture}, word error rate: ${wer || "not measured"}`;
    const rows = {
      Model: `${model.id} (${(model.bytes / 1e6).toFixed(1)} MB)`,
      Engine: model.engine,
      Variant: model.variant,
      Load: `${Math.round(100 * status.load)} %`,
      "Live streams": status.streams,
      Recordings: status.files,
      "Lag (p95)": status.lag_p95 === null ? "–" : `${status.lag_p95.toFixed(2)} s`,
      Memory: `${Math.round(status.memory_bytes / 1e6)} MB`,
    };
    $("server").replaceChildren(...Object.entries(rows).flatMap(([name, value]) => {
      const term = document.createElement("dt");
      const about = document.createElement("dd");
      term.textContent = name;
      about.textContent = value;
      return [term, about];
    }));
  } catch (error) {
    if (error.status === 401) $("ask").hidden = false;
    showAway(error.message);
  }
}

// Why the server's state is not known. An alert is read out whenever it is written, so it is written when it changes.
function showAway(text) {
  if ($("away").textContent !== text) $("away").textContent = text;
}

$("ask").addEventListener("submit", (event) => {
  event.preventDefault();
  useToken($("token").value);
  showMessage("");
  showAway("");
  showServer();
});
$("model").addEventListener("change", showServer);

$("microphone").addEventListener("click", () => microphone.press());

// Recordings.

async function transcribe(file) {
  const item = document.createElement("li");
  const bar = document.createElement("progress");
  bar.setAttribute("aria-label", file.name);
  const label = document.createElement("span");
  label.textContent = `${file.name}: sending`;
  item.append(label, bar);
  $("uploads").append(item);
  const recording = transcript.begin(file.name, 0, file);
  try {
    const form = new FormData();
    form.append("model", $("model").value);
    form.append("file", file);
    const answer = await request("/v1/recordings", { method: "POST", body: form });
    let finished = false;
    for await (const event of eventsOf(answer)) {
      if (event.type === "progress") {
        recording.length = event.total;
        bar.max = event.total;
        bar.value = event.done;
        label.textContent = `${file.name}: ${event.done.toFixed(0)} of ${event.total.toFixed(0)} s`;
      } else if (event.type === "segment") {
        const words = event.segment.words.map((word) => ({ ...word, text: word.word }));
        recording.add({ ...event.segment, words });
        enable();
      } else if (event.type === "error") {
        throw new Error(event.error.message);
      } else if (event.type === "done") {
        bar.max = bar.value = 1;
        recording.done(event);
        finished = true;
        const warnings = event.transcript.warnings.join("; ");
        label.textContent = `${file.name}: done${warnings && ` (${warnings})`}`;
      }
    }
    if (!finished) throw new Error(`${file.name}: the server ended before the recording was transcribed`);
  } catch (error) {
    bar.remove();
    label.textContent = `${file.name}: failed`;
    if (error.status === 401) $("ask").hidden = false;
    showMessage(error.message);
  } finally {
    recording.close();
  }
}

async function transcribeAll(files) {
  showMessage("");
  for (const file of files) await transcribe(file);
}

$("files").addEventListener("change", () => {
  const files = [...$("files").files];
  $("files").value = "";
  transcribeAll(files);
});
for (const kind of ["dragover", "dragleave", "drop"]) {
  document.addEventListener(kind, (event) => {
    event.preventDefault();
    $("drop").classList.toggle("over", kind === "dragover");
    if (kind === "drop") transcribeAll([...event.dataTransfer.files]);
  });
}

// The transcript's tools.

function enable() {
  for (const button of document.querySelectorAll("[data-form], #clear")) button.disabled = transcript.empty;
}

$("search").addEventListener("input", () => {
  const wanted = $("search").value;
  const count = transcript.search(wanted);
  $("hits").textContent = wanted.trim() ? `${count} found` : "";
});
for (const button of document.querySelectorAll("[data-form]")) {
  button.addEventListener("click", () => {
    const form = button.dataset.form;
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([transcript.as(form)], { type: "text/plain" }));
    link.download = `transcript.${form}`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  });
}
$("clear").addEventListener("click", () => {
  transcript.clear();
  $("uploads").replaceChildren();
  $("tentative").textContent = "";
  enable();
});

showServer();
setInterval(() => document.hidden || showServer(), 3000);
