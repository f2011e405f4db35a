"""The recipe with other manifests, other folders and interruptions."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

RECIPE = Path(__file__).parents[2] / "recipes/embedded"


Recipe = Callable[[str], ModuleType]


def manifest(folder: Path, *rows: Mapping[str, object]) -> Path:
    path = folder / "manifest.jsonl"
    path.write_text("".join(json.dumps({"text": "a latte", **row}) + "\n" for row in rows), "utf-8")
    return path


def test_what_a_manifest_sets_aside_is_never_trained_on(recipe: Recipe, tmp_path: Path) -> None:
    data = recipe("speech.manifest")
    meant = {"eval": "eval", "test": "eval", "dev": "dev", "valid": "dev", "validation": "dev"}
    rows = [{"path": f"{i}.wav", "split": split} for i in range(30) for split in meant]
    found = [data.split_of(row) for row in data.read_manifest(manifest(tmp_path, *rows))]
    assert found == [meant[str(row["split"])] for row in rows]
    with pytest.raises(SystemExit, match=r"manifest\.jsonl:2: split 'tset' is not one of train, "):
        data.read_manifest(manifest(tmp_path, {"path": "a.wav"}, {"path": "b.wav", "split": "tset"}))


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("{oops", "broken JSON"),
        ('{"text": "a"}', "no `path`, or not a text"),
        ('{"path": "a.wav"}', "no `text`, or not a text"),
        ('{"path": "a.wav", "text": null}', "no `text`, or not a text"),
    ],
)
def test_a_damaged_manifest_is_refused_in_one_line(recipe: Recipe, tmp_path: Path, line: str, reason: str) -> None:
    """It ended in a traceback; empty lines are nothing."""
    path = tmp_path / "manifest.jsonl"
    path.write_text('{"path": "a.wav", "text": "a"}\n\n' + line + "\n", "utf-8")
    with pytest.raises(SystemExit, match=rf"^error: .*manifest\.jsonl:3: {reason}"):
        recipe("speech.manifest").read_manifest(path)
    path.write_text('{"path": "a.wav", "text": "a"}\n\n', "utf-8")
    assert len(recipe("speech.manifest").read_manifest(path)) == 1


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--init-from", "absent"], "absent: no such file"),
        (["--flite-hours", "1"], "--flite-hours needs --books"),
        (["--kokoro-hours", "1"], "--kokoro-hours needs --kokoro"),
        (["--piper-hours", "1"], "--piper-hours needs --piper"),
    ],
)
def test_what_synthetic_speech_needs_is_asked_for_before_any_work(
    recipe: Recipe,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
    reason: str,
) -> None:
    """A stage ended in an error about a file `None`, after the speech had been read."""
    line = ["embedded", "--manifest", str(manifest(tmp_path)), "--whisper", str(tmp_path), *options]
    monkeypatch.setattr(sys, "argv", line)
    with pytest.raises(SystemExit) as ended:
        recipe("__main__").arguments()
    assert ended.value.code == 2 and reason in capsys.readouterr().err


def test_training_without_a_clip_ends(recipe: Recipe, tmp_path: Path) -> None:
    """It drew nothing for ever: no clip had targets, or a misspelled corpus alone had a share."""
    recipe("speech.clips").ClipStore(tmp_path / "store").append(np.zeros(16000), "a", "", "named")
    generator = np.random.default_rng(0)
    for targets, shares in ((True, {}), (False, {"nmaed": 1.0}), (False, {"named": 0.0})):
        dataset = recipe("speech.dataset").Dataset([tmp_path / "store"], targets)
        with pytest.raises(SystemExit, match="no clip to train on: none of at most 18 s, with the teacher's targets"):
            recipe("speech.batches").draw(dataset, shares, 20.0, 18.0, generator)
    found = recipe("speech.batches").draw(dataset, {"named": 1.0}, 20.0, 18.0, generator)
    assert len(found) > 1


@pytest.mark.parametrize("module", ["student.balance", "teacher.constrain"])
def test_a_store_that_is_not_there_is_not_made(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], module: str
) -> None:
    """A misspelled folder became an empty store, and training went on without its speech."""
    absent = str(tmp_path / "absent")
    words = ["checkpoint", "--dev", absent] if module == "student.balance" else [absent]
    monkeypatch.setattr(sys, "argv", [module, *words])
    with pytest.raises(SystemExit) as ended:
        recipe(module).main()
    assert ended.value.code == 2 and "absent is not a clip store; make it first" in capsys.readouterr().err
    assert not (tmp_path / "absent").exists()


@pytest.mark.parametrize("speakers", [1, 4, 5, 40])
def test_dev_is_by_speaker_where_enough_are_named(recipe: Recipe, tmp_path: Path, speakers: int) -> None:
    rows = [{"path": f"{i}.wav", "speaker": f"s{i % speakers}", "corpus": "c"} for i in range(400)]
    found = recipe("speech.manifest").read_manifest(manifest(tmp_path, *rows))
    splits_of: dict[str, set[str]] = {}
    for row in found:
        splits_of.setdefault(row.speaker, set()).add(recipe("speech.manifest").split_of(row))
    apart = all(len(splits) == 1 for splits in splits_of.values())
    assert apart == (speakers >= 5)
    if not apart:
        assert {"train", "dev"} == set.union(*splits_of.values())


def test_a_speaker_of_two_corpora_is_on_the_same_side_in_both(recipe: Recipe, tmp_path: Path) -> None:
    rows = [{"path": f"a/{i}.wav", "speaker": f"s{i % 40}", "corpus": "many"} for i in range(400)]
    rows += [{"path": f"b/{i}.wav", "speaker": f"s{i % 3}", "corpus": "three"} for i in range(60)]
    data = recipe("speech.manifest")
    sides: dict[str, set[str]] = {}
    for row in data.read_manifest(manifest(tmp_path, *rows)):
        sides.setdefault(row.speaker, set()).add(data.split_of(row))
    assert all(len(splits) == 1 for splits in sides.values()) and {"train", "dev"} == set.union(*sides.values())


def test_dev_has_at_most_so_many_minutes_of_a_corpus(recipe: Recipe, tmp_path: Path) -> None:
    data = recipe("speech.manifest")
    rows = [{"path": f"{i}.wav", "split": "dev", "seconds": 60, "corpus": "cd"[i % 2]} for i in range(40)]
    found = data.rows_of(data.read_manifest(manifest(tmp_path, *rows)), "dev")
    assert [sum(row.corpus == corpus for row in found) for corpus in "cd"] == [data.DEV_MINUTES] * 2
    assert [row.key for row in found] == sorted((row.key for row in found), key=lambda key: int(key.split(".")[0]))


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("12 Main St. 3rd floor", "twelve main saint third floor"),
        ("P O L I", "p o l i"),
        ("the U.S.A. in 1,234", "the u s a in one thousand two hundred thirty four"),
        ("007 and 1.5", "zero zero seven and one point five"),
        ("the 20th, the 42nd and the 12th", "the twentieth the forty second and the twelfth"),
        ("Don’t — stop", "don't stop"),
    ],
)
def test_a_transcript_is_what_is_said(recipe: Recipe, written: str, said: str) -> None:
    assert recipe("speech.texts").transcript(written) == said


def test_clips_too_long_for_the_teacher_are_left_out(
    recipe: Recipe, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, seconds in (("a", 1), ("b", 30), ("c", 26)):
        soundfile.write(tmp_path / f"{name}.wav", np.zeros(16000 * seconds), 16000)
    path = manifest(tmp_path, *({"path": f"{name}.wav"} for name in "abc"))
    recipe("speech.manifest").store_real(path, tmp_path / "real")
    stores = [recipe("speech.clips").ClipStore(tmp_path / "real" / split) for split in ("train", "dev")]
    assert sum(map(len, stores)) == 2 and "1 clips" in capsys.readouterr().out
    slow = recipe("speech.clips").ClipStore(tmp_path / "slow")
    recipe("teacher.features").perturb(stores[0], slow, 0)
    assert all(row["samples"] < 16000 * 29 for row in slow.rows) and len(slow) == len(stores[0]) - 1


def test_a_store_without_clips_has_no_targets(recipe: Recipe, tmp_path: Path) -> None:
    store = recipe("speech.clips").ClipStore(tmp_path)
    assert recipe("teacher.features").extend_features(store, tmp_path, tmp_path / "no-whisper").shape == (0, 512)
    (tmp_path / "posteriors.f16").touch()
    dataset = recipe("speech.dataset").Dataset([tmp_path])
    assert dataset.groups == {} and len(dataset.posteriors[0]) == 0


def test_few_commands_give_few_mixtures(recipe: Recipe) -> None:
    made = recipe("speech.texts").command_mixtures(["a large latte please", "stop"], 5, random.Random(0))
    assert made == ["a large latte please"]


def test_an_unfinished_index_line_is_cut_off(recipe: Recipe, tmp_path: Path) -> None:
    clip_store = recipe("speech.clips").ClipStore
    clip_store(tmp_path).append(np.full(10, 0.1), "one", "", "c")
    with open(tmp_path / "index.jsonl", "a", encoding="utf-8") as file:
        file.write('{"start": 10, "sam')
    clip_store(tmp_path).append(np.full(5, 0.2), "two", "", "c")
    store = clip_store(tmp_path)
    assert [(row["start"], row["samples"], row["text"]) for row in store.rows] == [(0, 10, "one"), (10, 5, "two")]


def test_batches_can_be_made_while_stores_grow(recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = recipe("speech.dataset")
    folders = [tmp_path / "a", tmp_path / "b"]
    for folder in folders:
        recipe("speech.clips").ClipStore(folder).append(np.full(16000, 0.5), "a", "", folder.name)
    dataset = module.Dataset(folders, False)
    clip = dataset.groups["b"][0]
    recipe("speech.clips").ClipStore(folders[0]).append(np.zeros(16000), "a", "", "a")
    whole, met = module.frame_starts, []

    def meanwhile(store: object) -> object:
        met.append(float(dataset.samples(clip)[0]))
        assert len(dataset.groups["b"]) == 1
        return whole(store)

    monkeypatch.setattr(module, "frame_starts", meanwhile)
    dataset.refresh()
    assert met == [pytest.approx(0.5, abs=1e-3)] * 2 and len(dataset.groups["a"]) == 2
    assert dataset.samples(clip)[0] == met[0]


def test_a_store_without_features_is_trained_on_with_one_that_has_them(recipe: Recipe, tmp_path: Path) -> None:
    clips, frames, labels = (recipe(name) for name in ("speech.clips", "frames", "labels"))
    tone = 0.1 * np.sin(np.arange(40000) / 20).astype(np.float32)
    count = frames.count_frames(len(tone))
    for name in ("taught", "new"):
        clips.ClipStore(tmp_path / name).append(tone, "a latte", "", name)
    np.ones((count, 512), np.float16).tofile(tmp_path / "taught/features.f16")
    even = np.full((count, len(labels.LABELS)), 1 / len(labels.LABELS), np.float16)
    even.tofile(tmp_path / "taught/posteriors.f16")
    student = recipe("student.train").Run(
        tmp_path / "run", recipe("student.plan").Plan(front_hours=0.0), None, "cpu", (32, 2, 64, 2), 7
    )
    recipe("student.posteriors").write_posteriors(student.averaged(), tmp_path / "new")
    written = np.fromfile(tmp_path / "new/posteriors.f16", np.float16).reshape(even.shape)
    assert (written[: frames.EDGE].argmax(-1) == labels.BLANK).all()
    np.testing.assert_allclose(written.astype(np.float32).sum(-1), 1, atol=2e-3)
    dataset = recipe("speech.dataset").Dataset([tmp_path / "taught", tmp_path / "new"])
    collate = recipe("speech.batches").Collator(
        dataset,
        recipe("speech.augment").Augmentation(strength=0.0),
        0,
        dataset.feature_scale(np.random.default_rng(0)),
    )
    batch = collate([(clip,) for clip in dataset.clips()])
    assert torch.isfinite(batch.features[0]).all() and torch.isnan(batch.features[1]).all()
    before = recipe("student.losses").losses(student.student, student.heads, batch, student.plan, 1.0, None)
    batch.features[1] = 7.0  # What a clip without features would add if it counted.
    after = recipe("student.losses").losses(student.student, student.heads, batch, student.plan, 1.0, None)
    assert torch.isfinite(before["features"]) and not torch.isclose(before["features"], after["features"])
    assert torch.equal(before["posteriors"], after["posteriors"])


def test_a_bundle_gets_no_figures_of_other_weights(recipe: Recipe, tmp_path: Path) -> None:
    weights, results = tmp_path / "model.safetensors", tmp_path / "results.json"
    weights.write_bytes(b"weights")
    make = recipe("bundle").closing_results
    assert make(weights, results) is None
    results.write_text('{"sha256": "0"}')
    with pytest.raises(SystemExit, match=r"results\.json is not of .*model\.safetensors"):
        make(weights, results)
    assert make(RECIPE / "checkpoint/model.safetensors", RECIPE / "results.json")["eval"]


RATES = {k: v for name in ("wer", "cer", "exact") for k, v in ((name, 12.5), (name + "_interval", [1.0, 20.0]))}
TRANSCRIBED = {"corpus": "mine", "reference": "a latte", "hypothesis": "a letter"}


def test_the_card_of_other_weights_is_written_into_their_folder(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = [RECIPE / "MODEL_CARD.md", RECIPE / "checkpoint/README.md", RECIPE.parents[1] / "README.md"]
    before = [path.stat().st_mtime_ns for path in kept]
    (tmp_path / "logs").mkdir()
    splits: dict[str, Any] = {split: {"mine": {"clips": 1, **RATES}} for split in ("train", "dev", "test", "eval")}
    sizes = {"sha256": "f00", "bytes": 1, "parameters": 2, "eval_transcripts": [TRANSCRIBED]}
    (tmp_path / "results.json").write_text(json.dumps({**splits, **sizes}))
    (tmp_path / "eval_readings.jsonl").write_text(json.dumps({"eval": splits["eval"]}) + "\n")
    (tmp_path / "logs/stores.json").write_text(json.dumps({"train": {"mine": {"clips": 1, "minutes": 2.0}}}))
    (tmp_path / "logs/head.json").write_text(json.dumps({"dev": {"mine": {"wer": 3.0}}}))
    (tmp_path / "logs/run.jsonl").write_text('{"audio_hours": 1.5, "cpu_minutes": 7}\n')
    line = ["card.py", "--manifest", str(manifest(tmp_path, {"path": "a.wav", "corpus": "mine"}))]
    line += ["--checkpoint", str(tmp_path), "--evidence", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", line)
    with pytest.raises(SystemExit):
        recipe("report.card").main()
    monkeypatch.setattr(sys, "argv", [*line, "--log", "run"])
    recipe("report.card").main()
    text = (tmp_path / "README.md").read_text("utf-8")
    assert (
        "Trained on 1.5 hours" in text
        and "| a latte | a letter |" in text
        and "mine 3.0 %" in text
        and "1 of them" in text
    )
    for absent in ("{{", "shipped", "LibriSpeech", "What paid", "What limits", "../curves"):
        assert absent not in text
    assert [path.stat().st_mtime_ns for path in kept] == before


def test_the_shipped_card_is_what_the_recipe_writes(recipe: Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    shipped = (RECIPE / "MODEL_CARD.md").read_text("utf-8")
    begin = shipped.index("| corpus | train min")
    table = shipped[begin : shipped.index("\n\n", begin)]  # Made from the manifest, which is not in the repository.
    monkeypatch.setattr(recipe("report.card"), "data_table", lambda *_: table)
    report = RECIPE / "report"
    template, notes = ((report / f"card_{name}").read_text("utf-8") for name in ("template.md", "notes.json"))
    assert recipe("report.card").card(template, Path("absent"), RECIPE, json.loads(notes), None) == shipped
    assert (RECIPE / "checkpoint/README.md").read_text("utf-8") == shipped.replace("(curves/", "(../curves/")


def test_a_stage_that_rewrites_is_run_once(recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run, ran = recipe("stages"), []
    monkeypatch.setattr(run, "stage", lambda *arguments: ran.append(arguments))
    recipe("speech.clips").ClipStore(tmp_path / "store").append(np.zeros(10), "", "", "c")
    for _ in range(2):
        run.once(tmp_path / "done", [tmp_path / "store"], "teacher.constrain")
    assert len(ran) == 1
    recipe("speech.clips").ClipStore(tmp_path / "store").append(np.zeros(10), "", "", "c")

    def ended(*_: object) -> None:
        raise SystemExit(143)

    monkeypatch.setattr(run, "stage", ended)
    with pytest.raises(SystemExit):
        run.once(tmp_path / "done", [tmp_path / "store"], "teacher.constrain")
    assert not (tmp_path / "done").exists()


def test_the_recipe_stops_with_the_code_of_a_stage(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "ends.py").write_text("raise SystemExit(143)")
    monkeypatch.setattr(recipe("stages"), "PACKAGE", "ends_of_a_stage")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    (tmp_path / "ends_of_a_stage").mkdir()
    (tmp_path / "ends.py").rename(tmp_path / "ends_of_a_stage/ends.py")
    with pytest.raises(SystemExit) as stopped:
        recipe("stages").stage("ends")
    assert stopped.value.code == 143 and "ends ended with 143" in capfd.readouterr().err


def test_what_the_decoder_needs_is_asked_for_at_the_start(recipe: Recipe, tmp_path: Path) -> None:
    (tmp_path / "model.bin").touch()
    recipe("__main__").check_whisper(tmp_path, False)
    with pytest.raises(SystemExit, match=r"lacks config\.json, tokenizer\.json, vocabulary\.\*"):
        recipe("__main__").check_whisper(tmp_path, True)
    for name in ("config.json", "tokenizer.json", "vocabulary.txt"):
        (tmp_path / name).touch()
    recipe("__main__").check_whisper(tmp_path, True)


TOLD_TO_END = """
import signal
from types import SimpleNamespace
from recipes.embedded.student import train
from recipes.embedded.student.replicas import Replicas

def learn(batch):
    signal.raise_signal(signal.SIGTERM)  # to this thread: it is handled before the next line
    return {}

run = SimpleNamespace(plan=train.Plan(), step=0, hours=0.0, worked=0.0, progress=0.0, device="cpu", parameters=[])
run.learn, run.save = learn, lambda: print("saved", flush=True)
train.Collator = train.draw = train.to_device = lambda *_: None
train.ahead = lambda *_: iter(("batch", "batch"))
dataset = SimpleNamespace(feature_scale=lambda generator: None)
train.train(run, dataset, dataset, {}, 5.0, Replicas(1))
"""


def test_a_training_run_told_to_end_saves_and_is_not_at_its_end() -> None:
    """In a process of its own, which a signal that is not handled ends in place of the tests' process."""
    command = [sys.executable, "-c", TOLD_TO_END]
    done = subprocess.run(command, cwd=RECIPE.parents[1], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout) == (143, "saved\n"), done.stderr


def test_processes_that_train_together_end_with_the_same_weights(recipe: Recipe, tmp_path: Path) -> None:
    clips = recipe("speech.clips").ClipStore(tmp_path / "store")
    for i in range(8):
        clips.append(0.1 * np.sin(np.arange(24000) / (20 + i)), "a latte", "", "mine")
    line = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    line += ["-m", "recipes.embedded.student.train", str(tmp_path / "run"), "--no-targets", "--front-hours", "0"]
    line += ["--stores", str(tmp_path / "store"), "--dev", str(tmp_path / "store"), "--shape", "32", "2", "64", "2"]
    line += ["--hours", "0.02", "--meet-every", "2", "--batch-seconds", "6", "--device", "cpu"]
    done = subprocess.run(line, cwd=RECIPE.parents[1], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    states = [torch.load(tmp_path / "run" / name / "state.pt", weights_only=True) for name in (".", "replica-1")]
    first, second = (state["student"] for state in states)
    assert all(torch.equal(first[name], second[name]) for name in first)
    moments = [state["optimizers"][0]["state"][0]["exp_avg"] for state in states]
    assert not torch.equal(*moments)  # Each took steps of its own.
    assert [state["step"] % 2 for state in states] == [0, 0]
    assert all((tmp_path / "run" / name / "checkpoint/model.safetensors").exists() for name in (".", "replica-1"))


def test_synthetic_speech_says_what_to_install_and_can_be_named(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synthesis, clips = recipe("speech.synthesis"), recipe("speech.clips")
    (tmp_path / "book.txt").write_text("It is a fine day for a walk.")
    line = ["--hours", "0.0002", "--books", str(tmp_path / "book.txt"), "--corpus", "named"]
    monkeypatch.setattr(synthesis, "PACKAGES", {"no_such_module": "some-package"})
    monkeypatch.setattr(sys, "argv", ["synthesis.py", "piper", str(tmp_path / "store"), *line])
    with pytest.raises(SystemExit, match=r"error: piper needs packages: .* -m pip install some-package"):
        synthesis.main()
    monkeypatch.setattr(synthesis, "flite", lambda: lambda text, generator: (np.full(16000, 0.1, np.float32), "voice"))
    monkeypatch.setattr(sys, "argv", ["synthesis.py", "flite", str(tmp_path / "store"), *line])
    synthesis.main()
    assert {row["corpus"] for row in clips.ClipStore(tmp_path / "store").rows} == {"named"}


def test_the_recipe_takes_no_common_module_names(recipe: Recipe) -> None:
    recipe("student.train"), recipe("report.card")
    own = [module for name, module in sys.modules.items() if str(RECIPE) in str(getattr(module, "__file__", ""))]
    assert own and all(module.__name__.startswith("wav2edge_recipes_embedded") for module in own)


def test_rates_are_the_package_s_own(recipe: Recipe) -> None:
    module = recipe("error_rates")
    rows = [module.Transcribed("mine", *pair) for pair in (("a b c d", "a b x d"), ("a b", "a b"))]
    rates = module.error_rates(rows, intervals=True)["mine"]
    assert (rates["clips"], rates["wer"], rates["exact"]) == (2, 16.67, 50.0) and rates["wer_interval"] == [0.0, 25.0]


def test_attention_in_training_is_scaled_dot_product_attention(recipe: Recipe) -> None:
    torch.manual_seed(0)
    given = [torch.randn(2, 3, 7, 5, dtype=torch.float64).requires_grad_() for _ in range(3)]
    mask = torch.ones(2, 1, 1, 7, dtype=torch.bool)
    mask[0, ..., 5:] = False
    ours = recipe("student.attention").WholeRows.apply(*given, mask)
    query, key, value = given
    theirs = torch.nn.functional.scaled_dot_product_attention(query, key, value, mask)
    torch.testing.assert_close(ours, theirs)
    slope = torch.randn_like(ours)
    gradients = [torch.autograd.grad(output, given, slope) for output in (ours, theirs)]
    torch.testing.assert_close(*gradients)


@pytest.mark.parametrize(("layers", "inner"), [(2, 64), (3, 64), (5, 64), (2, 96), (3, 128)])
def test_a_larger_encoder_begins_with_the_output_of_the_one_it_takes_over(
    recipe: Recipe, tmp_path: Path, layers: int, inner: int
) -> None:
    model = recipe("student.model")
    torch.manual_seed(0)
    model.save_checkpoint(model.new_model(model.embedded_config(32, 2, 64, 2)), tmp_path / "small")
    small = model.open_checkpoint(tmp_path / "small").eval()
    larger = model.new_model(model.embedded_config(32, layers, inner, 2)).eval()
    random = model.adopt(larger, tmp_path / "small")
    assert len({name.split(".")[3] for name in random}) == layers - 2
    audio = torch.randn(1, 8000)
    assert small(audio).logits.std() > 1e-3
    torch.testing.assert_close(larger(audio).logits, small(audio).logits)


def test_a_store_follows_its_manifest(recipe: Recipe, tmp_path: Path) -> None:
    """It took the first rows for those it had: eval clips stayed in train, others came twice or never."""
    data, clips = recipe("speech.manifest"), recipe("speech.clips")
    for i in range(6):
        soundfile.write(tmp_path / f"{i}.wav", np.full(8000 + i, 0.1), 16000)
    rows = [{"path": f"{i}.wav", "split": "train", "seconds": 0.5, "speaker": "a", "corpus": "c"} for i in range(6)]
    work = tmp_path / "work"

    def stored() -> list[int]:
        return [int(str(row["samples"])) - 8000 for row in clips.ClipStore(work / "train").rows]

    kept = [row for row in data.read_manifest(manifest(tmp_path, *rows)) if data.split_of(row) == "train"]
    first = [int(row.key[0]) for row in kept]
    assert len(first) >= 4
    data.store_real(manifest(tmp_path, *(rows[i] for i in first[:2])), work)
    data.store_real(manifest(tmp_path, *(rows[i] for i in reversed(first))), work)
    assert sorted(stored()) == sorted(first) and stored()[:2] == first[:2]
    rows[first[0]]["split"] = "eval"
    with pytest.raises(SystemExit, match=f"holds {first[0]}.wav, which is not of train in"):
        data.store_real(manifest(tmp_path, *rows), work)


def test_a_recording_cut_short_is_not_stored_with_all_its_words(recipe: Recipe, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.random.default_rng(0).normal(0, 0.1, 64000), 16000)
    data = (tmp_path / "a.wav").read_bytes()
    (tmp_path / "a.wav").write_bytes(data[: len(data) // 2])
    with pytest.raises(SystemExit, match=r"it breaks off after 2\.0 s"):
        recipe("speech.manifest").load(tmp_path / "a.wav")


def test_bands_are_taken_out_and_the_rest_is_left(recipe: Recipe) -> None:
    augment = recipe("speech.augment")
    how = augment.Augmentation(noise=0.0, colour=0.0, room=0.0, bands=1.0)
    generator = np.random.default_rng(0)
    clip = generator.standard_normal(1 << 14).astype(np.float32)
    taken = []
    for _ in range(20):
        varied = augment.disturb(clip, how, augment.NoiseBank([clip], generator, 1.0), generator)
        gains = np.abs(np.fft.rfft(varied)) / np.abs(np.fft.rfft(clip))
        out, kept = np.isclose(gains, 0.03, atol=0.001), np.isclose(gains, 1.0, atol=0.01)
        assert (out | kept).mean() > 0.999
        assert 1 <= np.count_nonzero(np.diff(out.astype(int))) <= 4
        taken.append(out.mean())
    assert 0.05 < np.mean(taken) < 0.5
