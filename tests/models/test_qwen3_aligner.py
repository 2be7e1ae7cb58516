"""The aligner: names and sizes of the published one, layouts, what it is given and taught, times out of slots, training."""

import json
import pickle
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import Qwen2Tokenizer, Qwen3ASRForTokenClassification

from qasr_train.batch import IGNORED, Recording
from qasr_train.errors import CheckpointError, ConfigError, DataError
from qasr_train.jobs.recipes import load_config
from qasr_train.models.adapt import apply_adaptation
from qasr_train.models.base import Aligner, AudioEncoder, ModelOrigin, NamesSlots
from qasr_train.models.families import load_aligner, load_model, load_trainable, load_training_collator
from qasr_train.models.pretrained import save_whole
from qasr_train.models.qwen3_aligner.collator import Qwen3AlignerCollator
from qasr_train.models.qwen3_aligner.config import PARTS, Qwen3AlignerConfig
from qasr_train.models.qwen3_aligner.model import Qwen3Aligner
from qasr_train.models.qwen3_aligner.slots import in_order, timed_words
from qasr_train.models.qwen3_aligner.words import Unit, split_units
from qasr_train.models.qwen3_asr import original
from qasr_train.models.qwen3_asr.layouts import load_checkpoint, write_original
from qasr_train.models.qwen3_asr.original import ALIGNER
from qasr_train.models.settings import AdaptConfig, LoraSettings, Recompute
from qasr_train.objectives.slots import Slots
from qasr_train.timed.base import TimedWord
from tests.helpers import SHARED, needs_shared, tone, utterance
from tests.helpers_model import tiny_aligner, tiny_aligner_processor

PUBLISHED = SHARED / "qwen3_asr" if SHARED else Path()
WORDS = (TimedWord("two", 0.1, 0.4), TimedWord("small", 0.4, 0.79), TimedWord("pills.", None, 1.2))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny aligner of random weights, native."""
    made = tmp_path_factory.mktemp("aligner") / "native"
    save_whole(tiny_aligner(), tiny_aligner_processor(), made)
    return made


@pytest.fixture
def learner(folder: Path) -> Qwen3Aligner:
    loaded = load_trainable(Qwen3AlignerConfig(path=str(folder)), device="cpu")
    assert isinstance(loaded, Qwen3Aligner)
    return loaded


def recordings() -> list[Recording]:
    """Clips of unequal lengths, the second without speech."""
    spoken = utterance(id="u0", text="two small pills.", words=WORDS)
    return [Recording(spoken, tone(1.4)), Recording(utterance(id="u1", text="", words=()), tone(0.7))]


@needs_shared
def test_every_tensor_of_the_published_aligner_has_its_place_and_size() -> None:
    folder = PUBLISHED / "original" / "Qwen3-ForcedAligner-0.6B"
    tokenizer = Qwen2Tokenizer.from_pretrained(PUBLISHED / "original" / "Qwen3-ASR-0.6B")
    config = original.native_config(json.loads((folder / "config.json").read_text()), tokenizer, where=folder)
    with torch.device("meta"):
        model = Qwen3ASRForTokenClassification(config)
    shapes = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    assert shapes["score.weight"] == (5000, 1024), "classify_num times the decoder's width"
    assert shapes["model.language_model.embed_tokens.weight"] == (152_064, 1024)
    assert shapes["model.multi_modal_projector.linear_2.weight"] == (1024, 1024)
    # 24 encoder layers, as the 1.7B recogniser, and 28 of the decoder, as the 0.6B one.
    assert sum("audio_tower.layers" in name and name.endswith("fc1.weight") for name in shapes) == 24
    assert sum(name.endswith("mlp.gate_proj.weight") for name in shapes) == 28
    keys = {name: ALIGNER.original_name(name) for name in shapes}
    assert keys["score.weight"] == "thinker.lm_head.weight"
    assert keys["model.multi_modal_projector.linear_1.bias"] == "thinker.audio_tower.proj1.bias"
    assert (
        keys["model.language_model.layers.3.self_attn.q_norm.weight"]
        == "thinker.model.layers.3.self_attn.q_norm.weight"
    )
    assert {ALIGNER.native_name(key) for key in keys.values()} == set(shapes)


@needs_shared
def test_the_original_config_written_from_the_published_one_says_the_same() -> None:
    folder = PUBLISHED / "original" / "Qwen3-ForcedAligner-0.6B"
    tokenizer = Qwen2Tokenizer.from_pretrained(PUBLISHED / "original" / "Qwen3-ASR-0.6B")
    published = json.loads((folder / "config.json").read_text())
    config = original.native_config(published, tokenizer, where=folder)
    assert config.timestamp_token_id == 151705
    languages = published["support_languages"]
    assert config.to_dict()["support_languages"] == languages
    ours = original.original_config(config, tokenizer, dtype=torch.bfloat16, languages=languages, slot_ms=80)
    for section in ("audio_config", "text_config"):
        own, theirs = ours["thinker_config"].pop(section), published["thinker_config"].pop(section)
        assert own == {key: theirs[key] for key in own}
    assert ours == published


def test_native_and_original_hold_the_same_model(folder: Path, tmp_path: Path) -> None:
    model, processor = load_checkpoint(folder, kind=ALIGNER)

    def described(*args, **options):
        return original.original_config(*args, languages=["English", "French"], slot_ms=80, **options)

    write_original(model, processor, tmp_path / "original", ALIGNER, described, dtype=None)
    config = Qwen3AlignerConfig(path=str(tmp_path / "original"))
    again, native = load_aligner(config, device="cpu"), load_aligner(Qwen3AlignerConfig(path=str(folder)), device="cpu")
    assert isinstance(again, Qwen3Aligner) and isinstance(native, Qwen3Aligner)
    assert again.languages == native.languages == ("English", "French")
    assert again.slot_s == native.slot_s == 0.08 and again.longest_s == native.longest_s == pytest.approx(4.8)
    assert again.origin.digest == native.origin.digest
    assert again.align(tone(1.0), ["two", "pills"], "English") == native.align(tone(1.0), ["two", "pills"], "English")


def test_recogniser_and_aligner_are_told_apart(folder: Path) -> None:
    with pytest.raises(
        CheckpointError, match="this is a Qwen3-ForcedAligner, which gives timestamps and no transcript"
    ):
        load_checkpoint(folder)
    with pytest.raises(CheckpointError, match="this is a Qwen3-ASR, which transcribes; use a Qwen3-ForcedAligner"):
        load_aligner(Qwen3AlignerConfig(path="bundled:tiny-2"), device="cpu")
    with pytest.raises(ConfigError, match="an aligner says when known words were said and transcribes nothing"):
        load_model(Qwen3AlignerConfig(path=str(folder)), device="cpu")


def test_it_is_given_what_the_processor_of_transformers_gives_it(folder: Path, learner: Qwen3Aligner) -> None:
    processor, waveform = learner.processor, tone(1.3)
    inputs, words = processor.prepare_forced_aligner_inputs(
        audio=waveform, transcript="two small, pills.", language="English"
    )
    units = split_units("two small, pills.", "English")
    batch = learner.collator.for_alignment(waveform, units)
    assert words[0] == [unit.spoken for unit in units]
    assert batch.input_ids.tolist() == inputs["input_ids"].tolist()
    expected = learner.core(**inputs).logits[0][inputs["input_ids"][0] == learner.collator.slot_id]
    with torch.no_grad():
        assert torch.allclose(learner(batch).logits, expected, atol=1e-4)


@pytest.mark.parametrize("text", ["Well, it's 25 well-known - yes!", "你好，world 再见。", "... dash", "l'hôtel d’or"])
def test_words_are_those_of_transformers_and_keep_their_writing(text: str) -> None:
    units = split_units(text, None)
    assert [unit.spoken for unit in units] == tiny_aligner_processor().split_words_for_alignment(text)
    assert "".join(unit.shown for unit in units).replace(" ", "") == text.replace(" ", "")


@pytest.mark.parametrize(
    ("package", "text", "language"), [("nagisa", "こんにちは", "Japanese"), ("soynlp", "안녕", "Korean")]
)
def test_a_language_whose_cutter_is_not_installed_says_what_to_install(
    package: str, text: str, language: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.setitem(sys.modules, f"{package}.tokenizer", None)
    with pytest.raises(ConfigError, match=f"pip install {package}"):
        split_units(text, language)


def test_labels_are_the_slots_of_known_times_at_the_slots_alone(learner: Qwen3Aligner) -> None:
    batch = learner.collator.for_training(recordings())
    assert batch.labels is not None
    slots = batch.input_ids == learner.collator.slot_id
    # 0.1 s, 0.4 s and 0.79 s lie in slots 1, 5 and 9 of 80 ms; the start of the third word is not known; 1.2 s begins slot 15.
    assert batch.labels[0][slots[0]].tolist() == [1, 5, 5, 9, IGNORED, 15]
    assert (batch.labels[~slots] == IGNORED).all() and not slots[1].any()
    assert learner.collator.num_target_tokens(recordings()[0].utterance) == 5 == batch.num_targets
    travelled = pickle.loads(pickle.dumps(load_training_collator(Qwen3AlignerConfig(path=learner.origin.path))))
    assert torch.equal(travelled.for_training(recordings()).input_ids, batch.input_ids)


def test_words_without_slots_are_still_read(learner: Qwen3Aligner) -> None:
    [spoken, _] = recordings()
    drawn = Recording(spoken.utterance, spoken.waveform, slotted=(False, True, False))
    batch = learner.collator.for_training([drawn])
    slots = batch.input_ids[0] == learner.collator.slot_id
    assert batch.labels is not None and batch.labels[0][slots].tolist() == [5, 9]
    tokens = [token for token in batch.input_ids[0].tolist() if token != learner.collator.audio_id]
    assert b"pills" in b"".join(map(learner.collator.token_bytes, tokens))


def test_times_count_from_the_part_of_the_recording_that_is_used(learner: Qwen3Aligner) -> None:
    part = utterance(text="two", words=(TimedWord("two", 10.1, 10.4),), start_s=10.0, end_s=11.0)
    labels = learner.collator.for_training([Recording(part, tone(1.0))]).labels
    assert labels is not None and labels[labels != IGNORED].tolist() == [1, 5]


def test_an_utterance_without_times_is_refused_by_name(learner: Qwen3Aligner) -> None:
    with pytest.raises(DataError, match="test.jsonl:1: utterance 'u1' states no times of its words"):
        learner.collator.for_training([Recording(utterance(), tone(1.0))])
    late = utterance(text="two", words=(TimedWord("two", 5.0, 5.1),))
    with pytest.raises(DataError, match=r"has 'two' at 5.0 s, and the aligner has slots up to 4.8 s"):
        learner.collator.for_training([Recording(late, tone(1.0))])
    with pytest.raises(
        ConfigError, match=r"data.train.main: Italian is not one of the aligner's languages .*new_languages"
    ):
        learner.collator.require_languages(["English", "Italian"], "data.train.main")


def test_alone_and_in_a_batch_the_slots_are_the_same(learner: Qwen3Aligner) -> None:
    longer = Recording(utterance(id="u2", text="fox", words=(TimedWord("fox", 0.2, 2.0),)), tone(2.4, frequency_hz=330))
    with torch.no_grad():
        together = learner(learner.collator.for_training([*recordings(), longer])).logits
        alone = torch.cat([learner(learner.collator.for_training([one])).logits for one in (recordings()[0], longer)])
    assert torch.allclose(together, alone, atol=1e-4)


@pytest.mark.parametrize("with_lora", [False, True])
def test_it_learns_whole_and_with_lora_and_comes_back_as_it_was_saved(
    learner: Qwen3Aligner, with_lora: bool, tmp_path: Path
) -> None:
    lora = LoraSettings(rank=2, decoder=["q_proj", "v_proj"])
    adapt = AdaptConfig(lora=lora) if with_lora else AdaptConfig(trainable=["*"])
    learner.module = apply_adaptation(learner.module, adapt, PARTS)
    batch, losses = learner.collator.for_training(recordings()), []
    trained = [parameter for parameter in learner.module.parameters() if parameter.requires_grad]
    optimizer = torch.optim.SGD(trained, lr=0.002)
    for _ in range(3):
        loss = Slots()(learner, batch)
        losses.append(float(loss.total.detach()))
        optimizer.zero_grad()
        loss.total.backward()
        optimizer.step()
    assert losses[2] < losses[1] < losses[0] and loss.num_targets == 5
    learner.save(tmp_path / "saved")
    again = load_aligner(Qwen3AlignerConfig(path=str(tmp_path / "saved")), device="cpu")
    learner.module.eval()
    for mine, theirs in zip(*(one.align(tone(1.4), ["two", "small"], None) for one in (learner, again)), strict=True):
        assert (mine.text, mine.start_s) == (theirs.text, theirs.start_s)
        assert mine.confidence == pytest.approx(theirs.confidence, abs=1e-4)
    assert (tmp_path / "saved" / "adapter").is_dir() == with_lora


def test_the_collator_of_an_adapter_is_that_of_the_base_that_is_named(
    learner: Qwen3Aligner, folder: Path, tmp_path: Path
) -> None:
    lora = AdaptConfig(lora=LoraSettings(rank=2, decoder=["q_proj"]))
    learner.module = apply_adaptation(learner.module, lora, PARTS)
    learner.origin = ModelOrigin(path="where/it/was/trained")
    learner.save(tmp_path)
    collator = load_training_collator(Qwen3AlignerConfig(path=str(tmp_path / "adapter"), base=str(folder)))
    assert isinstance(collator, Qwen3AlignerCollator)
    assert collator.languages == learner.collator.languages


def test_recomputing_and_cached_encodings_give_the_same_loss(learner: Qwen3Aligner) -> None:
    batch = learner.collator.for_training(recordings())
    expected = float(Slots()(learner, batch).total.detach())
    assert isinstance(learner, AudioEncoder) and isinstance(learner, NamesSlots) and isinstance(learner, Aligner)
    learner.module.train()
    learner.set_gradient_checkpointing(Recompute.all)
    assert float(Slots()(learner, batch).total.detach()) == pytest.approx(expected, rel=1e-5)
    batch.encoded = learner.encode(batch).detach().half()
    assert float(Slots()(learner, batch).total.detach()) == pytest.approx(expected, rel=1e-2)
    assert learner.flop_counter()(batch) > 0


def test_align_says_what_it_cannot_take(learner: Qwen3Aligner) -> None:
    with pytest.raises(DataError, match=r"a clip of 5.0 s is longer than the 4.8 s the aligner takes"):
        learner.align(tone(5.0), ["two"], None)
    with pytest.raises(DataError, match=r"Italian is not one of the aligner's languages \(English, French\)"):
        learner.align(tone(1.0), ["due"], "Italian")
    assert learner.align(np.zeros(0, np.float32), [], None) == ()


def test_slots_out_of_order_are_moved_when_near_and_not_guessed_when_far() -> None:
    # 9 before 8 is moved to it; 40 before 12 is far from everything.
    assert in_order([5, 7, 9, 8, 10, 40, 12]) == [5, 7, 8, 8, 10, None, 12]
    assert in_order([]) == [] and in_order([3, 3, 3]) == [3, 3, 3]


def test_words_have_seconds_confidence_and_no_time_past_the_clip() -> None:
    units = [Unit("Two,", "Two"), Unit("pills", "pills"), Unit("gone", "gone")]
    words = timed_words(units, [1.5, 4.5, 5.5, 14.5, 14.5, 2.5], [0.9, 0.4, 1, 1, 1, 1], slot_s=0.08, duration_s=1.0)
    assert words[0] == TimedWord("Two,", pytest.approx(0.12), pytest.approx(0.36), pytest.approx(0.6))
    assert words[1].end_s == 1.0, "14.5 slots are 1.16 s"
    assert words[2].text == "gone" and not words[2].is_placed


def test_the_objective_and_the_family_belong_together() -> None:
    common = ["data.train.main.path=x", "run_dir=x"]
    with pytest.raises(ConfigError, match="objective=cross_entropy needs token_loss, which model.family=qwen3_aligner"):
        load_config("finetune", ["model=qwen3_aligner", *common])
    with pytest.raises(ConfigError, match="objective=slots needs slots, which model.family=qwen3_asr"):
        load_config("finetune", ["model=tiny", "objective=slots", *common])
    with pytest.raises(ConfigError, match="augment.speed.probability moves words"):
        speed = ["augment.speed.probability=0.5", "augment.speed.factors=[0.9]"]
        load_config("finetune", ["model=qwen3_aligner", "objective=slots", *speed, *common])
    assert load_config("finetune", ["model=qwen3_aligner", "objective=slots", *common]).slotted == 0.7
