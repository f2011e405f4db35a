"""``wav2edge embed AUDIO…``: embeddings of speakers, or of a bare encoder."""

from __future__ import annotations

from pathlib import Path

from wav2edge.runtime.errors import InputError

from . import _each, _options, _sound, _terminal
from ._command import command, option
from ._options import OUTPUT, One
from ._sound import Held
from ._transcripts import inputs


@command(
    "wav2edge embed alice.wav -m speakers",
    "wav2edge embed 'voices/*.wav' -m speakers -o voices.npz  # NumPy: names and embeddings",
)
@_options.recordings("calls/*.wav")
@option(
    "-o",
    "--output",
    "write all embeddings to FILE.npz (arrays `names` and `embeddings`) or FILE.jsonl instead of printing",
    group=OUTPUT,
    metavar="FILE",
    type=_options.WRITTEN_FILE,
)
@_options.model("bundle of a speaker model or a bare encoder", embedded=False)
@_options.one_engine
@_sound.held(each=True)
def run(audio: tuple[str, ...], output: str | None, model: str | None, one: One, held: Held) -> int:
    """Print or write the embedding of each recording: a vector close to those of the same speaker.

    Embeddings of speakers have unit length: their dot product is their cosine. A recording that cannot be used is named
    in one line, the others are embedded, and the exit code is 2.
    """
    import io

    import numpy as np

    from wav2edge.runtime.files import write_whole
    from wav2edge.runtime.recordings.heads import Embedder
    from wav2edge.runtime.text.formats import printable
    from wav2edge.runtime.text.formats.json import dumped

    if output is not None and Path(output).suffix not in (".npz", ".jsonl"):
        raise InputError(f"--output {output}: name it .npz or .jsonl")
    _options.check_folder(output)
    failed: list[str] = []
    names, vectors, lines = [], [], []
    with Embedder(_each.open_named(model, one, "a speaker model")) as embed:
        for name, channel, vector in _each.of_channels(embed, inputs(audio), held, failed):
            of = {"audio": printable(name)} if channel is None else {"audio": printable(name), "channel": channel}
            names.append(name if channel is None else f"{name} channel {channel}")
            vectors.append(vector)
            lines.append(dumped({**of, "embedding": [round(float(x), 6) for x in vector]}))
            if output is None:
                _terminal.out(lines[-1], as_json=True)
    if output is not None and names:
        if output.endswith(".npz"):
            held_bytes = io.BytesIO()
            np.savez_compressed(held_bytes, names=np.array(names), embeddings=np.stack(vectors))
            write_whole(output, held_bytes.getvalue())
        else:
            write_whole(output, "\n".join(lines) + "\n")
        _terminal.note(f"{len(names)} embeddings of {len(vectors[0])} numbers written to {output}")
    return 2 if failed else 0
