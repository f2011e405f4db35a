// The transcript: recordings, their segments and words, shown as buttons that play their sound.

const PLAYABLE = 30 * 60; // the last seconds of the microphone that are kept for playing

function clock(seconds, mark) {
  const ms = Math.round(seconds * 1000);
  const two = (value) => String(Math.floor(value)).padStart(2, "0");
  return `${two(ms / 3600000)}:${two((ms / 60000) % 60)}:${two((ms / 1000) % 60)}${mark}${String(ms % 1000).padStart(3, "0")}`;
}

class Recording {
  constructor(name, rate, file, place, play) {
    this.name = name;
    this.rate = rate;
    this.file = file;
    this.segments = [];
    this.blocks = [];
    this.formats = null;
    this.document = null;
    this.play = play;
    this.place = document.createElement("section");
    const title = document.createElement("h3");
    title.textContent = name;
    this.running = document.createElement("p");
    this.running.className = "quiet";
    this.place.append(title, this.running);
    place.append(this.place);
  }

  keep(block) {
    this.blocks.push(block);
    if (this.blocks.length > PLAYABLE * 10) this.blocks.shift(), (this.lost = (this.lost || 0) + 0.1);
  }

  committed(text) {
    this.running.textContent = text;
    this.running.parentElement.parentElement.scrollTop = 1e9;
  }

  add(segment) {
    this.running.textContent = "";
    this.segments.push(segment);
    const line = document.createElement("p");
    segment.words.forEach((word, index) => {
      const button = document.createElement("button");
      button.className = "word";
      button.type = "button";
      button.textContent = word.text;
      button.title = `${word.start.toFixed(2)} s`;
      button.addEventListener("click", () => this.play(this, word, button));
      line.append(index ? " " : "", button);
    });
    this.running.before(line);
    line.parentElement.parentElement.scrollTop = 1e9;
  }

  done(event) {
    this.formats = event.formats;
    this.document = event.transcript;
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

  get text() {
    return this.segments.map((segment) => segment.text).join("\n");
  }
}

export class Transcript {
  constructor(place, player) {
    this.place = place;
    this.player = player;
    this.recordings = [];
  }

  get empty() {
    return !this.recordings.some((recording) => recording.segments.length);
  }

  begin(name, rate, file = null) {
    const recording = new Recording(name, rate, file, this.place, (...of) => this.play(...of));
    this.recordings.push(recording);
    return recording;
  }

  clear() {
    this.player.pause();
    this.recordings = [];
    this.place.replaceChildren();
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

  // A single uploaded recording has files written by the server; live speech is written here.
  as(form) {
    const [only] = this.recordings;
    if (this.recordings.length === 1 && only.formats) {
      if (form === "json") return `${JSON.stringify(only.document, null, 2)}\n`;
      return only.formats[form === "txt" ? "text" : form];
    }
    const segments = this.recordings.flatMap((recording) => recording.segments);
    if (form === "json") {
      const made = this.recordings.map(({ name, segments: spoken }) => ({ file: name, segments: spoken }));
      return `${JSON.stringify(made, null, 2)}\n`;
    }
    if (form === "txt") return `${this.recordings.map((recording) => recording.text).join("\n\n")}\n`;
    const mark = form === "srt" ? "," : ".";
    const cues = segments.filter((segment) => segment.words.length).map(({ text, words }, index) => {
      const times = `${clock(words[0].start, mark)} --> ${clock(words[words.length - 1].end, mark)}`;
      return `${form === "srt" ? `${index + 1}\n` : ""}${times}\n${text}\n`;
    });
    return (form === "vtt" ? "WEBVTT\n\n" : "") + cues.join("\n");
  }
}
