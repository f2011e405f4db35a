// The transcript: recordings, their segments and words, shown as buttons that play their sound.

import { gapOf, oneLine, srt, vtt } from "/page/subtitles.js";

const PLAYABLE = 30 * 60; // the last seconds of the microphone that are kept for playing

const thousandths = (seconds) => Math.round(1000 * seconds) / 1000;

// Words that no final has confirmed, as a segment; without times of their own they share the utterance's by length.
function unconfirmed({ start, end, stable, tentative, gap }) {
  const texts = [stable, tentative].filter(Boolean).join(gap).split(/\s+/).filter(Boolean);
  const each = (end - start) / texts.join("").length;
  let at = start;
  const words = texts.map((text) => {
    const from = at;
    at += each * text.length;
    return { text, start: thousandths(from), end: thousandths(at) };
  });
  return { start, end, text: texts.join(" "), words, final: false };
}

const lines = (segments) => segments.map(({ text }) => `${oneLine(text)}\n`).join("");

class Recording {
  constructor(name, rate, file, place, play) {
    this.name = name;
    this.rate = rate;
    this.file = file;
    this.segments = [];
    this.blocks = [];
    this.pending = null; // what was said since the last segment: the last partial
    this.length = 0; // seconds of sound so far
    this.open = true; // whether more words may come
    this.cut = false; // whether words were cleared
    this.formats = null;
    this.document = null;
    this.play = play;
    this.place = document.createElement("section");
    this.title = document.createElement("h3");
    this.title.textContent = name;
    this.running = document.createElement("p");
    this.running.className = "quiet";
    this.place.append(this.title, this.running);
    place.append(this.place);
    this.scroll = () => {
      place.scrollTop = 1e9;
    };
  }

  keep(block) {
    this.blocks.push(block);
    this.length += block.length / this.rate;
    if (this.blocks.length > PLAYABLE * 10) this.blocks.shift(), (this.lost = (this.lost || 0) + 0.1);
  }

  partial(event) {
    this.pending = event;
    this.running.textContent = event.stable;
    this.scroll();
  }

  final({ utterance, start, end, text, words }) {
    if (this.pending && this.pending.utterance <= utterance) {
      this.pending = null;
      this.running.textContent = "";
    }
    if (words.length) this.add({ start, end, text, words });
  }

  add(segment) {
    this.segments.push(segment);
    const line = document.createElement("p");
    const gap = gapOf(segment);
    segment.words.forEach((word, index) => {
      const button = document.createElement("button");
      button.className = "word";
      button.type = "button";
      button.textContent = word.text;
      button.title = `${word.start.toFixed(2)} s`;
      button.addEventListener("click", () => this.play(this, word, button));
      line.append(index ? gap : "", button);
    });
    this.running.before(line);
    this.scroll();
  }

  done(event) {
    this.length = event.transcript.duration;
    if (this.cut) return; // the server's files have the words that were cleared
    this.formats = event.formats;
    this.document = event.transcript;
  }

  // No more words come: those that no final confirmed stay as they are.
  close() {
    this.open = false;
    const { pending } = this;
    this.pending = null;
    this.running.textContent = "";
    if (pending && unconfirmed(pending).text) this.add(unconfirmed(pending));
  }

  clear() {
    this.cut = true;
    this.segments = [];
    this.pending = null;
    this.running.textContent = "";
    this.place.replaceChildren(this.title, this.running);
  }

  sound() {
    if (this.file) return this.file;
    const count = this.blocks.reduce((sum, block) => sum + block.length, 0);
    const wav = new DataView(new ArrayBuffer(44));
    const text = (at, value) => [...value].forEach((letter, i) => wav.setUint8(at + i, letter.charCodeAt(0)));
    text(0, "RIFF"), wav.setUint32(4, 36 + 2 * count, true), text(8, "WAVEfmt ");
    wav.setUint32(16, 16, true), wav.setUint16(20, 1, true), wav.setUint16(22, 1, true);
    wav.setUint32(24, this.rate, true), wav.setUint32(28, 2 * this.rate, true);
    wav.setUint16(32, 2, true), wav.setUint16(34, 16, true), text(36, "data"), wav.setUint32(40, 2 * count, true);
    return new Blob([wav, ...this.blocks], { type: "audio/wav" });
  }

  // All words that are shown: the segments, and what was said since.
  get spoken() {
    const running = this.pending ? unconfirmed(this.pending) : { text: "" };
    return running.text ? [...this.segments, running] : this.segments;
  }

  get seconds() {
    return Math.max(this.length, ...this.spoken.slice(-1).map((segment) => segment.end));
  }
}

export class Transcript {
  constructor(place, player) {
    this.place = place;
    this.player = player;
    this.recordings = [];
  }

  get empty() {
    return !this.recordings.some((recording) => recording.spoken.length);
  }

  begin(name, rate, file = null) {
    const recording = new Recording(name, rate, file, this.place, (...of) => this.play(...of));
    this.recordings.push(recording);
    return recording;
  }

  clear() {
    this.player.pause();
    this.recordings = this.recordings.filter((recording) => recording.open);
    this.recordings.forEach((recording) => recording.clear());
    this.place.replaceChildren(...this.recordings.map((recording) => recording.place));
  }

  remove(recording) {
    this.recordings = this.recordings.filter((each) => each !== recording);
    recording.place.remove();
  }

  play(recording, word, button) {
    const player = this.player;
    URL.revokeObjectURL(player.src);
    player.src = URL.createObjectURL(recording.sound());
    player.currentTime = Math.max(0, word.start - (recording.lost || 0) - 0.05);
    for (const other of this.place.querySelectorAll(".playing")) other.classList.remove("playing");
    button.classList.add("playing");
    const end = word.end - (recording.lost || 0) + 0.1;
    player.ontimeupdate = () => {
      if (player.currentTime >= end) player.pause();
    };
    player.onpause = () => button.classList.remove("playing");
    player.play();
  }

  search(text) {
    const wanted = text.trim().toLowerCase();
    let count = 0;
    for (const button of this.place.querySelectorAll(".word")) {
      const hit = Boolean(wanted) && button.textContent.toLowerCase().includes(wanted);
      button.classList.toggle("hit", hit);
      if (hit && !count) button.scrollIntoView({ block: "nearest" });
      count += hit;
    }
    return count;
  }

  // The transcript as a file: of a single uploaded recording the server's, else one written here.
  as(form) {
    const recordings = this.recordings.filter((recording) => recording.spoken.length);
    const [only] = recordings;
    if (recordings.length === 1 && only.formats) {
      if (form === "json") return `${JSON.stringify(only.document, null, 2)}\n`;
      return only.formats[form === "txt" ? "text" : form];
    }
    const made = recordings.map(({ name, spoken }) => ({ file: name, segments: spoken }));
    if (form === "json") return `${JSON.stringify(made, null, 2)}\n`;
    if (form === "txt") return made.map(({ segments }) => lines(segments)).join("\n");
    return (form === "srt" ? srt : vtt)(recordings.map(({ spoken, seconds }) => ({ segments: spoken, seconds })));
  }
}
