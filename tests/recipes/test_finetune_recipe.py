"""Fine-tuning on a few recordings: what is trained, what is kept, and that the result exports."""

from __future__ import annotations

import importlib
import itertools
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import soundfile
import torch

from .conftest import package

TINY = Path(__file__).parents[1] / "data/group_norm"
Recipe = Callable[[str], ModuleType]


@pytest.fixture(scope="session")
def finetune() -> Recipe:
    """Import a module of the fine-tuning recipe: `finetune("speech")`."""
    name = package("finetune").__name__
    return lambda module: importlib.import_module(f"{name}.{module}")


@pytest.mark.parametrize(
    "option, said",
    [
        ("--speed=1", "--speed is 1.0; it is a share, from 0 to below 1"),
        ("--time-masked=nan", "--time-masked is nan; it is a share"),
        ("--rate=0", "--rate is 0.0; it must be above 0"),
        ("--epochs=-1", "--epochs is -1; it must be above 0"),
        ("--head-steps=-1", "--head-steps is -1; it must be 0 or more"),
    ],
)
def test_settings_out_of_range_are_refused_before_anything_is_read(
    finetune: Recipe, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], option: str, said: str
) -> None:
    line = ["finetune", "absent.jsonl", "--checkpoint", "absent", "--out", "absent", option]
    monkeypatch.setattr(sys, "argv", line)
    with pytest.raises(SystemExit) as ended:
        finetune("__main__").main()
    assert ended.value.code == 2 and said in capsys.readouterr().err


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    """Twelve one-second tones by six speakers, each with a word for its pitch."""
    generator, rows = np.random.default_rng(0), []
    for i in range(12):
        tone = np.sin(2 * np.pi * (200 + 100 * (i % 2)) * np.arange(16000) / 16000)
        soundfile.write(tmp_path / f"{i}.wav", 0.3 * tone + 0.01 * generator.standard_normal(16000), 16000)
        rows.append({"path": f"{i}.wav", "text": ("Low", "High")[i % 2] + "!", "speaker": f"s{i // 2}"})
    path = tmp_path / "speech.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path


def test_dev_has_speakers_of_its_own(finetune: Recipe, manifest: Path) -> None:
    speech = finetune("speech").read_speech(manifest)
    assert (len(speech.train), len(speech.dev), len(speech.test)) == (10, 2, 0)
    rows = [json.loads(line) for line in manifest.read_text("utf-8").splitlines()]
    rows[0]["split"], rows[1]["split"] = "dev", "test"
    manifest.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    speech = finetune("speech").read_speech(manifest)
    assert (len(speech.train), len(speech.dev), len(speech.test)) == (10, 1, 1)
    rows[0] |= {"offset": 0.25, "duration": 0.5}  # a part of its recording, which was refused
    manifest.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    assert np.array_equal(finetune("speech").read_speech(manifest).dev[0].samples, speech.dev[0].samples[4000:12000])


def test_transcripts_are_written_in_the_labels_of_the_checkpoint(finetune: Recipe, tmp_path: Path) -> None:
    labels = finetune("labels")
    writer = labels.Writer(labels.new_tokenizer(["Zoë don't"]))
    assert writer.write("ZOË, don’t!") == "zoë don't" and dict(writer.dropped) == {",": 1, "!": 1}
    (tmp_path / "vocab.json").write_text(json.dumps({"<pad>": 0, "<unk>": 1, "|": 2, "A": 3, "B": 4}))
    upper = labels.Wav2Vec2CTCTokenizer(str(tmp_path / "vocab.json"), pad_token="<pad>", unk_token="<unk>")
    assert labels.Writer(upper).ids("ab a") == [3, 4, 2, 3]


@pytest.mark.parametrize(
    ("letters", "lowers", "text", "written"),
    [
        ("STRAßE", False, "Straße", "STRAßE"),  # ß in capitals is two letters, and none of the labels
        ("l’eau", False, "l'eau, l’eau", "l’eau l’eau"),
        ("he's", True, "He's", "he's"),  # a tokenizer that takes capitals for small labels
    ],
)
def test_labels_of_any_vocabulary_are_found(
    finetune: Recipe, tmp_path: Path, letters: str, lowers: bool, text: str, written: str
) -> None:
    labels = ["<pad>", "<unk>", "|", *dict.fromkeys(letters)]
    (tmp_path / "vocab.json").write_text(json.dumps({label: i for i, label in enumerate(labels)}), "utf-8")
    module = finetune("labels")
    tokenizer = module.Wav2Vec2CTCTokenizer(
        str(tmp_path / "vocab.json"), pad_token="<pad>", unk_token="<unk>", do_lower_case=lowers
    )
    writer = module.Writer(tokenizer)
    assert writer.write(text) == written
    assert writer.ids(text) == [labels.index("|" if character == " " else character) for character in written]


def test_a_new_vocabulary_keeps_vowel_signs_and_accents(finetune: Recipe, tmp_path: Path) -> None:
    labels = finetune("labels")
    texts = ["नमस्ते दुनिया", "cafe\u0301 de\u0301ja\u0300"]  # the second with its accents as signs of their own
    writer = labels.Writer(labels.new_tokenizer(texts))
    assert [writer.write(text) for text in texts] == ["नमस्ते दुनिया", "café déjà"] and not writer.dropped


def test_splits_are_named_in_any_case_and_others_are_refused(finetune: Recipe, manifest: Path) -> None:
    rows = [json.loads(line) for line in manifest.read_text("utf-8").splitlines()]
    for row, split in zip(rows, ["Test", "test-clean", "DEV", "dev-other", "validation", "Train"]):
        row["split"] = split
    manifest.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    speech = finetune("speech").read_speech(manifest)
    assert (len(speech.train), len(speech.dev), len(speech.test)) == (7, 3, 2)
    for other in ("heldout", "validated"):  # Common Voice's validated is the pool of all checked clips
        rows[0]["split"] = other
        manifest.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
        with pytest.raises(ValueError, match=rf"'{other}' of 0\.wav; give train, dev or test"):
            finetune("speech").read_speech(manifest)


def test_dev_is_taken_from_recordings_of_one_name_in_many_folders(finetune: Recipe, tmp_path: Path) -> None:
    rows = []
    for i in range(20):
        (tmp_path / str(i)).mkdir()
        soundfile.write(tmp_path / str(i) / "audio.wav", np.zeros(16000 if i else 100), 16000)
        rows.append({"path": f"{i}/audio.wav", "text": "a"})
    (tmp_path / "speech.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    speech = finetune("speech").read_speech(tmp_path / "speech.jsonl")
    assert len(speech.dev) in (2, 3) and len(speech.train) + len(speech.dev) == 19
    assert sum(speech.left_out.values()) == 1


def test_clips_in_which_nothing_is_said_are_trained_on(finetune: Recipe, manifest: Path, tmp_path: Path) -> None:
    train, speech = finetune("train"), finetune("speech")
    settings = train.Settings(epochs=1, batch_seconds=1.0)
    checkpoint = train.open_checkpoint(str(TINY), [], settings)
    silent = [speech.Clip(clip.samples, "42") for clip in speech.read_speech(manifest).train]
    history = train.fine_tune(checkpoint, speech.Speech(silent, silent[:1], [], {}), settings)
    assert np.isfinite(history[1]["loss"])


def test_a_new_head_is_trained_until_it_writes(
    finetune: Recipe, manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It writes nothing for many passes, in which its loss falls."""
    train = finetune("train")
    monkeypatch.setattr(train, "word_error_rate", lambda *_: 1.0)
    settings = train.Settings(epochs=6, patience=2, rate=1e-3, batch_seconds=20.0, head_steps=3)
    checkpoint = train.open_checkpoint(str(TINY), [], settings)
    checkpoint.new_head = True
    before = {name: value.clone() for name, value in checkpoint.model.state_dict().items()}
    history = train.fine_tune(checkpoint, finetune("speech").read_speech(manifest), settings)
    assert len(history) > 1 + settings.head_steps
    after = checkpoint.model.state_dict()
    assert any(not torch.equal(after[name], before[name]) for name in before if "encoder.layers" in name)


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    """A copy of the tiny checkpoint."""
    return Path(shutil.copytree(TINY, tmp_path / "copy"))


@pytest.mark.parametrize(
    ("file", "content", "why"),
    [
        ("vocab.json", "{oops", r"its labels \(vocab.json\) are missing or damaged"),
        ("model.safetensors", "cut", "it cannot be opened"),
        ("config.json", '{"model_type": "wav2vec2", "hidden_size": "many"}', "it cannot be opened"),
        (
            "preprocessor_config.json",
            '{"feature_extractor_type": "Wav2Vec2FeatureExtractor", "sampling_rate": 8000}',
            "8000 Hz",
        ),
    ],
)
def test_a_damaged_checkpoint_is_refused_in_one_line(
    finetune: Recipe, copied: Path, file: str, content: str, why: str
) -> None:
    (copied / file).write_text(content)
    with pytest.raises(ValueError, match=why) as caught:
        finetune("train").open_checkpoint(str(copied), ["a"], finetune("train").Settings())
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("delimiter", ["|", None])
def test_a_checkpoint_without_a_label_between_words(
    finetune: Recipe, manifest: Path, copied: Path, delimiter: str | None
) -> None:
    """A space ended in a traceback: it had no label, or one that transformers adds after those of the output layer."""
    table = json.loads((copied / "vocab.json").read_text())
    table["ä"] = table.pop("|")
    (copied / "vocab.json").write_text(json.dumps(table))
    settings = json.loads((copied / "tokenizer_config.json").read_text())
    (copied / "tokenizer_config.json").write_text(json.dumps({**settings, "word_delimiter_token": delimiter}))
    train, speech = finetune("train"), finetune("speech")
    checkpoint = train.open_checkpoint(str(copied), [], train.Settings())
    writer = checkpoint.writer()
    written = writer.write("Go on")
    assert " " not in written and len(written) == 4 and max(writer.ids("Go on")) < checkpoint.model.config.vocab_size
    clips = [speech.Clip(clip.samples, "Go on") for clip in speech.read_speech(manifest).train[:4]]
    kept, _ = train.trainable(checkpoint, clips)
    history = train.fine_tune(checkpoint, speech.Speech(kept, kept[:1], [], {}), train.Settings(epochs=1))
    assert len(kept) == 4 and np.isfinite(history[1]["loss"])


@pytest.mark.parametrize("label", ["▁on", "tʃ"])
@pytest.mark.parametrize("architecture", ["Wav2Vec2ForCTC", "Wav2Vec2ForPreTraining"])
def test_labels_that_are_not_characters_are_refused(
    finetune: Recipe, copied: Path, label: str, architecture: str
) -> None:
    """Transcripts were written in the labels of one character alone, so pieces and phonemes were unlearned."""
    table = json.loads((copied / "vocab.json").read_text())
    table[label] = table.pop("q")
    (copied / "vocab.json").write_text(json.dumps(table))
    config = json.loads((copied / "config.json").read_text())
    (copied / "config.json").write_text(json.dumps({**config, "architectures": [architecture]}))
    with pytest.raises(ValueError, match=f"one of its labels is '{label}'; only checkpoints whose labels are single"):
        finetune("train").open_checkpoint(str(copied), ["a"], finetune("train").Settings())


def test_a_tokenizer_of_another_kind_is_refused(finetune: Recipe) -> None:
    """It ended in an AttributeError for its missing word delimiter."""
    tokenizers = pytest.importorskip("tokenizers")
    transformers = pytest.importorskip("transformers")
    fast = transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizers.Tokenizer(tokenizers.models.BPE()))
    with pytest.raises(
        ValueError, match=r"its tokenizer is a \w+; only checkpoints whose labels are single characters"
    ):
        finetune("labels").check_labels(fast)


@pytest.fixture
def bert(tmp_path: Path) -> Path:
    """A tiny Wav2Vec2-BERT of random weights, with the labels of the other one."""
    transformers = pytest.importorskip("transformers")
    folder = Path(shutil.copytree(TINY, tmp_path / "bert", ignore=shutil.ignore_patterns("*.safetensors")))
    sizes = dict.fromkeys(("hidden_size", "intermediate_size", "output_hidden_size"), 16)
    config = transformers.Wav2Vec2BertConfig(
        **sizes,
        num_hidden_layers=1,
        num_attention_heads=2,
        conv_depthwise_kernel_size=7,
        add_adapter=True,
        vocab_size=len(json.loads((TINY / "vocab.json").read_text())),
        pad_token_id=0,
    )
    transformers.Wav2Vec2BertForCTC(config).save_pretrained(folder)
    transformers.SeamlessM4TFeatureExtractor().save_pretrained(folder)
    return folder


def test_a_checkpoint_that_takes_a_spectrogram_is_trained(finetune: Recipe, manifest: Path, bert: Path) -> None:
    """It has no convolutions to freeze, and its frames are counted from those of the spectrogram."""
    train, speech = finetune("train"), finetune("speech")
    settings = train.Settings(epochs=1, batch_seconds=4.0)
    checkpoint = train.open_checkpoint(str(bert), [], settings)
    assert [checkpoint.frames(samples) for samples in (4800, 16000, 16159, 16160, 16320)] == [7, 25, 25, 25, 25]
    for samples in (4800, 16000, 16160, 16480):
        inputs = checkpoint.extractor(np.zeros(samples), sampling_rate=16000, return_tensors="pt")
        lengths = checkpoint.model._get_feat_extract_output_lengths(inputs["attention_mask"].sum(-1))
        assert checkpoint.frames(samples) == int(lengths)
    read = speech.read_speech(manifest)
    kept, _ = train.trainable(checkpoint, read.train)
    before = checkpoint.model.lm_head.weight.clone()
    history = train.fine_tune(checkpoint, speech.Speech(kept, read.dev, [], {}), settings)
    assert len(kept) == 10 and np.isfinite(history[1]["loss"]) and history[1]["loss"] > 0
    checkpoint.save(bert.parent / "tuned")
    assert (bert.parent / "tuned/preprocessor_config.json").exists()
    assert not torch.equal(before, checkpoint.model.lm_head.weight) or history[1]["dev_wer"] >= history[0]["dev_wer"]


def test_labels_without_an_output_layer_get_a_new_one(finetune: Recipe, copied: Path) -> None:
    config = json.loads((copied / "config.json").read_text())
    (copied / "config.json").write_text(json.dumps({**config, "architectures": ["Wav2Vec2ForPreTraining"]}))
    checkpoint = finetune("train").open_checkpoint(str(copied), ["a"], finetune("train").Settings())
    assert checkpoint.new_head and len(checkpoint.tokenizer) == config["vocab_size"]


def test_transcripts_that_cannot_be_learned_are_left_out(finetune: Recipe) -> None:
    """Empty targets taught silence, and too long ones gave a loss of 0."""
    train, clip = finetune("train"), finetune("speech").Clip
    checkpoint = train.open_checkpoint(str(TINY), [], train.Settings())
    second = np.zeros(16000, np.float32)
    clips = [clip(second, "hello"), clip(second, ""), clip(second, "привет"), clip(second, "hello " * 20)]
    kept, reasons = train.trainable(checkpoint, clips)
    assert kept == clips[:2]
    assert reasons == {
        "no character of the transcript is a label": 1,
        "the transcript is too long for the sound": 1,
    }


def test_a_dev_without_errors_ends_at_once(
    finetune: Recipe, manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(finetune("train"), "word_error_rate", lambda *_: 0.0)
    with pytest.raises(SystemExit, match=r"WER on dev is 0.0 % before any training"):
        run_main(finetune, monkeypatch, str(manifest), "--checkpoint", str(TINY), "--out", str(tmp_path / "out"))


@pytest.mark.parametrize("words", [["--threads", "0"], ["--device", "nowhere"]])
def test_wrong_options_are_refused(
    finetune: Recipe, manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str]
) -> None:
    line = [str(manifest), "--checkpoint", str(TINY), "--out", str(tmp_path / "out"), *words]
    with pytest.raises(SystemExit) as caught:
        run_main(finetune, monkeypatch, *line)
    assert caught.value.code == 2


def test_a_run_that_learns_nothing_writes_nothing(
    finetune: Recipe, manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = finetune("__main__")
    monkeypatch.setattr(program, "fine_tune", lambda *_: [{"dev_wer": 0.5}, {"dev_wer": 0.5}])
    line = ["finetune", str(manifest), "--checkpoint", str(TINY), "--out", str(tmp_path / "tuned")]
    monkeypatch.setattr(sys, "argv", line)
    with pytest.raises(SystemExit, match=r"no pass lowered the error rate on dev \(50.0 %\)"):
        program.main()
    assert not (tmp_path / "tuned/model.safetensors").exists()


def test_the_rate_rises_and_falls_to_zero(finetune: Recipe) -> None:
    rates = [finetune("train").rate_at(step, 100, 0.1) for step in range(101)]
    assert rates[0] == 0.1 and max(rates) == rates[9] == 1.0 and rates[100] == 0
    assert all(later <= earlier for earlier, later in itertools.pairwise(rates[10:]))


def test_training_keeps_the_front_end_and_the_best_pass(finetune: Recipe, manifest: Path, tmp_path: Path) -> None:
    train = finetune("train")
    settings = train.Settings(epochs=4, patience=2, rate=1e-3, batch_seconds=4.0)
    checkpoint = train.open_checkpoint(str(TINY), [], settings)
    before = {name: value.clone() for name, value in checkpoint.model.state_dict().items()}
    speech = finetune("speech").read_speech(manifest)
    history = train.fine_tune(checkpoint, speech, settings)
    assert 3 <= len(history) <= 5 and history[0]["epoch"] == 0
    best = min(row["dev_wer"] for row in history)
    assert train.word_error_rate(checkpoint, speech.dev) == pytest.approx(best)
    after = checkpoint.model.state_dict()
    assert all(torch.equal(after[name], before[name]) for name in before if "feature_extractor" in name)


def test_it_stops_when_dev_no_longer_improves(
    finetune: Recipe, manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train = finetune("train")
    rates = iter([0.9, 0.5, 0.6, 0.5, 0.7, 0.1])
    monkeypatch.setattr(train, "word_error_rate", lambda *_: next(rates))
    settings = train.Settings(epochs=9, patience=3)
    checkpoint = train.open_checkpoint(str(TINY), [], settings)
    history = train.fine_tune(checkpoint, finetune("speech").read_speech(manifest), settings)
    assert [row["dev_wer"] for row in history] == [0.9, 0.5, 0.6, 0.5, 0.7]


@pytest.mark.slow
def test_the_two_commands_of_the_readme_make_a_bundle(
    finetune: Recipe,
    manifest: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from wav2edge.cli import main

    tuned = tmp_path / "tuned"
    line = [
        "finetune",
        str(manifest),
        "--checkpoint",
        str(TINY),
        "--out",
        str(tuned),
        *("--epochs", "150", "--patience", "150", "--rate", "3e-3", "--threads", "1"),
        *("--speed", "0", "--time-masked", "0", "--features-masked", "0"),
    ]
    monkeypatch.setattr(sys, "argv", line)
    finetune("__main__").main()
    assert "WER on dev" in capsys.readouterr().out
    result = json.loads((tuned / "finetune.json").read_text("utf-8"))
    assert result["test_wer"] is None and result["dev_wer"]["after"] < result["dev_wer"]["before"]
    assert main(["export", str(tuned), str(tmp_path / "bundle")]) == 0


def run_main(finetune: Recipe, monkeypatch: pytest.MonkeyPatch, *words: str) -> None:
    monkeypatch.setattr(sys, "argv", ["finetune", *words])
    finetune("__main__").main()


def test_what_cannot_be_trained_or_written_is_said_before_the_training(
    finetune: Recipe, manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder in use got another vocabulary, a file was found only after the training, the input was replaced."""
    used, file = tmp_path / "used", tmp_path / "file"
    used.mkdir()
    (used / "vocab.json").write_text("mine")
    file.write_text("mine")
    for checkpoint, out, why in (
        (str(TINY), str(used), "is not empty; name another folder"),
        (str(TINY), str(file), "is a file; name a folder"),
        (str(TINY), str(TINY), "is the checkpoint itself; name another folder"),
        (str(tmp_path / "nowhere"), str(tmp_path / "out"), "error: "),
    ):
        with pytest.raises(SystemExit, match=why):
            run_main(finetune, monkeypatch, str(manifest), "--checkpoint", checkpoint, "--out", out)
    assert (used / "vocab.json").read_text() == file.read_text() == "mine"


def test_a_dev_split_without_words_is_refused(
    finetune: Recipe, manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No pass was ever better than NaN: the untouched checkpoint was written as fine-tuned."""
    rows = [json.loads(line) for line in manifest.read_text("utf-8").splitlines()]
    for i, row in enumerate(rows):
        row["split"] = "dev" if i < 2 else "train"
        row["text"] = "..." if i < 2 else row["text"]
    manifest.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    with pytest.raises(SystemExit, match="no recording of dev has words"):
        run_main(finetune, monkeypatch, str(manifest), "--checkpoint", str(TINY), "--out", str(tmp_path / "out"))
    assert not (tmp_path / "out").exists()
