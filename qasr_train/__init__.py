"""Fine-tune and evaluate Qwen3-ASR. Nothing is imported here until it is asked for; the functions are shown in `docs/python.md`.

Wings, in the order of their imports: what stands in one knows only what stands before it.

    errors, files       what a user may see; files written whole or not at all
    text, audio, pages  what words are the same; recordings -> 16 kHz; how small pages look
    config              a setting, from its declaration to a checked config
    timed               words and segments with their times, and the formats that hold them
    manifest, batch     contracts: an utterance; a batch
    run                 one run on its machines: directory, processes, tracking
    sources, augment    any format -> utterances; a clip as an epoch has it
    models, data        families of recognisers; epochs, batches, caches
    rewards             what an answer of the model is worth
    objectives          what is learned
    streaming           a recording heard while it comes
    transcription       model x utterances -> predictions
    evaluation          suites, scores, comparisons, reports
    corpus, training    what can be known of a corpus; the loop
    serving             a model behind a port of this machine
    jobs, cli           one job for each recipe; the command `qasr`, and what a notebook calls
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from qasr_train.cli.error_rates import cer, wer
    from qasr_train.cli.notebook import compare, evaluate, finetune, load_model, recipe

__all__ = ["cer", "compare", "evaluate", "finetune", "load_model", "recipe", "wer"]


def __getattr__(name: str) -> Any:
    """A function of `cli/notebook.py` or `cli/error_rates.py`, imported when it is first named."""
    if name in __all__:
        return getattr(import_module(f"qasr_train.cli.{'error_rates' if name in ('cer', 'wer') else 'notebook'}"), name)
    raise AttributeError(f"module 'qasr_train' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
