"""A manifest with the times of the words, as a Whisper's cross-attention tells them: for human speech nobody has timed by hand.

    python scripts/aligner/whisper_words.py --whisper WHISPER --manifest ../shared/speech/manifest.jsonl --out timed.jsonl \\
        --shortest-s 10.5 --longest-s 29.5 --languages English German French Portuguese

WHISPER is a directory as transformers has it. Of real English with hand-made boundaries whisper-base's times are 72 ms off
(docs/alignment.md), `bundled:tiny-aligner`'s 126. Words of the transcript that it does not hear have no times.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from qasr_train.audio.decode import SAMPLE_RATE_HZ
from qasr_train.data.workers import load_recording
from qasr_train.evaluation.timing.baselines import open_baseline
from qasr_train.manifest import Utterance, findable_from_anywhere, write_manifest
from qasr_train.models.base import Aligner
from qasr_train.sources.settings import SourceConfig
from qasr_train.sources.source import load_utterances


def main(arguments: Sequence[str] | None = None) -> None:
    """Reads the command line, writes the manifest, says how many words have times."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--whisper", required=True, help="directory of a Whisper; or `proportional`, by letters")
    parser.add_argument("--manifest", required=True, help="any source of recordings with transcripts")
    parser.add_argument("--out", type=Path, required=True, help="manifest to write")
    parser.add_argument("--shortest-s", type=float, default=0.0, help="seconds; shorter clips are left out")
    parser.add_argument("--longest-s", type=float, default=30.0, help="seconds; longer clips are left out")
    parser.add_argument("--languages", nargs="+", help="those of all others are left out")
    asked = parser.parse_args(arguments)
    if asked.out.exists():
        parser.exit(2, f"--out {asked.out}: is there already; name another\n")
    aligner = open_baseline(asked.whisper)
    rows = []
    for utterance in load_utterances(SourceConfig(path=asked.manifest), "main"):
        is_long = asked.shortest_s <= (utterance.duration_s or 0.0) <= asked.longest_s
        if is_long and (asked.languages is None or utterance.language in asked.languages):
            rows.append(findable_from_anywhere(timed(utterance, aligner)))
    write_manifest(asked.out, rows)
    words = [word for row in rows for word in row.words]
    print(f"{asked.out}: {len(rows)} recordings, {sum(w.end_s is not None for w in words)} of {len(words)} words timed")


def timed(utterance: Utterance, aligner: Aligner) -> Utterance:
    """The same with the times of its words, in seconds of the recording."""
    waveform = load_recording(utterance).waveform
    words = aligner.split(utterance.text or "", utterance.language)
    begin_s, end_s = utterance.start_s or 0.0, len(waveform) / SAMPLE_RATE_HZ
    found = []
    for word in aligner.align(waveform, words, utterance.language):
        if word.start_s is None or word.end_s is None:
            found.append(word)
        else:  # Whisper's last word may end behind the clip
            within = (min(word.start_s, end_s), min(word.end_s, end_s))
            found.append(replace(word, start_s=begin_s + within[0], end_s=begin_s + within[1]))
    return replace(utterance, words=tuple(found))


if __name__ == "__main__":
    main()
