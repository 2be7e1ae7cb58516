"""Owns what comes out of whole recordings: files of each format, or one format on the screen.

Input: recordings with their segments. Output: NAME.SUFFIX below a folder, or text on stdout; how many cues are too fast.
"""

import sys
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from qasr_train.files import Styled, visible
from qasr_train.timed.base import TimedSegment
from qasr_train.timed.cues import SUBTITLES, CueLayout, laid_out, num_too_fast
from qasr_train.timed.formats import FORMATS, write_timed
from qasr_train.transcription.recordings.find import FoundRecording


@dataclass(frozen=True, slots=True)
class Output:
    """Where transcripts go. folder: None is the screen, for one format. formats: by the names of FORMATS."""

    folder: Path | None
    formats: Collection[str]
    layout: CueLayout

    def write(self, done: Sequence[tuple[FoundRecording, Sequence[TimedSegment]]]) -> int:
        """Write every format of every recording; returns how many cues of subtitles are faster than can be read.

        Raises:
            OSError: a file cannot be written.
        """
        num_fast = 0
        for recording, segments in done:
            cues = laid_out(segments, self.layout) if set(SUBTITLES) & set(self.formats) else []
            num_fast += num_too_fast(cues, self.layout)
            for name in self.formats:
                shown = cues if name in SUBTITLES else segments
                if self.folder is None:
                    _print(recording, shown, name, with_path=name == "txt" and len(done) > 1)
                    continue
                path = self.folder / f"{recording.name}{FORMATS[name].suffix}"
                path.parent.mkdir(parents=True, exist_ok=True)
                write_timed(path, shown, name, recording.name)
        return num_fast


def _print(recording: FoundRecording, segments: Sequence[TimedSegment], name: str, *, with_path: bool) -> None:
    """On a terminal control characters are escapes; in a pipe or file the text is as it was heard, marks of direction too."""
    text = FORMATS[name].text_of(segments, recording.name)
    shown = f"{recording.path}:\n{text}\n" if with_path else text
    sys.stdout.write(visible(shown) if sys.stdout.isatty() else Styled(shown))
    sys.stdout.flush()
