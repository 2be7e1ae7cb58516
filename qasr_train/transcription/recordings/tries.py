"""Owns what several tries on growing folders have heard: one run directory after the other, each piece in one of them.

Input: the pieces wanted now. Output: the predictions that earlier tries have of them, and where the rest is to be transcribed. A
piece's id tells the file as it was and how it was cut, so that what changed since counts as new.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from qasr_train.errors import ConfigError
from qasr_train.manifest import Utterance
from qasr_train.run.directory import RUN_FILE, check_same_config, has_record, read_run
from qasr_train.transcription.journal import read_partials
from qasr_train.transcription.predictions import PREDICTIONS, Prediction, load_predictions, parse_prediction
from qasr_train.transcription.run import MAY_CHANGE_ON_RESUME, TranscriptionConfig
from qasr_train.transcription.sets import UtteranceSet

_FIRST = "run"


@dataclass(frozen=True)
class Tries:
    """Earlier tries below `folder`, in their order.

    set_name: what each calls its pieces.
    """

    folder: Path
    set_name: str

    def dirs(self) -> list[Path]:
        """Their run directories; one that was claimed and never began is removed."""
        found = [self.folder / _FIRST]
        while found[-1].is_dir():
            found.append(self.folder / f"{_FIRST}-{len(found) + 1}")
        begun = found[:-1]
        if begun and not has_record(begun[-1]):
            (begun[-1] / RUN_FILE).unlink(missing_ok=True)
        return [one for one in begun if has_record(one)]

    def check_same_settings(self, config: TranscriptionConfig) -> None:
        """Refuse (ConfigError) settings other than those of the tries that are there."""
        for run_dir in self.dirs():
            check_same_config(run_dir, config, ignore=MAY_CHANGE_ON_RESUME)

    def check_same_model(self, run_dir: Path) -> None:
        """Refuse (ConfigError) a try with other weights or another precision than the first."""
        first, own = (read_run(one).get("inputs", {}).get("model") for one in (self.dirs()[0], run_dir))
        if first and own and first != own:
            raise ConfigError(
                f"{self.folder}: the weights of model.path, or the precision, are not those it was begun with ({first} -> "
                f"{own}); give another out"
            )

    def rest(self, utterances: Sequence[Utterance]) -> tuple[list[Utterance], Path]:
        """(what no finished try has heard, the run directory for it: an unfinished one about just that, or a new one)."""
        dirs = self.dirs()
        known = _heard(dirs)
        if dirs and not (dirs[-1] / PREDICTIONS).is_file():
            before = _heard(dirs[:-1])
            rest = [one for one in utterances if one.id not in before]
            begun = read_run(dirs[-1]).get("inputs", {}).get("sets", {}).get(self.set_name, {})
            if begun.get("digest") in (None, UtteranceSet(self.set_name, rest).digest()):
                return rest, dirs[-1]
        name = _FIRST if not dirs else f"{_FIRST}-{len(dirs) + 1}"
        return [one for one in utterances if one.id not in known], self.folder / name

    def predictions(self) -> dict[str, Prediction]:
        """By id, of all tries, finished or not; failures left out."""
        return _heard(self.dirs())


def _heard(dirs: Sequence[Path]) -> dict[str, Prediction]:
    heard: dict[str, Prediction] = {}
    for run_dir in dirs:
        if (run_dir / PREDICTIONS).is_file():
            rows = load_predictions(run_dir).predictions
        else:
            rows = [parse_prediction(row, str(run_dir)) for row in read_partials(run_dir).values()]
        heard |= {one.id: one for one in rows if not one.failed}
    return heard
