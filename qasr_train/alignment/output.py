"""Owns what `align` writes, as each text is aligned: words in each format, the manifest with them, and what is in doubt.

Input: `Aligned`, one after the other. Output in `out`: files and folders under their names once all are there; a stop in between
leaves those of an earlier try as they were. In memory stay the texts in doubt and the names of files.
"""

import json
import shutil
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self, TextIO

from qasr_train.alignment.text import Alignment
from qasr_train.files import FreeNames, whole_file, write_rows
from qasr_train.manifest import Utterance, findable_from_anywhere, utterance_to_row
from qasr_train.timed.base import TimedSegment
from qasr_train.timed.cues import SUBTITLES, CueLayout, laid_out
from qasr_train.timed.formats import FORMATS, write_timed

# Formats that hold several recordings in one file; the others are a file for each, in a folder of their name.
IN_ONE_FILE = ("jsonl", "ctm")
MANIFEST, DOUBTFUL = "manifest.jsonl", "doubtful.jsonl"


@dataclass(frozen=True, slots=True)
class Aligned:
    """An utterance, its text's alignment with times of the whole recording, and how long its part of that is."""

    utterance: Utterance
    alignment: Alignment
    duration_s: float

    def segment(self) -> TimedSegment:
        """The utterance as one stretch."""
        begin_s = self.utterance.start_s or 0.0
        return TimedSegment(
            begin_s,
            begin_s + self.duration_s,
            self.utterance.text or "",
            self.alignment.words,
            speaker=self.utterance.speaker or "",
            language=self.utterance.language,
        )


@dataclass
class AlignedFiles:
    """A context manager that is given what is aligned; after it the files stand.

    formats: by the names of FORMATS. layout: of the cues of subtitles. max_doubt: a text above it is listed.
    """

    out: Path
    formats: Sequence[str]
    layout: CueLayout
    max_doubt: float
    num_texts: int = 0
    num_words: int = 0
    num_unplaced: int = 0
    doubtful: list[dict[str, Any]] = field(default_factory=list)  # rows of doubtful.jsonl, by time

    def __enter__(self) -> Self:
        self._files = ExitStack()
        with ExitStack() as opened:
            self._manifest = opened.enter_context(whole_file(self.out / MANIFEST))
            self._whole: dict[str, TextIO] = {
                name: opened.enter_context(whole_file(self.out / f"words{FORMATS[name].suffix}"))
                for name in dict.fromkeys(self.formats)
                if name in IN_ONE_FILE
            }
            self._folders = {name: _Folder(self.out / name) for name in self.formats if name not in IN_ONE_FILE}
            self._files = opened.pop_all()
        return self

    def __exit__(self, *error: Any) -> None:
        self._files.__exit__(*error)
        for folder in self._folders.values():
            folder.close(is_whole=error[0] is None)
        if error[0] is None:
            write_rows(self.out / DOUBTFUL, sorted(self.doubtful, key=lambda row: -row["doubt"]))

    def add(self, one: Aligned) -> None:
        """Write one.

        Raises:
            OSError: a file cannot be written.
        """
        words, segment = one.alignment.words, [one.segment()]
        for name, file in self._whole.items():
            file.write(FORMATS[name].text_of(segment, one.utterance.id))
        for name, folder in self._folders.items():
            shown = laid_out(segment, self.layout) if name in SUBTITLES else segment
            file_name = folder.names.take(one.utterance.id.replace("/", "_"))
            write_timed(folder.part / f"{file_name}{FORMATS[name].suffix}", shown, name, one.utterance.id)
        row = utterance_to_row(findable_from_anywhere(replace(one.utterance, words=words, duration_s=one.duration_s)))
        self._manifest.write(json.dumps(row, ensure_ascii=False) + "\n")
        self.num_texts += 1
        self.num_words += len(words)
        self.num_unplaced += one.alignment.num_unplaced
        if one.alignment.doubt > self.max_doubt:
            self.doubtful.append(
                {
                    "id": one.utterance.id,
                    "doubt": round(one.alignment.doubt, 4),
                    "num_unplaced": one.alignment.num_unplaced,
                    "num_words": len(words),
                    "text": one.utterance.text,
                }
            )


class _Folder:
    """A folder of files that takes its name, and the place of an earlier one, when it is whole."""

    def __init__(self, path: Path) -> None:
        self.path, self.part, self.names = path, path.with_name(f"{path.name}.part"), FreeNames()
        shutil.rmtree(self.part, ignore_errors=True)
        self.part.mkdir()

    def close(self, *, is_whole: bool) -> None:
        """Keep it, or leave what stood there."""
        if is_whole:
            shutil.rmtree(self.path, ignore_errors=True)
            self.part.rename(self.path)
        else:
            shutil.rmtree(self.part, ignore_errors=True)
