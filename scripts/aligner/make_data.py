"""Writes speech whose word times eSpeak NG tells, as WAV files and a manifest with `words`: for training and evaluating aligners.

    python scripts/aligner/make_data.py --out /tmp/timed --kind sentences --number 48 --seed 4077
    python scripts/aligner/make_data.py --out /tmp/minutes --kind minutes --number 6 --seed 4077

The sentences, timbres, rates and pitches are those that no training uses, unless --trained is given.  --italian writes sentences
of a language that the bundled aligner does not know.
"""

import argparse
import random
import sys
from pathlib import Path

import soundfile

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from qasr_train.manifest import Utterance, write_manifest
from qasr_train.timed.base import TimedWord
from scripts.aligner.italian import plan_italian
from scripts.aligner.speech import TimedClip, join, speak_clips
from scripts.demo.clips import plan_test_clips, plan_training_clips
from scripts.demo.synthesis import SAMPLE_RATE_HZ, require_espeak
from scripts.demo.vocabulary import LANGUAGES


def main() -> None:
    """Parses the command line and writes the folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder for the WAV files and manifest.jsonl")
    parser.add_argument("--kind", choices=("sentences", "minutes"), default="sentences")
    parser.add_argument("--number", type=int, default=48, help="recordings")
    parser.add_argument("--length-s", type=float, default=60.0, help="seconds of a recording of --kind minutes")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--trained", action="store_true", help="sentences and timbres of the training, for training")
    parser.add_argument("--italian", action="store_true", help="sentences in Italian instead of the four languages")
    arguments = parser.parse_args()
    if arguments.italian and arguments.kind == "minutes":
        parser.error("--italian is there for sentences alone; leave --kind out")
    try:
        require_espeak()
    except ValueError as error:
        parser.exit(2, f"{error}\n")
    clips = sentences(arguments) if arguments.kind == "sentences" else minutes(arguments)
    arguments.out.mkdir(parents=True, exist_ok=True)
    write_manifest(arguments.out / "manifest.jsonl", [write(clip, n, arguments.out) for n, clip in enumerate(clips)])


def sentences(arguments: argparse.Namespace) -> list[TimedClip]:
    """One sentence each, of all languages in turn."""
    if arguments.italian:
        return speak_clips(plan_italian(arguments.number, arguments.seed, is_trained=arguments.trained))
    if arguments.trained:
        return speak_clips(plan_training_clips(arguments.number, arguments.seed))
    per_language = -(-arguments.number // len(LANGUAGES))
    plan = plan_test_clips(per_language, arguments.seed, True)
    in_turn = [plan[language * per_language + n] for n in range(per_language) for language in range(len(LANGUAGES))]
    return speak_clips(in_turn[: arguments.number])


def minutes(arguments: argparse.Namespace) -> list[TimedClip]:
    """Sentences of one language joined to --length-s, with 0.2 to 0.9 s of silence between them; languages in turn."""
    rng, joined = random.Random(arguments.seed), []
    for number in range(arguments.number):
        language = number % len(LANGUAGES)
        num_each = 40 * max(1, round(arguments.length_s / 60))
        plan = plan_test_clips(num_each, arguments.seed + number, True)[num_each * language : num_each * (language + 1)]
        chosen, pauses_s, length_s = list[TimedClip](), [rng.uniform(0.2, 0.9)], 0.0
        for clip in speak_clips(plan):
            if length_s + clip.duration_s > arguments.length_s:
                break
            chosen.append(clip)
            pauses_s.append(rng.uniform(0.2, 0.9))
            length_s += clip.duration_s + pauses_s[-1]
        joined.append(join(chosen, pauses_s))
    return joined


def write(clip: TimedClip, number: int, folder: Path) -> Utterance:
    """The WAV file, and the row of it."""
    file = folder / f"{number:04d}.wav"
    soundfile.write(file, clip.samples, SAMPLE_RATE_HZ)
    words = tuple(TimedWord(*word) for word in zip(clip.words, clip.starts_s, clip.ends_s, strict=True))
    return Utterance(
        id=file.stem,
        audio=file.name,
        text=clip.text,
        language=clip.language,
        duration_s=clip.duration_s,
        words=words,
    )


if __name__ == "__main__":
    main()
