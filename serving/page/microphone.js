// The microphone: its sound goes to the server's live captions, whose words go to the transcript.

import { openSocket } from "/page/server.js";

const FINISHING = 30000; // ms that the last words may take after Stop, as in a server that stops
const LABELS = {
  idle: "Start microphone",
  starting: "Starting …",
  live: "Stop microphone",
  finishing: "Finishing …",
};
const AGAIN = "start the microphone again to go on";
const LOST = `the connection to the server was lost; the words so far are kept; ${AGAIN}`;
const REFUSED = "the server did not accept the connection of the microphone; try again";
const UNPLUGGED = "the microphone is gone: it was unplugged, or the browser took it back";
const ENDED = `the server ended the live captions; ${AGAIN}`;

const $ = (id) => document.getElementById(id);

function release({ media, context }) {
  if (media) media.getTracks().forEach((track) => track.stop());
  if (context && context.state !== "closed") context.close();
}

export class Microphone {
  // transcript: takes the words. showMessage: shows a sentence. changed: called when the transcript has changed.
  constructor(transcript, showMessage, changed) {
    this.transcript = transcript;
    this.showMessage = showMessage;
    this.changed = changed;
    this.session = null; // from the click that starts until the last words have come
    this.show("idle");
  }

  show(state) {
    this.state = state;
    const button = $("microphone");
    button.textContent = LABELS[state];
    button.setAttribute("aria-pressed", String(state === "live"));
    button.setAttribute("aria-disabled", String(state === "starting" || state === "finishing")); // it keeps the focus
  }

  async press() {
    if (this.state === "idle") await this.start();
    else if (this.state === "live") this.finish(this.session);
  }

  async start() {
    const session = { sent: [], seconds: 0, waiting: [], opened: false, stopping: false, ended: false, problem: "" };
    this.session = session;
    this.show("starting");
    this.showMessage("");
    try {
      await this.connect(session);
      this.show("live");
    } catch (error) {
      release(session);
      this.session = null;
      this.show("idle");
      const denied = error.name === "NotAllowedError";
      this.showMessage(denied ? "the browser was not allowed to use the microphone" : error.message);
    }
  }

  async connect(session) {
    if (!navigator.mediaDevices) {
      throw new Error("browsers give a microphone only to https and to localhost; serve with --certificate");
    }
    session.media = await navigator.mediaDevices.getUserMedia({
      audio: { channelCount: 1, echoCancellation: false, noiseSuppression: false, autoGainControl: false },
    });
    session.media.getAudioTracks()[0].onended = () => this.unplugged(session);
    const context = session.context = new AudioContext();
    await context.audioWorklet.addModule("/page/capture.js");
    if (session.problem) throw new Error(session.problem);
    const source = context.createMediaStreamSource(session.media);
    const node = new AudioWorkletNode(context, "capture", { numberOfOutputs: 0 });
    const socket = session.socket = openSocket(context.sampleRate, $("model").value);
    session.recording = this.transcript.begin("Microphone", context.sampleRate);
    node.port.onmessage = ({ data }) => this.take(data, session);
    socket.onopen = () => {
      session.opened = true;
      for (const samples of session.waiting.splice(0)) socket.send(samples);
      if (session.stopping) socket.send('{"type": "finish"}');
    };
    socket.onmessage = ({ data }) => {
      if (this.session === session) this.onEvent(JSON.parse(data), session);
    };
    socket.onclose = () => this.close(session);
    source.connect(node);
  }

  take({ samples, level }, session) {
    if (session.stopping || this.session !== session) return;
    $("level").value = level;
    session.recording.keep(new Int16Array(samples));
    session.seconds += samples.byteLength / 2 / session.context.sampleRate;
    session.sent.push([session.seconds, performance.now()]);
    if (session.socket.readyState === WebSocket.OPEN) session.socket.send(samples);
    else if (session.socket.readyState === WebSocket.CONNECTING) session.waiting.push(samples);
  }

  onEvent(event, session) {
    if (event.event === "partial") {
      const [, when] = session.sent.find(([seconds]) => seconds >= event.end - 1e-6) || [0, performance.now()];
      $("delay").textContent = `${((performance.now() - when) / 1000).toFixed(2)} s`;
      session.recording.partial(event);
      $("tentative").textContent = event.tentative;
      this.changed();
    } else if (event.event === "final") {
      session.recording.final(event);
      $("tentative").textContent = "";
      $("spoken").textContent = event.text;
      this.changed();
    } else if (event.event === "stats") {
      $("lost").textContent = `${event.dropped.toFixed(1)} s`;
      session.sent = session.sent.filter(([seconds]) => seconds > event.time - 30);
    } else if (event.event === "error") {
      session.problem = event.message;
      this.showMessage(event.message);
    } else if (event.event === "end") {
      session.ended = true;
      session.socket.close();
    }
  }

  unplugged(session) {
    if (this.session !== session || session.stopping) return;
    session.problem = UNPLUGGED;
    this.showMessage(UNPLUGGED);
    if (session.opened) this.finish(session); // the last words still come
    else if (session.socket) this.close(session);
  }

  finish(session) {
    session.stopping = true;
    release(session);
    this.show("finishing");
    if (session.socket.readyState === WebSocket.OPEN) session.socket.send('{"type": "finish"}');
    session.timer = setTimeout(() => this.close(session), FINISHING);
  }

  close(session) {
    if (this.session !== session) return;
    this.session = null;
    clearTimeout(session.timer);
    release(session);
    session.socket.close();
    session.recording.close();
    if (!session.opened) this.transcript.remove(session.recording);
    $("tentative").textContent = "";
    $("level").value = -60;
    this.show("idle");
    this.changed();
    if (session.problem) return;
    if (!session.ended) this.showMessage(session.opened ? LOST : REFUSED);
    else if (!session.stopping) this.showMessage(ENDED);
  }
}
