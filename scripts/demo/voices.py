"""Voices that eSpeak NG does not have: files in its own format with random formants, pitch and tone.

In: a seeded generator and a folder.  Out: a data directory that a `Synthesizer` takes, and the new timbres' names.  Eighty-five
timbres taught the model those; formants far apart from them (`shelby`: the first lowered, the second 40 % up) it misheard.
"""

import random
from pathlib import Path

from scripts.demo.synthesis import TRAINED_TIMBRES, data_directory

_LANGUAGE_FAMILIES = ("gmw", "roa")  # West Germanic and Romance: the four languages are among them


def write_voices(folder: Path, num_voices: int, seed: int) -> list[str]:
    """Link what is needed of eSpeak's data into `folder`, with the trained timbres and new ones; returns the new ones' names.

    eSpeak NG knows at most 349 voices, so only two families of its 141 languages come along.  `folder` may exist already.
    """
    installed, names = data_directory(), [f"drawn{i:03d}" for i in range(num_voices)]
    languages, variants = Path("lang"), Path("voices", "!v")
    for inside in (languages, variants):
        (folder / inside).mkdir(parents=True, exist_ok=True)
    kept = [Path(path.name) for path in installed.iterdir()]
    kept += [languages / family for family in _LANGUAGE_FAMILIES] + [variants / timbre for timbre in TRAINED_TIMBRES]
    for name in kept:
        if not (folder / name).exists():
            (folder / name).symlink_to((installed / name).resolve())
    rng = random.Random(seed)
    for name in names:
        (folder / variants / name).write_text(draw_voice(name, rng))
    return names


def draw_voice(name: str, rng: random.Random) -> str:
    """One file of `voices/!v`.  Frequencies, strengths and widths of formants are percent of the language's own."""
    frequencies = [rng.uniform(85, 120), rng.uniform(78, 130)]  # below the first formant, and the first
    # Each formant against the one below it: what tells voices apart, and what eSpeak's own voices vary little.
    for least, most in ((0.8, 1.65), (0.75, 1.2), *[(0.85, 1.2)] * 5):
        frequencies.append(min(150.0, max(75.0, frequencies[-1] * rng.uniform(least, most))))
    lines = ["language variant", f"name {name}"]
    num_heard = rng.choice((9, 9, 6))  # some of eSpeak's own have no formants above the fifth
    for formant, frequency in enumerate(frequencies):
        strength = rng.uniform(50, 180) if formant < num_heard else 5
        lines.append(f"formant {formant} {frequency:.0f} {strength:.0f} {rng.uniform(70, 200):.0f}")
    lowest = rng.uniform(70, 200)
    lines += [
        f"pitch {lowest:.0f} {lowest * rng.uniform(1.2, 2.2):.0f}",
        f"flutter {rng.randint(0, 8)}",
        f"roughness {rng.choice((0, 0, 1, 2, 4))}",
        f"voicing {rng.uniform(25, 180):.0f}",
        f"consonants {rng.uniform(40, 150):.0f} {rng.uniform(40, 150):.0f}",
    ]
    if rng.random() < 0.2:
        lines.append(f"klatt {rng.randint(1, 5)}")
    if rng.random() < 0.25:
        lines.append(f"echo {rng.randint(20, 140)} {rng.randint(5, 20)}")
    if rng.random() < 0.25:
        lines.append("breath " + " ".join(str(rng.randint(0, 8)) for _ in range(8)))
    if rng.random() < 0.3:
        lines.append(f"tone 100 255 600 {rng.randint(70, 200)} 1200 {rng.randint(30, 150)} 3000 {rng.randint(15, 120)}")
    return "\n".join(lines) + "\n"
