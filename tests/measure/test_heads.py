"""Models are scored by the figures of their head, and variants compared by the main one."""

from __future__ import annotations

import itertools
import json
import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from wav2edge.measure import heads, trials
from wav2edge.measure.figures import diarization
from wav2edge.measure.manifest import Row
from wav2edge.measure.speaker_tasks import _turns_of
from wav2edge.measure.trial_list import Trial
from wav2edge.runtime.bundle.read import Bundle
from wav2edge.runtime.bundle.spec import OUTPUT_LENGTHS, Output
from wav2edge.runtime.engines import Arrays
from wav2edge.runtime.errors import InputError
from wav2edge.runtime.heads import frame_classification, regression, sequence_classification, xvector
from wav2edge.runtime.model import Model

RATE = 16000


class Loudness:
    """A session whose outputs follow from how loud a clip is; ``answer`` maps the level to the first output."""

    inputs: tuple[str, ...] = ("input_values", "input_lengths")

    def __init__(
        self, name: str, answers: dict[float, list[float]], noise: float = 0.0, frames: int | None = None
    ) -> None:
        self.outputs: tuple[str, ...] = (name,)
        self.answers, self.noise, self.frames = answers, noise, frames
        self.generator = np.random.default_rng(0)

    def run(self, feeds: Arrays) -> Arrays:
        levels = [round(float(np.abs(clip).max()), 1) for clip in feeds["input_values"]]
        rows = np.array([self.answers[level] for level in levels], np.float32)
        rows = rows if self.frames is None else np.repeat(rows[:, None], self.frames, axis=1)
        extra = {} if self.frames is None else {OUTPUT_LENGTHS: np.full(len(rows), self.frames)}
        return {
            **extra,
            self.outputs[0]: rows + self.noise * self.generator.standard_normal(rows.shape).astype(np.float32),
        }

    def close(self) -> None:
        """Nothing to release."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for level in (1, 2, 3, 4):
        soundfile.write(tmp_path / f"{level}.wav", np.full(RATE, level / 10, np.float32), RATE, subtype="FLOAT")
    return tmp_path


def classifier(
    bundle: Bundle,
    answers: dict[float, list[float]],
    multi_label: bool = False,
    names: tuple[str, ...] = ("calm", "angry"),
    groups: tuple[int, ...] = (),
) -> Model:
    spec = replace(
        bundle.spec,
        head="sequence_classification",
        labels=names,
        outputs=(Output("logits", ("batch", "labels"), "log odds"),),
        head_options=sequence_classification.Options(multi_label, groups),
        blank=None,
    )
    return Model(replace(bundle, spec=spec), "fake", "fp32", sessions={"full": Loudness("logits", answers)})


def speaker_model(bundle: Bundle, noise: float = 0.0) -> Model:
    """Embeddings of two speakers: the two quiet recordings are of one, the two loud ones of the other."""
    spec = replace(
        bundle.spec,
        head="xvector",
        labels=(),
        outputs=(Output("embeddings", ("batch", "size"), "a speaker"),),
        head_options=xvector.Options(),
        blank=None,
    )
    answers = {0.1: [3.0, 0.1], 0.2: [1.0, 0.0], 0.3: [0.1, 5.0], 0.4: [0.0, 1.0]}
    session = Loudness("embeddings", answers, noise=noise)
    return Model(replace(bundle, spec=spec), "fake", "fp32", sessions={"full": session})


RIGHT = {0.1: [2.0, 0.0], 0.2: [2.0, 0.0], 0.3: [0.0, 2.0], 0.4: [0.0, 2.0]}


def labels(folder: Path, times: int = 1) -> Path:
    path = folder / "labels.jsonl"
    rows = [{"path": f"{level}.wav", "label": "calm" if level < 3 else "angry"} for level in (1, 2, 3, 4)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows * times))
    return path


def test_a_classifier_is_scored_by_its_labels(shapes_bundle: Bundle, folder: Path) -> None:
    seen: list[tuple[int, int]] = []
    wrong = {**RIGHT, 0.4: [2.0, 0.0]}
    first = heads.run(classifier(shapes_bundle, RIGHT), labels(folder, 5), progress=lambda *step: seen.append(step))
    accuracy, uar, ece = first.estimates()
    assert (accuracy.figure.name, accuracy.value, uar.value) == ("accuracy", 1.0, 1.0)
    assert ece.value == pytest.approx(1 - np.exp(2) / (1 + np.exp(2)))
    assert seen[-1] == (20, 20)
    change = first.change(heads.run(classifier(shapes_bundle, wrong), labels(folder, 5)))
    assert change.value == pytest.approx(-0.25) and change.worse


def test_models_with_their_labels_in_another_order_or_with_more_are_compared(
    shapes_bundle: Bundle, folder: Path
) -> None:
    """The numbers of classes were compared, after both had run."""
    first = heads.run(classifier(shapes_bundle, RIGHT), labels(folder, 5))
    turned = {level: answer[::-1] for level, answer in RIGHT.items()}
    other = heads.run(classifier(shapes_bundle, turned, names=("angry", "calm")), labels(folder, 5))
    assert first.change(other).value == 0
    more = {level: [-9.0, *answer] for level, answer in RIGHT.items()} | {0.1: [9.0, 0.0, 0.0]}
    wider = heads.run(classifier(shapes_bundle, more, names=("sad", "calm", "angry")), labels(folder, 5))
    assert first.change(wider).value == pytest.approx(-0.25)


def test_other_recordings_are_not_compared_although_their_labels_agree(shapes_bundle: Bundle, folder: Path) -> None:
    first = heads.run(classifier(shapes_bundle, RIGHT), labels(folder))
    path = labels(folder)
    path.write_text(path.read_text().replace("1.wav", "2.wav"))
    with pytest.raises(InputError, match="not of the same recordings"):
        first.change(heads.run(classifier(shapes_bundle, RIGHT), path))


def test_pairs_of_speakers_are_those_of_all_combinations() -> None:
    rows = [Row(Path(f"{number}.wav"), "", "c", "m:1", speaker="abcad"[number % 5]) for number in range(9)]
    rows += [rows[0], Row(Path("x.wav"), "", "c", "m:2")]
    combinations = list(itertools.combinations(rows[:9], 2))
    wanted = [(a.audio, b.audio, same) for same in (True, False) for a, b in combinations
              if (a.speaker == b.speaker) == same]  # fmt: skip
    found = trials.among(rows)
    assert [(trial.first, trial.second, trial.same) for trial in found] == wanted
    assert trials.count(rows) == (sum(trial.same for trial in found), sum(not trial.same for trial in found))
    assert trials.count(rows, found[:3]) == (3, 0) and trials.among(rows[:1]) == ()


def test_pairs_that_are_not_drawn_take_no_memory() -> None:
    """All pairs were made first: 5 000 recordings would have taken gigabytes."""
    rows = [Row(Path(f"{number}.wav"), "", "c", "m:1", speaker=str(number % 700)) for number in range(5000)]
    assert trials.count(rows) == (10_000, 10_000)
    tracemalloc.start()
    found = trials.among(rows)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(set(found)) == 20_000 and peak < 50e6
    assert all((trial.first.path.stem, trial.second.path.stem) == ordered(trial) for trial in found)
    assert all((int(trial.first.path.stem) % 700 == int(trial.second.path.stem) % 700) == trial.same for trial in found)


def ordered(trial: Trial) -> tuple[str, ...]:
    """The names of its recordings in the manifest's order."""
    return tuple(map(str, sorted((int(trial.first.path.stem), int(trial.second.path.stem)))))


def test_a_speaker_model_is_scored_by_pairs(shapes_bundle: Bundle, folder: Path) -> None:
    model = speaker_model(shapes_bundle)
    (folder / "pairs.txt").write_text("1 1.wav 2.wav\n1 3.wav 4.wav\n0 1.wav 3.wav\n0 2.wav 4.wav\n")
    found = heads.run(model, folder / "pairs.txt")
    eer, cost = found.estimates()
    assert (eer.figure.name, eer.value, cost.value) == ("eer", 0.0, 0.0)
    worse = speaker_model(shapes_bundle, noise=2.0)
    assert found.change(heads.run(worse, folder / "pairs.txt")).value >= 0
    with pytest.raises(InputError, match="different heads"):
        found.change(heads.run(classifier(shapes_bundle, RIGHT), labels(folder)))
    with pytest.raises(InputError, match="no splits"):
        heads.run(model, folder / "pairs.txt", split="test")


def test_parts_of_one_recording_are_of_different_speakers(shapes_bundle: Bundle, folder: Path) -> None:
    """Rows of one file were taken for one recording, whose last answer stood for all."""
    model = speaker_model(shapes_bundle)
    levels = np.repeat(np.array([0.1, 0.2, 0.3, 0.4], np.float32), RATE)
    soundfile.write(folder / "all.wav", levels, RATE, subtype="FLOAT")
    rows = [{"path": "all.wav", "speaker": "xxyy"[n], "offset": n, "duration": 1} for n in range(4)]
    (folder / "parts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = heads.run(model, folder / "parts.jsonl")
    assert found.estimates()[0].value == 0.0 and found.estimates()[0].items == 6


def test_the_turns_of_a_part_are_those_in_it(folder: Path) -> None:
    """An RTTM is of the whole recording."""
    turns = "".join(f"SPEAKER 1 1 {start} {length} <NA> <NA> {who} <NA> <NA>\n" for start, length, who in TURNS)
    (folder / "1.rttm").write_text(turns)
    row = Row(folder / "1.wav", "", "c", "c:1", rttm=folder / "1.rttm")
    whole = [diarization.SpeakerTurn(start, start + length, who) for start, length, who in TURNS]
    assert list(_turns_of(row)) == list(_turns_of(replace(row, seconds=9.0))) == whole
    assert _turns_of(replace(row, offset=1.0, seconds=4.0)) == (
        diarization.SpeakerTurn(0.0, 1.0, "a"),
        diarization.SpeakerTurn(2.0, 4.0, "b"),
    )
    assert _turns_of(replace(row, offset=6.0)) == (diarization.SpeakerTurn(1.0, 2.0, "a"),)


TURNS = ((0.0, 2.0, "a"), (3.0, 2.5, "b"), (7.0, 1.0, "a"))


def test_the_turns_of_a_recording_whose_name_has_a_space_are_found(folder: Path) -> None:
    """RTTM has no spaces in names: ``diarize`` writes ``my_call``."""
    turns = [f"SPEAKER {name} 1 0 {length} <NA> <NA> a <NA> <NA>\n" for name, length in (("my_call", 2), ("b", 3))]
    (folder / "all.rttm").write_text("".join(turns))
    row = Row(folder / "my call.wav", "", "c", "c:1", rttm=folder / "all.rttm")
    assert _turns_of(row) == (diarization.SpeakerTurn(0.0, 2.0, "a"),)


def test_groups_of_labels_are_right_together(shapes_bundle: Bundle, folder: Path) -> None:
    """The first group is right in all clips, the second in half of them."""
    names = ("open", "close", "door", "lamp")
    answers = {level / 10: [4.0, 0.0, *((4.0, 0.0) if level < 3 else (0.0, 4.0))] for level in (1, 2, 3, 4)}
    path = folder / "intents.jsonl"
    path.write_text("".join(json.dumps({"path": f"{n}.wav", "label": "open, door"}) + "\n" for n in (1, 2, 3, 4)))
    found = heads.run(classifier(shapes_bundle, answers, names=names, groups=(2, 2)), path)
    assert found.estimates()[0].value == 0.5
    with pytest.raises(InputError, match="groups of 3, 2 labels"):
        heads.run(classifier(shapes_bundle, answers, names=names, groups=(3, 2)), path)


def test_a_regression_is_scored_by_its_numbers(shapes_bundle: Bundle, folder: Path) -> None:
    spec = replace(
        shapes_bundle.spec,
        head="regression",
        labels=("arousal",),
        outputs=(Output("logits", ("batch", "labels"), "a number"),),
        head_options=regression.Options(),
        blank=None,
    )
    answers = {0.1: [2.0], 0.2: [3.0], 0.3: [4.0]}
    model = Model(replace(shapes_bundle, spec=spec), "fake", "fp32", sessions={"full": Loudness("logits", answers)})
    path = folder / "numbers.jsonl"
    rows = [{"path": f"{level}.wav", "values": {"arousal": level, "other": 9}} for level in (1, 2, 3)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = heads.run(model, path)
    assert found.estimates()[0].value == pytest.approx(4 / 7)
    assert found.change(found).value == 0
    two = [replace(spec, labels=names) for names in (("arousal", "other"), ("other", "arousal"))]
    both = {level: [*answer, 50 * level] for level, answer in answers.items()}
    turned = {level: numbers[::-1] for level, numbers in both.items()}
    first, second = (
        heads.run(
            Model(replace(shapes_bundle, spec=one), "fake", "fp32", sessions={"full": Loudness("logits", numbers)}),
            path,
        )
        for one, numbers in zip(two, (both, turned))
    )
    assert first.estimates()[0].value == pytest.approx(2 / 7) and first.change(second).value == 0
    with pytest.raises(InputError, match="one gives arousal, other, the other arousal"):
        first.change(found)
    with pytest.raises(InputError, match=r"other labels \(arousal; arousal, other\)"):
        heads.scan([spec, two[0]], path)
    path.write_text('{"path": "1.wav", "values": {"valence": 1}}\n')
    with pytest.raises(InputError, match=r"numbers\.jsonl:1: `values` has no number for arousal"):
        heads.run(model, path)


def test_a_diarizer_is_scored_by_who_speaks_when(shapes_bundle: Bundle, folder: Path) -> None:
    """The model says that the first speaker speaks all the time; the reference that two take half of it each."""
    spec = replace(
        shapes_bundle.spec,
        head="frame_classification",
        labels=("0", "1"),
        outputs=(Output("logits", ("batch", "frames", "labels"), "log odds"),),
        head_options=frame_classification.Options(),
        blank=None,
    )
    frames = spec.frames(RATE)
    seconds = frames * spec.stride / RATE
    session = Loudness("logits", {0.1: [5.0, -5.0]}, frames=frames)
    model = Model(replace(shapes_bundle, spec=spec), "fake", "fp32", sessions={"full": session})
    half = seconds / 2
    lines = [f"SPEAKER 1 1 {at} {half} <NA> <NA> {name} <NA> <NA>\n" for at, name in ((0, "anna"), (half, "ben"))]
    (folder / "1.rttm").write_text("".join(lines))
    (folder / "meeting.jsonl").write_text('{"path": "1.wav", "rttm": "1.rttm"}\n')
    found = heads.run(model, folder / "meeting.jsonl")
    assert found.estimates()[0].value == pytest.approx(0.5, abs=0.01)
    (folder / "1.rttm").write_text("".join(line.replace("SPEAKER 1", f"SPEAKER x{i}") for i, line in enumerate(lines)))
    with pytest.raises(InputError, match="has no turns of 1"):
        heads.run(model, folder / "meeting.jsonl")


def test_a_transcriber_is_scored_by_its_texts(shapes_bundle: Bundle, folder: Path) -> None:
    path = folder / "texts.jsonl"
    path.write_text("".join(json.dumps({"path": f"{n}.wav", "text": "two words"}) + "\n" for n in (1, 2)))
    found = heads.run(Model(shapes_bundle, "null", "fp32"), path)
    wer, cer = found.estimates()
    assert (wer.figure.name, wer.value, cer.value) == ("wer", 1.0, 1.0)
    assert found.change(found).value == 0


def test_what_does_not_fit_the_head_is_named(shapes_bundle: Bundle, folder: Path) -> None:
    model = classifier(shapes_bundle, RIGHT)
    path = labels(folder)
    path.write_text(path.read_text().replace("angry", "furious"))
    with pytest.raises(InputError, match=r"labels\.jsonl:3: the model has no label 'furious'; it has calm, angry"):
        heads.run(model, path)
    with pytest.raises(InputError, match="several labels may apply"):
        heads.run(classifier(shapes_bundle, RIGHT, multi_label=True), path)
    other = Model(replace(shapes_bundle, spec=replace(shapes_bundle.spec, head="encoder")), "null", "fp32")
    with pytest.raises(InputError, match="no figures for a model with the head encoder"):
        heads.run(other, path)
    first = heads.run(model, labels(folder))
    with pytest.raises(InputError, match="not of the same recordings"):
        first.change(heads.run(model, labels(folder, 2)))


def test_a_row_of_a_part_of_its_recording_is_answered_by_the_part(shapes_bundle: Bundle, folder: Path) -> None:
    """Its label is that of the part, and the whole was classified; then it was refused."""
    path = labels(folder)
    levels = np.repeat(np.array([0.4, 0.1, 0.4], np.float32), RATE)
    soundfile.write(folder / "5.wav", levels, RATE, subtype="FLOAT")
    row = {"path": "5.wav", "label": "calm", "offset": 1, "duration": 1}
    path.write_text(path.read_text() + json.dumps(row) + "\n" + json.dumps({**row, "duration": 4}))
    model = classifier(shapes_bundle, RIGHT)
    scanned = heads.scan([model.spec], path)
    given = heads.answers(model, scanned.rows)
    first, part = given.of[0], given.of[4]
    assert first is not None and part is not None and np.array_equal(first, part)
    assert given.of[5] is None and "labels.jsonl:6: " in given.problems[0]
    assert "5.wav: it ends after 3.0 s, the part from 1 s at 5 s" in given.problems[0]


def test_a_recording_that_cannot_be_used_is_left_out_of_every_run_or_refused(
    shapes_bundle: Bundle, folder: Path
) -> None:
    path = labels(folder)
    (folder / "5.wav").write_bytes(b"")
    path.write_text(path.read_text() + json.dumps({"path": "5.wav", "label": "calm"}))
    model = classifier(shapes_bundle, RIGHT)
    with pytest.raises(InputError, match=r"labels\.jsonl:5: .*5\.wav"):
        heads.run(model, path)
    scanned = heads.scan([model.spec] * 2, path)
    given = heads.answers(model, scanned.rows)
    lost = heads.Answers((None, *given.of[1:]), ("labels.jsonl:1: lost",))
    runs = scanned.runs([given, lost])
    assert [len(run.items()) for run in runs] == [3, 3] and runs[0].change(runs[1]).value == 0
