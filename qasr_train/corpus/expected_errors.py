"""Owns what saved predictions say of the clips of a corpus: the error rate to expect of each.

Input: the folder of a run of evaluate, or a predictions file. Output: `ExpectedErrors`, for `data.sample_by_error`.
"""

from collections import defaultdict
from hashlib import blake2b

from qasr_train.data.sampling import ExpectedErrors, transcript_key
from qasr_train.data.settings import SampleByErrorConfig
from qasr_train.errors import DataError, UserError
from qasr_train.evaluation.scoring.alignment import score_utterances
from qasr_train.evaluation.scoring.rates import primary_error_percent
from qasr_train.text.normalize import get_normalizer
from qasr_train.transcription.predictions import load_predictions


def read_expected_errors(config: SampleByErrorConfig) -> ExpectedErrors | None:
    """Error rates by id and transcript, each by the metric of its language; None where `config.predictions` is null.

    A clip that was transcribed several times (under several noises, by several systems) has the mean. Of a clip without speech
    each word that was written counts as 100 %. Rows that failed, or have no reference, say nothing.

    Raises:
        DataError: no such file, not predictions, or none of them says anything; begins with the setting.
    """
    if config.predictions is None:
        return None
    key = f"data.sample_by_error.predictions={config.predictions}"
    try:
        rows = load_predictions(config.predictions).predictions
    except UserError as error:
        raise DataError(f"data.sample_by_error.predictions: {error}") from None
    found: dict[tuple[str, str], list[float]] = defaultdict(list)
    for score in score_utterances(rows, get_normalizer(config.normalizer)):
        one = score.prediction
        if one.text is not None and not one.failed:
            found[one.id, transcript_key(one.text)].append(primary_error_percent(score))
    if not found:
        raise DataError(
            f"{key}: none of its {len(rows)} predictions has a reference and a hypothesis; evaluate with transcripts"
        )
    percents = {name: sum(values) / len(values) for name, values in found.items()}
    digest = blake2b(digest_size=16)
    for name, percent in sorted(percents.items()):
        digest.update(repr((name, round(percent, 6))).encode())
    return ExpectedErrors(percents, config.predictions, digest.hexdigest())
