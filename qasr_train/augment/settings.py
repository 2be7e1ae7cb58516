"""Owns the settings of what is done to training clips, and of what stands in the system turn."""

from dataclasses import dataclass
from enum import Enum

import soundfile

from qasr_train.config.settings import check_settings, setting
from qasr_train.errors import ConfigError


def check_range(key: str, unit: str, low: float, high: float) -> None:
    """Refuse a range that is upside down."""
    if low > high:
        raise ConfigError(f"{key}.min_{unit}={low:g} is more than {key}.max_{unit}={high:g}; exchange them")


@dataclass
class SpeedConfig:
    """Speed perturbation (Ko et al. 2015, "Audio augmentation for speech recognition"): resampling, pitch and tempo together."""

    probability: float = setting(
        0.0, ge=0, le=1, help="share of the clips; 2/3 with two factors is the paper's. 0: off"
    )
    factors: list[float] = setting([0.9, 1.1], gt=0.3, lt=3, help="factors; one is drawn. 1.1: 10 % faster and shorter")

    def __post_init__(self) -> None:
        check_settings(self, "augment.speed")
        if self.probability and not self.factors:
            raise ConfigError("augment.speed.factors=[]: name at least one factor, or set augment.speed.probability=0")


@dataclass
class PrefixConfig:
    """Clips cut where a stream ends a chunk, with the transcript of what had been said by then: what a model meets that streams.

    Only clips with the times of their words (`words` of the manifest) can be cut. The word under way is left out; where none had
    ended, the clip is taught as one without speech.
    """

    probability: float = setting(0.0, ge=0, le=1, help="share of the clips that can be cut. 0: off")
    chunks_s: list[float] = setting(
        [2.0], ge=0.1, help="seconds; lengths of a chunk, of which one is drawn. A cut stands at a multiple of it"
    )

    def __post_init__(self) -> None:
        check_settings(self, "augment.prefix")
        if self.probability and not self.chunks_s:
            raise ConfigError(
                "augment.prefix.chunks_s=[]: name at least one length, or set augment.prefix.probability=0"
            )


@dataclass
class JoinConfig:
    """Clips joined end to end (Lin et al. 2023, "Random utterance concatenation"), so that a model meets long recordings.

    Only clips of the same source, language and speaker are joined, as far as the manifest states them.
    """

    probability: float = setting(
        0.0, ge=0, le=1, help="share of the clips that the following ones are joined to. 0: off"
    )
    max_duration_s: float | None = setting(
        None, gt=0, help="seconds; of a joined clip, each aims at a length drawn below it. null: data.max_duration_s"
    )
    max_gap_s: float = setting(0.5, ge=0, help="seconds; silence between two clips is drawn between 0 and this")

    def __post_init__(self) -> None:
        check_settings(self, "augment.join")


@dataclass
class SilenceConfig:
    """Clips without speech, taught as `language None<asr_text>`: against words made up in silence and noise.

    As Whisper was trained (Radford et al. 2022, 3.1: segments without speech, sub-sampled); here they are made, not found.
    Half of them hold noise of `augment.noise.path` where that is set, the others white noise.
    """

    share: float = setting(0.0, ge=0, lt=1, help="share of an epoch's clips that are added silence. 0: off")
    min_duration_s: float = setting(0.5, gt=0, help="seconds; shortest")
    max_duration_s: float = setting(10.0, gt=0, help="seconds; longest, never over data.max_duration_s")
    min_level_db: float = setting(-90.0, le=0, help="dB of full scale; quietest background, -90 is digital silence")
    max_level_db: float = setting(-30.0, le=0, help="dB of full scale; loudest background")

    def __post_init__(self) -> None:
        check_settings(self, "augment.silence")
        check_range("augment.silence", "duration_s", self.min_duration_s, self.max_duration_s)
        check_range("augment.silence", "level_db", self.min_level_db, self.max_level_db)


def _check_path(key: str, probability: float, path: str | None, what: str) -> None:
    if probability and path is None:
        raise ConfigError(
            f"{key}.path is missing: {key}.probability={probability:g} needs {what}: give a folder, glob or manifest"
        )


@dataclass
class ReverbConfig:
    """Reverberation by measured or simulated room impulse responses (Ko et al. 2017); see `acoustics.reverberate`."""

    probability: float = setting(0.0, ge=0, le=1, help="share of the clips. 0: off")
    path: str | None = setting(None, help="folder, glob or manifest of room impulse responses. null: none")

    def __post_init__(self) -> None:
        check_settings(self, "augment.reverb")
        _check_path("augment.reverb", self.probability, self.path, "room impulse responses")


@dataclass
class NoiseConfig:
    """Additive noise at a drawn ratio (Snyder et al. 2015, MUSAN; Ko et al. 2017); see `acoustics.mix_noise`."""

    probability: float = setting(0.0, ge=0, le=1, help="share of the clips. 0: off")
    path: str | None = setting(None, help="folder, glob or manifest of noises. null: none")
    min_snr_db: float = setting(5.0, help="dB; lowest ratio of speech to noise")
    max_snr_db: float = setting(25.0, help="dB; highest ratio of speech to noise")

    def __post_init__(self) -> None:
        check_settings(self, "augment.noise")
        _check_path("augment.noise", self.probability, self.path, "noises")
        check_range("augment.noise", "snr_db", self.min_snr_db, self.max_snr_db)


@dataclass
class GainConfig:
    """Volume perturbation (Peddinti et al. 2015, "JHU ASpIRE system"): the same words loud and quiet."""

    probability: float = setting(0.0, ge=0, le=1, help="share of the clips. 0: off")
    min_db: float = setting(-12.0, help="dB; most turned down")
    max_db: float = setting(6.0, help="dB; most turned up. Nothing is clipped")

    def __post_init__(self) -> None:
        check_settings(self, "augment.gain")
        check_range("augment.gain", "db", self.min_db, self.max_db)


class Codec(str, Enum):
    """How a telephone call is coded."""

    none = "none"
    mulaw = "mulaw"
    alaw = "alaw"
    gsm = "gsm"
    opus = "opus"


# Container and subtype of libsndfile: G.711 (64 kbit/s, Americas and Japan; elsewhere), GSM 06.10 full rate (13 kbit/s),
# Opus for calls over the internet.
_STORED_AS = {
    Codec.mulaw: ("WAV", "ULAW"),
    Codec.alaw: ("WAV", "ALAW"),
    Codec.gsm: ("WAV", "GSM610"),
    Codec.opus: ("OGG", "OPUS"),
}


def check_codec(codec: Codec) -> None:
    """Refuse a codec this machine's libsndfile was built without."""
    stored = _STORED_AS.get(codec)
    if stored and not soundfile.check_format(*stored):
        raise ConfigError(
            f"augment.telephone.codecs: the libsndfile of this machine cannot write {codec.value}; remove it from the list"
        )


@dataclass
class TelephoneConfig:
    """Telephone band of ITU-T G.712 and codec (Vu et al. 2019, "Audio codec simulation based data augmentation")."""

    probability: float = setting(0.0, ge=0, le=1, help="share of the clips. 0: off")
    codecs: list[Codec] = setting(
        [Codec.mulaw, Codec.alaw, Codec.gsm], help="codecs; one is drawn. none: the band alone. opus is slow to encode"
    )

    def __post_init__(self) -> None:
        check_settings(self, "augment.telephone")
        if self.probability and not self.codecs:
            raise ConfigError("augment.telephone.codecs=[]: name at least one codec, or set its probability to 0")
        for codec in self.codecs if self.probability else []:
            check_codec(codec)


@dataclass
class SpecAugmentConfig:
    """SpecAugment (Park et al. 2019), masks alone: time warping cost them most and helped least.

    A mask takes the mean of the row's own features, as the paper does, whose features have mean zero. The features of
    Qwen3-ASR have not: 0 is a loudness there (a mel power of 1e-4), and their floor is what real silence looks like, so that
    a floor under spoken words would teach the model to hear words in silence.
    """

    probability: float = setting(0.0, ge=0, le=1, help="share of the clips. 0: off")
    num_time_masks: int = setting(2, ge=0, help="masks; each covers a stretch of time")
    max_time_frames: int = setting(50, ge=1, help="mel frames of 10 ms; longest stretch of one mask")
    max_time_fraction: float = setting(0.1, gt=0, le=1, help="share of the clip; longest stretch of one mask")
    num_frequency_masks: int = setting(2, ge=0, help="masks; each covers a band of frequency")
    max_frequency_bins: int = setting(27, ge=1, help="mel bins; widest band of one mask")

    def __post_init__(self) -> None:
        check_settings(self, "augment.spec_augment")


@dataclass
class AugmentConfig:
    """What is done to training clips, differently in every epoch; dev sets are never touched. Each is off by default."""

    speed: SpeedConfig = setting(SpeedConfig(), help="faster and slower")
    prefix: PrefixConfig = setting(PrefixConfig(), help="cut at chunk ends, for streaming")
    join: JoinConfig = setting(JoinConfig(), help="several clips as one, for long recordings")
    silence: SilenceConfig = setting(SilenceConfig(), help="clips without speech, added")
    reverb: ReverbConfig = setting(ReverbConfig(), help="rooms")
    noise: NoiseConfig = setting(NoiseConfig(), help="background noise")
    gain: GainConfig = setting(GainConfig(), help="louder and quieter")
    telephone: TelephoneConfig = setting(TelephoneConfig(), help="telephone band and codecs")
    spec_augment: SpecAugmentConfig = setting(SpecAugmentConfig(), help="parts of the spectrogram covered up")

    def __post_init__(self) -> None:
        check_settings(self, "augment")

    @property
    def is_on(self) -> bool:
        """Whether anything is changed at all."""
        return self.changes_sound or self.spec_augment.probability > 0 or self.prefix.probability > 0

    @property
    def changes_times(self) -> str | None:
        """The key of a part that moves words, None where none does."""
        moves = {
            "speed.probability": self.speed.probability,
            "join.probability": self.join.probability,
            "silence.share": self.silence.share,
        }
        return next((name for name, share in moves.items() if share > 0), None)

    @property
    def changes_sound(self) -> bool:
        """Whether a clip's waveform differs between epochs, so that its features cannot be kept from one to the next.

        A cut does not count: it is a span of the recording, and a cache knows a clip by its span.
        """
        parts = (self.speed, self.join, self.reverb, self.noise, self.gain, self.telephone)
        return any(part.probability > 0 for part in parts) or self.silence.share > 0


MAX_DISTRACTORS = 2000


class ContextKind(str, Enum):
    """What a system turn holds."""

    own = "own"  # the context of the row itself; where it has none, an empty turn or none, as `served` says
    spoken = "spoken"  # the listed terms that are spoken, among distractors
    distractors = "distractors"  # listed terms that are not spoken
    description = "description"  # one line of a file: what is recorded, where
    empty = "empty"  # an empty system turn, as the official package sends it
    no_turn = "no_turn"  # no system turn, whatever context the row has


@dataclass
class ContextConfig:
    """Which share of the training rows sees which kind of context, drawn anew for every utterance and epoch."""

    terms: str | None = setting(None, help="path; term list, a term a line. null: no term is offered")
    descriptions: str | None = setting(None, help="path; a description of the recordings a line. null: none is offered")
    own: float = setting(1.0, ge=0, le=1, help="share of rows with the context of the manifest, if it gives one")
    served: float = setting(
        0.0,
        ge=0,
        le=1,
        help="of the rows of `own` that have no context, the share without a system turn, as vllm serve sends them; the "
        "others have an empty one, as qwen-asr sends them",
    )
    spoken: float = setting(0.0, ge=0, le=1, help="share with the terms that are spoken, among distractors")
    distractors: float = setting(0.0, ge=0, le=1, help="share with distractors alone: terms that are not spoken")
    description: float = setting(0.0, ge=0, le=1, help="share with a line of `descriptions`")
    empty: float = setting(0.0, ge=0, le=1, help="share with an empty system turn, as the official package sends")
    no_turn: float = setting(
        0.0, ge=0, le=1, help="share without a system turn, also where the manifest gives a context"
    )
    min_distractors: int = setting(10, ge=1, le=MAX_DISTRACTORS, help="terms; the fewest drawn for a row")
    max_distractors: int = setting(100, ge=1, le=MAX_DISTRACTORS, help="terms; the most drawn for a row")

    def __post_init__(self) -> None:
        check_settings(self, "context")
        total = sum(self.shares().values())
        if abs(total - 1.0) > 1e-6:
            named = " + ".join(f"{kind.value} {share:g}" for kind, share in self.shares().items())
            raise ConfigError(f"context: the shares {named} add up to {total:g}; they must make 1")
        if self.min_distractors > self.max_distractors:
            raise ConfigError(
                f"context.min_distractors={self.min_distractors} is more than context.max_distractors={self.max_distractors}"
            )
        for share, key in (("spoken", "terms"), ("distractors", "terms"), ("description", "descriptions")):
            if getattr(self, share) and getattr(self, key) is None:
                raise ConfigError(
                    f"context.{share}={getattr(self, share):g} needs context.{key}=FILE, a text file with one a line"
                )

    def shares(self) -> dict[ContextKind, float]:
        """The share of each kind."""
        return {kind: getattr(self, kind.value) for kind in ContextKind}

    @property
    def is_on(self) -> bool:
        """Whether anything is drawn: other contexts than the manifest's own, or prompts without a system turn."""
        return self.own < 1.0 or self.served > 0
