"""How captions are made: the windows of partials, when words become stable, when an utterance ends."""

from __future__ import annotations

from dataclasses import dataclass, field

from .bounds import LONGEST, check, check_counts, check_kinds
from .endpoint import EndpointRules
from .vad import VadSettings


@dataclass(frozen=True)
class LiveSettings:
    """How captions are made. All times are in seconds of sound.

    The defaults were chosen from the tables in docs/how-to/live-settings.md, which
    benchmarks/live_settings.py (steadiness against delay, in simulated time) and benchmarks/live_partials.py (partials
    against whole-utterance partials) print. A value that no benchmark measured is marked so.
    """

    hop: float = 0.5
    """Seconds of new sound between two partials; half of it until an utterance has text. Default 0.5; the profile of a
    slow board says more. Cost: benchmarks/live_cost.py."""

    long_hop: float = 1.2
    """The same once an utterance is longer than a window and 4 s, when every partial costs a whole window; where
    ``hop`` is more, that counts, and half a window at most. Default 1.2: three fifths of the computing of the
    partials of an utterance of 20 s (benchmarks/live_cost.py); in long utterances words appear half a second later
    than with 0.5, and fewer of them change (benchmarks/live_settings.py)."""

    left_context: float = 3.0
    """Seconds that a partial's window reaches back before its hop. Default 3.0 (benchmarks/live_cost.py,
    benchmarks/live_partials.py)."""

    kept_context: float = 4.5
    """The same where convolution features are kept between hops, which makes a longer one affordable. Default 4.5:
    0.4 % of characters differ from whole-utterance partials on commands, 2.2 % with 1.0 (benchmarks/live_partials.py).
    """

    behind_context: float = 1.0
    """The same in a server while partials wait for other streams, so that more streams keep up; finals do not depend on
    it. Default 1.0; not measured apart."""

    edge: float = 0.4
    """Words that begin nearer than this to a window's cut left edge are not trusted. Default 0.4, the receptive field
    and a short word; not measured."""

    settle: float = 0.4
    """Seconds of sound needed after a word before it may become stable. Default 0.4 (benchmarks/live_settings.py)."""

    agreement: int = 4
    """Successive hypotheses that must contain a word before it may become stable. Default 4: with 3, finals revised
    2.6 % of the stable words; 5 gain nothing (benchmarks/live_settings.py)."""

    hold: float = 0.3
    """A word that ends nearer than this to the window's end is not shown yet, unless it is the first. Default 0.3
    (benchmarks/live_settings.py)."""

    tolerance: float = 0.1
    """Seconds by which the start of an agreed word may move between hypotheses. Default 0.1, five frames; not
    measured."""

    confirm: int = 3
    """Successive hypotheses that must contain a correction before it replaces a word that another already followed;
    1 shows it at once. Default 3 (benchmarks/live_settings.py)."""

    min_confidence: float = 0.0
    """A tentative word with a lower confidence (0 to 1), and all after it, is shown only once ``confirm`` successive
    hypotheses contain it: steadier captions, later; above 1 that is every word. Default 0 (off), since
    0.8 makes words appear one to two seconds later where it removes changes (benchmarks/live_settings.py)."""

    pre_roll: float = 1.4
    """Seconds of sound before the voice that belong to an utterance; models trained on clips with silence around the
    speech lose words without. Default 1.4; 2.0 gain nothing (benchmarks/live_settings.py)."""

    post_roll: float = 1.1
    """Seconds of sound after the voice that belong to an utterance. Default 1.1; from 0.8 to 1.2 the WER of
    finals is the same (benchmarks/live_settings.py)."""

    ahead: float = 0.4
    """Seconds before the end of the endpoint's silence at which the final pass over the whole utterance runs, so that
    its Final is ready in time; the pass is discarded when speech continues. 0 never runs ahead. Default 0.4
    (benchmarks/live_settings.py)."""

    keep_features: bool | None = None
    """Whether convolution features are kept between hops. Default None: where the variant has the stages by which the
    front end is run in pieces, and an encoder. Partials then take 0.7 to 0.85 of the computing
    (benchmarks/live_cost.py)."""

    endpoint: EndpointRules = field(default_factory=EndpointRules)
    """When an utterance ends."""

    vad: VadSettings = field(default_factory=VadSettings)
    """When speech begins and ends."""

    def __post_init__(self) -> None:
        """Raises InputError for a value out of bounds, or of another type."""
        time = (0.0, LONGEST)
        check(self, hop=(0.05, LONGEST), long_hop=time, left_context=time, kept_context=time, behind_context=time)
        check(self, edge=time, settle=time, hold=time)
        check(self, tolerance=time, pre_roll=time, post_roll=time, ahead=time)
        check(self, min_confidence=(0.0, 2.0))
        check_counts(self, agreement=(1, 1000), confirm=(1, 1000))
        check_kinds(self, keep_features=(bool, None), endpoint=(EndpointRules,), vad=(VadSettings,))

    @property
    def window(self) -> float:
        """The longest window of a partial, s."""
        return self.hop + (self.kept_context if self.keep_features else self.left_context)


@dataclass(frozen=True)
class LoopSettings:
    """How the loop around the decoder behaves. Times are in seconds of sound."""

    max_lag: float = 2.0
    """Seconds of lag from which partials are skipped, so that finals come in time; default 2.0, four default hops; not
    measured."""

    stats_every: float = 1.0
    """Seconds between two Stats events; default 1.0."""

    def __post_init__(self) -> None:
        """Raises InputError for a value out of bounds."""
        check(self, max_lag=(0.0, LONGEST), stats_every=(0.01, LONGEST))
