"""Every format reads back in the well-kept reader of its kind."""

from __future__ import annotations

import csv
import io
import json
import unicodedata
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import jsonschema
import pytest
import srt
import webvtt

from wav2edge.measure import manifest
from wav2edge.runtime.errors import InputError
from wav2edge.runtime.text import formats
from wav2edge.runtime.text.formats import CaptionLayout
from wav2edge.runtime.text.transcript import Segment, Transcript, Word

LINES = (
    "well <i>he</i> said & left --> that is all there is to say about the whole of this unfortunate affair",
    "no",
    "and then nothing followed",
)

# The parts of OpenAI's verbose_json that clients read, and whisper's `words` within segments.
VERBOSE_JSON = {
    "type": "object",
    "required": ["task", "language", "duration", "text", "segments", "words"],
    "properties": {
        "task": {"const": "transcribe"},
        "language": {"type": ["string", "null"]},
        "duration": {"type": "number", "minimum": 0},
        "text": {"type": "string"},
        "words": {"type": "array", "items": {"$ref": "#/$defs/word"}},
        "segments": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["id", "start", "end", "text", "avg_logprob", "words"],
                "properties": {
                    "id": {"type": "integer"},
                    "start": {"type": "number", "minimum": 0},
                    "end": {"type": "number", "minimum": 0},
                    "avg_logprob": {"type": "number", "maximum": 0},
                    "words": {"type": "array", "items": {"$ref": "#/$defs/word"}},
                },
            },
        },
    },
    "$defs": {
        "word": {
            "type": "object",
            "required": ["word", "start", "end", "probability"],
            "properties": {"probability": {"type": "number", "exclusiveMinimum": 0, "maximum": 1}},
        }
    },
}


@pytest.fixture
def transcript() -> Transcript:
    """Three segments: a long one, one of a single short word, and one after an hour."""
    segments = []
    for start, line in zip((0.5, 12.0, 3600.25), LINES):
        words = tuple(
            Word(text, round(start + 0.4 * i, 3), round(start + 0.4 * i + 0.3, 3), 0.9)
            for i, text in enumerate(line.split())
        )
        segments.append(Segment(line, words[0].start, words[-1].end, words))
    words = tuple(word for segment in segments for word in segment.words)
    return Transcript(" ".join(LINES), 3602.0, words, tuple(segments), "en")


EMPTY = Transcript("", 2.0)


def check_times(times: list[tuple[float, float]], seconds: float) -> None:
    before = 0.0
    for start, end in times:
        assert before <= start < end <= seconds
        before = end


@pytest.mark.parametrize(
    "layout", [CaptionLayout(), CaptionLayout(max_line_width=20, max_line_count=1), CaptionLayout(max_words_per_cue=3)]
)
def test_srt_and_vtt_hold_every_word_in_order_within_the_layout(transcript: Transcript, layout: CaptionLayout) -> None:
    cues = list(srt.parse(formats.get("srt").render(transcript, "a.wav", layout), ignore_errors=False))
    assert [cue.index for cue in cues] == list(range(1, len(cues) + 1))
    assert " ".join(cue.content.replace("\n", " ") for cue in cues) == transcript.text
    check_times([(c.start.total_seconds(), c.end.total_seconds()) for c in cues], transcript.seconds)
    captions = webvtt.from_string(formats.get("vtt").render(transcript, "a.wav", layout)).captions
    assert [c.start_in_seconds for c in captions] == [int(cue.start.total_seconds()) for cue in cues]
    raw = [c.raw_text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&") for c in captions]
    assert raw == [cue.content for cue in cues]
    for cue in cues:
        lines = cue.content.split("\n")
        assert len(lines) <= layout.max_line_count
        assert all(len(line) <= layout.max_line_width or " " not in line for line in lines)
        assert layout.max_words_per_cue is None or len(cue.content.split()) <= layout.max_words_per_cue


def test_a_cue_never_crosses_a_pause_and_stays_long_enough_to_read(transcript: Transcript) -> None:
    cues = list(srt.parse(formats.get("srt").render(transcript, "a.wav", CaptionLayout())))
    (short,) = [cue for cue in cues if cue.content == "no"]
    assert short.end - short.start == timedelta(seconds=1.0)
    assert cues[-1].content == "and then nothing followed"
    assert cues[-1].start == timedelta(seconds=3600.25)


def test_vtt_escapes_what_would_be_markup(transcript: Transcript) -> None:
    text = formats.get("vtt").render(transcript, "a.wav", CaptionLayout(max_line_width=200))
    assert "&lt;i&gt;he&lt;/i&gt; said &amp; left --&gt; that" in text


def test_json_is_verbose_json(transcript: Transcript) -> None:
    for said in (transcript, EMPTY):
        document = json.loads(formats.get("json").render(said, "a.wav", CaptionLayout()))
        jsonschema.validate(document, VERBOSE_JSON)
        assert document["text"] == said.text
        assert " ".join(word["word"] for word in document["words"]) == said.text
        check_times([(segment["start"], segment["end"]) for segment in document["segments"]], document["duration"])


def test_jsonl_is_one_line_and_a_manifest_row(transcript: Transcript) -> None:
    text = formats.get("jsonl").render(transcript, "/x/a.wav", CaptionLayout())
    assert text.count("\n") == 1 and text.endswith("\n")
    row = json.loads(text)
    assert (row["path"], row["text"], row["seconds"]) == ("/x/a.wav", transcript.text, 3602.0)


def test_jsonl_reads_back_as_a_manifest_from_any_folder(transcript: Transcript, tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(b"sound")
    (tmp_path / "elsewhere").mkdir()
    path = tmp_path / "elsewhere" / "labels.jsonl"
    path.write_text(formats.get("jsonl").render(transcript, str(tmp_path / "a.wav"), CaptionLayout()), "utf-8")
    (row,) = manifest.read(path)
    assert (row.path, row.text, row.seconds, row.language) == (tmp_path / "a.wav", transcript.text, 3602.0, "en")


def test_tsv_is_whispers(transcript: Transcript) -> None:
    rows = list(
        csv.reader(io.StringIO(formats.get("tsv").render(transcript, "a.wav", CaptionLayout())), delimiter="\t")
    )
    assert rows[0] == ["start", "end", "text"]
    assert rows[2] == ["12000", "12300", "no"]


def test_text_is_one_line_a_segment(transcript: Transcript) -> None:
    assert formats.get("text").render(transcript, "a.wav", CaptionLayout()).splitlines() == list(LINES)


def test_nothing_said() -> None:
    rendered = {name: formats.get(name).render(EMPTY, "a.wav", CaptionLayout()) for name in formats.names()}
    assert rendered["text"] == rendered["srt"] == ""
    assert rendered["vtt"] == "WEBVTT\n"
    assert webvtt.from_string(rendered["vtt"]).captions == []
    assert rendered["tsv"] == "start\tend\ttext\n"


def test_the_folder_is_the_list_of_formats() -> None:
    assert formats.names() == ("json", "jsonl", "srt", "text", "tsv", "vtt")
    with pytest.raises(InputError, match="srt"):
        formats.get("docx")


def test_cues_of_a_language_without_spaces_have_none() -> None:
    layout = CaptionLayout()
    words = tuple(Word(text, i, i + 0.5, 0.9) for i, text in enumerate("你好世界"))
    transcript = Transcript("你好世界", 4.0, words, (Segment("你好世界", 0.0, 3.5, words),))
    assert "你好世界\n" in formats.get("srt").render(transcript, "x", layout)
    assert "你好世界\n" in formats.get("vtt").render(transcript, "x", layout)


def test_wide_characters_take_two_columns_of_a_line() -> None:
    """A line of 42 Chinese characters is twice as wide as one of 42 letters."""
    words = tuple(Word(text, i, i + 0.5, 0.9) for i, text in enumerate("你好世界ａb한글か"))
    text = "".join(word.text for word in words)
    transcript = Transcript(text, 10.0, words, (Segment(text, 0.0, 8.5, words),))
    cue = next(iter(srt.parse(transcript.to_srt(layout=CaptionLayout(max_line_width=7, max_line_count=3)))))
    assert cue.content.splitlines() == ["你好世", "界ａb한", "글か"]


def test_a_name_that_is_not_utf8_still_gives_valid_json(transcript: Transcript) -> None:
    name = b"caf\xe9.wav".decode("utf-8", "surrogateescape")
    for form in ("json", "jsonl"):
        assert b"caf\xef\xbf\xbd.wav" in formats.get(form).render(transcript, name, CaptionLayout()).encode("utf-8")


@pytest.mark.parametrize("name", ["json", "srt", "vtt", "tsv"])
def test_a_transcript_writes_itself(name: str) -> None:
    word = Word("hello", 0.5, 0.9, 0.98)
    transcript = Transcript("hello", 2.0, (word,), (Segment("hello", 0.5, 0.9, (word,)),))
    assert getattr(transcript, f"to_{name}")() == formats.get(name).render(transcript, "", formats.CaptionLayout())


def test_the_example_of_a_transcript_runs() -> None:
    import doctest

    from wav2edge.runtime.text import transcript

    assert doctest.testmod(transcript) == (0, 4)


def test_a_transcript_renders_itself(transcript: Transcript) -> None:
    layout = CaptionLayout(max_words_per_cue=3)
    assert transcript.to_json("a.wav") == formats.get("json").render(transcript, "a.wav", CaptionLayout())
    assert json.loads(transcript.to_json("a.wav")) == transcript.document("a.wav")
    assert transcript.to_srt() == formats.get("srt").render(transcript, "", CaptionLayout())
    assert transcript.to_vtt(layout=layout) == formats.get("vtt").render(transcript, "", layout) != transcript.to_vtt()
    assert transcript.to_tsv() == formats.get("tsv").render(transcript, "", CaptionLayout())


def test_json_says_what_is_missing(transcript: Transcript) -> None:
    cut = replace(transcript, complete=False, warnings=("it breaks off after 3.0 s",))
    for document in (json.loads(cut.to_json()), json.loads(formats.get("jsonl").render(cut, "a.wav", CaptionLayout()))):
        assert document["complete"] is False and document["warnings"] == ["it breaks off after 3.0 s"]
    assert json.loads(transcript.to_json())["complete"] is True


HOSTILE = (
    "\n\n99\n00:00:00,000 --> 09:00:00,000\nFORGED\tx",
    "\x1b]0;title\x07\x1b[31mred",
    "\u2028line\u2029\x85\x9b31m",
    '=HYPERLINK("http://x")',
    "\ud800 half of a character",
    "00:00:00.000 --> 09:00:00.000",
    "\n",
    "<script>",
)


@pytest.mark.parametrize("label", HOSTILE)
def test_a_label_cannot_forge_cues_cells_or_commands(label: str) -> None:
    """A bundle of unknown origin had line breaks and escape sequences in its labels, and wrote subtitles of its own."""
    word = Word(label, 0.5, 1.0, 0.9)
    held = Transcript(label, 4.0, (word,), (Segment(label, 0.5, 1.0, (word, Word("end", 1.2, 1.4, 0.9))),))
    for name in formats.names():
        text = formats.get(name).render(held, "a.wav", CaptionLayout(max_line_width=10))
        text.encode("utf-8")
        assert not any(
            unicodedata.category(character) in ("Cc", "Zl", "Zp") for character in text if character not in "\n\t"
        )
    assert len(list(srt.parse(held.to_srt(), ignore_errors=False))) == 1
    assert held.to_srt().count("-->") == 1
    assert len(webvtt.from_string(held.to_vtt()).captions) == 1 and held.to_vtt().count("-->") == 1
    header, *rows = csv.reader(io.StringIO(held.to_tsv()), delimiter="\t", quoting=csv.QUOTE_NONE)
    assert len(rows) == 1 and len(rows[0]) == len(header) == 3 and not rows[0][2].startswith(("=", "+", "-", "@"))
    assert json.loads(held.to_json())["text"] == label
    assert len(formats.get("text").render(held, "a.wav", CaptionLayout()).splitlines()) == 1
