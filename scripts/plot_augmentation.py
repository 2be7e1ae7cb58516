"""Draws docs/augmentation.png: what each augmentation does to one clip, as waveform and as the log-mel the model is given.

    python scripts/plot_augmentation.py [--out docs/augmentation.png]

The clip is eSpeak's (the extra `demo`), noise and room are made here; everything is applied by the run's own `Augmenter`.
"""

import argparse
import tempfile
import textwrap
from dataclasses import dataclass
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import soundfile
import torch
from PIL import Image
from transformers import Qwen3ASRFeatureExtractor

from qasr_train.audio.decode import SAMPLE_RATE_HZ
from qasr_train.augment.augmenter import make_augmenter
from qasr_train.augment.settings import (
    AugmentConfig,
    Codec,
    GainConfig,
    JoinConfig,
    NoiseConfig,
    ReverbConfig,
    SilenceConfig,
    SpecAugmentConfig,
    SpeedConfig,
    TelephoneConfig,
)
from qasr_train.augment.spectrum import cover
from qasr_train.data.workers import load_recording
from qasr_train.manifest import Utterance
from qasr_train.models.blocks.log_mel import LogMel
from scripts.demo.synthesis import Delivery, Synthesizer

SENTENCES = ("The patient takes two small pills a day.", "No fever since Sunday.")
SEED = 1


@dataclass(frozen=True)
class Panel:
    """One clip to draw. waveform: float32 [S]. mel: float32 [M, F]."""

    title: str
    waveform: np.ndarray
    mel: np.ndarray


def main() -> None:
    """Make the clips, apply each augmentation alone, draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("docs/augmentation.png"))
    out = parser.parse_args().out
    with tempfile.TemporaryDirectory() as folder:
        utterances = make_clips(Path(folder))
        panels = [panel("as it was recorded", AugmentConfig(), utterances)]
        for name, config in each_alone(Path(folder)).items():
            panels.append(panel(name, config, utterances))
    draw(panels, out)
    print(f"{out}: {len(panels)} panels, {out.stat().st_size / 1000:.0f} kB")


def make_clips(folder: Path) -> list[Utterance]:
    """Two spoken sentences, a noise (hum and hiss) and a room (0.5 s of decay) as files."""
    rng, synthesizer = np.random.default_rng(SEED), Synthesizer()
    utterances = []
    for number, sentence in enumerate(SENTENCES):
        waveform = 0.5 * synthesizer.speak(sentence, Delivery("en-gb-x-rp", 160, 50, 60))
        path = folder / f"clip{number}.wav"
        soundfile.write(path, waveform, SAMPLE_RATE_HZ)
        duration_s = len(waveform) / SAMPLE_RATE_HZ
        utterances.append(
            Utterance(id=f"clip{number}", audio=str(path), text=sentence, language="English", duration_s=duration_s)
        )
    time_s = np.arange(5 * SAMPLE_RATE_HZ) / SAMPLE_RATE_HZ
    hum = sum(np.sin(2 * np.pi * hz * time_s) / n for n, hz in enumerate(range(100, 900, 100), start=1))
    soundfile.write(folder / "fan.wav", 0.05 * (hum + rng.normal(size=len(time_s))), SAMPLE_RATE_HZ)
    decay = rng.normal(size=SAMPLE_RATE_HZ // 2) * np.exp(-np.arange(SAMPLE_RATE_HZ // 2) / (0.12 * SAMPLE_RATE_HZ))
    decay[:160] = 0.0
    decay[0] = 25.0
    soundfile.write(folder / "hall.wav", 0.03 * decay, SAMPLE_RATE_HZ)
    return utterances


def each_alone(folder: Path) -> dict[str, AugmentConfig]:
    """Name -> settings with that augmentation alone, for every clip."""
    noise = NoiseConfig(1.0, str(folder / "fan.wav"), min_snr_db=10.0, max_snr_db=10.0)
    return {
        "speed": AugmentConfig(speed=SpeedConfig(1.0, [1.1])),
        "gain": AugmentConfig(gain=GainConfig(1.0, min_db=-12.0, max_db=-12.0)),
        "noise": AugmentConfig(noise=noise),
        "reverb": AugmentConfig(reverb=ReverbConfig(1.0, str(folder / "hall.wav"))),
        "telephone, mu-law": AugmentConfig(telephone=TelephoneConfig(1.0, [Codec.mulaw])),
        "telephone, GSM": AugmentConfig(telephone=TelephoneConfig(1.0, [Codec.gsm])),
        "spec_augment": AugmentConfig(spec_augment=SpecAugmentConfig(1.0)),
        "join": AugmentConfig(join=JoinConfig(1.0, max_duration_s=20.0)),
        "silence": AugmentConfig(
            silence=SilenceConfig(
                0.7, min_duration_s=2.5, max_duration_s=2.5, min_level_db=-40.0, max_level_db=-40.0
            ),
            noise=noise,
        ),
    }  # fmt: skip


def panel(name: str, config: AugmentConfig, utterances: list[Utterance]) -> Panel:
    """The first clip (of silence: the last that was added) as the model would be given it."""
    mel_of = log_mel()
    augment = make_augmenter(config, seed=SEED, max_duration_s=30.0, max_target_tokens=1024)
    if augment is None:
        waveform = load_recording(utterances[0]).waveform
        return Panel(name, waveform, mel_of(waveform).numpy())
    planned = augment.plan(utterances, 0, source="shown")
    utterance = planned[-1 if name == "silence" else 0]
    waveform = augment.recording(load_recording(utterance), 0).waveform
    mel = mel_of(waveform)
    drawn = {"num_frames": mel.shape[1], "num_bins": mel.shape[0]}
    cover(mel, augment.masks(utterance, 0, **drawn))
    return Panel("; ".join(augment.describe(utterance, 0, **drawn)), waveform, mel.numpy())


def log_mel() -> LogMel:
    """The features of Qwen3-ASR."""
    extractor = Qwen3ASRFeatureExtractor()
    filters = torch.from_numpy(extractor.mel_filters).to(torch.float32)
    return LogMel(
        n_fft=extractor.n_fft, hop_samples=extractor.hop_length, min_samples=extractor.min_length, filters=filters
    )


def draw(panels: list[Panel], out: Path) -> None:
    """Two columns of cells, each a waveform over its mel, all on the same scale of time but the joined one."""
    num_rows = -(-len(panels) // 2)
    figure, axes = plt.subplots(
        2 * num_rows, 2, figsize=(12, 2.6 * num_rows), height_ratios=[1, 2] * num_rows, layout="constrained"
    )
    for number, one in enumerate(panels):
        row, column = divmod(number, 2)
        wave, mel = axes[2 * row, column], axes[2 * row + 1, column]
        duration_s = len(one.waveform) / SAMPLE_RATE_HZ
        wave.plot(np.arange(len(one.waveform)) / SAMPLE_RATE_HZ, one.waveform, linewidth=0.4, color="#2a5d84")
        wave.set(xlim=(0, duration_s), ylim=(-0.6, 0.6), xticks=[], yticks=[])
        wave.set_title(textwrap.fill(one.title, 70), fontsize=9, loc="left")
        mel.imshow(
            one.mel, origin="lower", aspect="auto", vmin=-1, vmax=1.5, cmap="magma", extent=(0, duration_s, 0, 128)
        )
        mel.set(yticks=[0, 64, 128])
        mel.tick_params(labelsize=7)
        if column == 0:
            mel.set_ylabel("mel bin", fontsize=8)
    for column in (0, 1):
        axes[-1, column].set_xlabel("seconds", fontsize=8)
    figure.savefig(out, dpi=80)
    plt.close(figure)
    with Image.open(out) as picture:
        picture.convert("RGB").quantize(128).save(out, optimize=True)


if __name__ == "__main__":
    main()
