// Subtitles laid out as the server's own (runtime/text/cues.py).

const LINE_WIDTH = 42;
const LINE_COUNT = 2;
const SHORTEST_CUE = 1; // seconds that a cue stays when nothing follows it sooner

const BREAKS = / *[\t\n\v\f\r\x1c-\x1f\x85\u2028\u2029]\s*/gu;
const CONTROL = /[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]/gu;
const TIMING = /(\p{Nd}) *-->/gu;

function clock(seconds, mark) {
  const ms = Math.round(seconds * 1000);
  const two = (value) => String(Math.floor(value)).padStart(2, "0");
  const time = `${two(ms / 3600000)}:${two((ms / 60000) % 60)}:${two((ms / 1000) % 60)}`;
  return `${time}${mark}${String(ms % 1000).padStart(3, "0")}`;
}

// Text on one line, without cue timings and control characters.
export function oneLine(text) {
  const code = (found) => `\\x${found.codePointAt(0).toString(16).padStart(2, "0")}`;
  return text.replace(BREAKS, " ").trim().replace(CONTROL, code);
}

const shown = (text) => oneLine(text).replace(TIMING, "$1 ->");
const width = (text) => [...text].length;

// What is between two words of a segment: nothing in languages that are written without spaces.
export const gapOf = ({ text, words }) =>
  words.length > 1 && text === words.map((word) => word.text).join("") ? "" : " ";

function split({ text, words }) {
  const gap = gapOf({ text, words });
  const cues = [];
  let cue = null;
  for (const word of words) {
    const added = shown(word.text);
    if (!added) continue;
    const line = cue && cue.lines[cue.lines.length - 1];
    const wide = Boolean(line) && width(line) + width(gap) + width(added) > LINE_WIDTH;
    if (!cue || (wide && cue.lines.length === LINE_COUNT)) {
      cue = { start: word.start, lines: [added] };
      cues.push(cue);
    } else if (wide) {
      cue.lines.push(added);
    } else {
      cue.lines[cue.lines.length - 1] = line + gap + added;
    }
    cue.end = word.end;
  }
  return cues;
}

// The cues of recordings that are played one after the other; of each, its segments and its length in seconds.
function cues(recordings) {
  let offset = 0;
  return recordings.flatMap(({ segments, seconds }) => {
    const began = offset;
    offset += seconds;
    const laidOut = segments.flatMap(split);
    return laidOut.map(({ start, end, lines }, index) => {
      const limit = index + 1 < laidOut.length ? laidOut[index + 1].start : seconds;
      return { start: began + start, end: began + Math.max(end, Math.min(start + SHORTEST_CUE, limit)), lines };
    });
  });
}

export function srt(recordings) {
  return cues(recordings).map(({ start, end, lines }, index) =>
    `${index + 1}\n${clock(start, ",")} --> ${clock(end, ",")}\n${lines.join("\n")}\n`).join("\n");
}

export function vtt(recordings) {
  const escaped = (line) => line.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
  return `WEBVTT\n${cues(recordings).map(({ start, end, lines }) =>
    `\n${clock(start, ".")} --> ${clock(end, ".")}\n${lines.map(escaped).join("\n")}\n`).join("")}`;
}
