import { Transcript } from "/page/transcript.js";

const $ = (id) => document.getElementById(id);
const transcript = new Transcript($("transcript"), $("player"));
let token = sessionStorage.getItem("token") || "";
let microphone = null;

const headers = () => (token ? { Authorization: `Bearer ${token}` } : {});

function showMessage(text) {
  $("message").textContent = text;
}

async function request(path, options = {}) {
  const answer = await fetch(path, { ...options, headers: headers() });
  if (answer.ok) return answer;
  if (answer.status === 401) $("ask").hidden = false;
  let message = `the server answered ${answer.status}`;
  try {
    message = (await answer.json()).error.message;
  } catch { /* the body is no JSON: the message names the status alone */ }
  throw new Error(message);
}

// The server's state.

async function showServer() {
  try {
    const status = await (await request("/v1/status")).json();
    $("ask").hidden = true;
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
    showMessage(error.message);
  }
}

$("ask").addEventListener("submit", (event) => {
  event.preventDefault();
  token = $("token").value;
  sessionStorage.setItem("token", token);
  showMessage("");
  showServer();
});
$("model").addEventListener("change", showServer);

// The microphone.

async function startMicrophone() {
  if (!navigator.mediaDevices) {
    throw new Error("browsers give a microphone only to https and to localhost; serve with --certificate");
  }
  const media = await navigator.mediaDevices.getUserMedia({
    audio: { channelCount: 1, echoCancellation: false, noiseSuppression: false, autoGainControl: false },
  });
  const context = new AudioContext();
  await context.audioWorklet.addModule("/page/capture.js");
  const source = context.createMediaStreamSource(media);
  const node = new AudioWorkletNode(context, "capture", { numberOfOutputs: 0 });
  const address = new URL("/v1/listen", location.href);
  address.protocol = address.protocol.replace("http", "ws");
  address.searchParams.set("sample_rate", context.sampleRate);
  address.searchParams.set("model", $("model").value);
  const socket = new WebSocket(address, token ? ["wav2edge", `openai-insecure-api-key.${token}`] : ["wav2edge"]);
  const recording = transcript.begin("Microphone", context.sampleRate);
  const session = { media, context, socket, sent: [], seconds: 0 };
  const waiting = [];
  node.port.onmessage = ({ data }) => {
    $("level").value = data.level;
    recording.keep(new Int16Array(data.samples));
    session.seconds += data.samples.byteLength / 2 / context.sampleRate;
    session.sent.push([session.seconds, performance.now()]);
    if (socket.readyState === WebSocket.OPEN) socket.send(data.samples);
    else if (socket.readyState === WebSocket.CONNECTING) waiting.push(data.samples);
  };
  source.connect(node);
  socket.onopen = () => {
    for (const samples of waiting.splice(0)) socket.send(samples);
  };
  socket.onmessage = ({ data }) => onEvent(JSON.parse(data), session, recording);
  socket.onclose = () => stopMicrophone(true);
  return session;
}

function onEvent(event, session, recording) {
  if (event.event === "partial") {
    const [, when] = session.sent.find(([seconds]) => seconds >= event.end - 1e-6) || [0, performance.now()];
    $("delay").textContent = `${((performance.now() - when) / 1000).toFixed(2)} s`;
    recording.committed(event.stable);
    $("tentative").textContent = event.tentative;
  } else if (event.event === "final") {
    recording.add({ start: event.start, end: event.end, text: event.text, words: event.words });
    $("tentative").textContent = "";
    $("spoken").textContent = event.text;
    enable();
  } else if (event.event === "stats") {
    $("lost").textContent = `${event.dropped.toFixed(1)} s`;
    session.sent = session.sent.filter(([seconds]) => seconds > event.time - 30);
  } else if (event.event === "error") {
    showMessage(event.message);
  } else if (event.event === "end") {
    session.socket.close();
  }
}

function stopMicrophone(closed = false) {
  const session = microphone;
  if (!session) return;
  session.media.getTracks().forEach((track) => track.stop());
  if (session.context.state !== "closed") session.context.close();
  if (closed) {
    microphone = null;
    $("tentative").textContent = "";
    $("level").value = -60;
  } else if (session.socket.readyState === WebSocket.OPEN) {
    session.socket.send('{"type": "finish"}');
  }
  $("microphone").textContent = "Start microphone";
  $("microphone").setAttribute("aria-pressed", "false");
}

$("microphone").addEventListener("click", async () => {
  if (microphone) {
    stopMicrophone();
    return;
  }
  showMessage("");
  try {
    microphone = await startMicrophone();
    $("microphone").textContent = "Stop microphone";
    $("microphone").setAttribute("aria-pressed", "true");
  } catch (error) {
    showMessage(error.name === "NotAllowedError" ? "the browser was not allowed to use the microphone" : error.message);
  }
});

// Recordings.

async function* eventsOf(answer) {
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let unfinished = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    unfinished += value;
    const blocks = unfinished.split("\n\n");
    unfinished = blocks.pop();
    for (const block of blocks) {
      if (block.startsWith("data: ")) yield JSON.parse(block.slice(6));
    }
  }
}

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
    for await (const event of eventsOf(answer)) {
      if (event.type === "progress") {
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
        const warnings = event.transcript.warnings.join("; ");
        label.textContent = `${file.name}: done${warnings && ` (${warnings})`}`;
      }
    }
  } catch (error) {
    bar.remove();
    label.textContent = `${file.name}: failed`;
    showMessage(error.message);
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
  enable();
});

showServer();
setInterval(() => document.hidden || showServer(), 3000);
