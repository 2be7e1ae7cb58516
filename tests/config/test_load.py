"""Loading a config: what composes to which values, and the sentence each mistake gets."""

from pathlib import Path

import pytest

from qasr_train.config.load import Recipe, Tables, load_config
from qasr_train.errors import ConfigError
from tests.example_job import FILES, RECIPES, SCHEMAS, ExampleConfig, ExampleSource, OtherModel, Precision, SmallModel

GIVEN = ["data.train.main.path=x.jsonl", "run_dir=r"]


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Tables:
    """The example job with its YAML files, which no test changes, below a folder with a space in its name."""
    return write_tables(tmp_path_factory.mktemp("example"), {})


def write_tables(tmp_path: Path, more_files: dict[str, str]) -> Tables:
    folder = tmp_path / "my configs"
    for name, text in (FILES | more_files).items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return Tables(RECIPES, SCHEMAS, (folder,))


def sentence(tables: Tables, *overrides: str) -> str:
    """What the user is told; fails if it is more than one line."""
    with pytest.raises(ConfigError) as caught:
        load_config("example", overrides, tables)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_config_is_dataclasses_all_the_way_down(tables: Tables) -> None:
    config = load_config("example", GIVEN, tables)
    assert type(config) is ExampleConfig
    assert config.model == SmallModel(path="models/small", num_layers=2)
    assert config.data.train == {"main": ExampleSource(path="x.jsonl", share=0.5)}
    assert type(config.data.train) is dict
    assert type(config.trainer.betas) is list
    assert config.trainer.lr == 1e-4
    assert config.trainer.precision is Precision.auto


def test_choices_overlay_and_overrides_win_in_this_order(tables: Tables) -> None:
    wide = load_config("example", ["experiment=wide", *GIVEN], tables)
    assert (wide.model, wide.trainer.max_steps) == (OtherModel("models/other", 16), 99)
    mixed = load_config("example", ["experiment=wide", "model=small", "trainer.max_steps=7", *GIVEN], tables)
    assert (type(mixed.model), mixed.trainer.max_steps) == (SmallModel, 7)
    assert load_config("example", ["experiment=null", *GIVEN], tables) == load_config("example", GIVEN, tables)


def test_sources_are_added_replaced_and_removed(tables: Tables) -> None:
    added = load_config("example", ["data.train.extra.path=y", *GIVEN], tables).data.train
    assert added == {"main": ExampleSource("x.jsonl", 0.5), "extra": ExampleSource("y", 1.0)}
    forced = load_config("example", ["+data.train.mian.path=y", *GIVEN], tables).data.train
    assert list(forced) == ["main", "mian"]
    replaced = load_config("example", ["source@data.train.main=talks", "run_dir=r"], tables).data.train
    assert replaced == {"main": ExampleSource("talks.jsonl", 1.0)}
    more = load_config("example", ["+source@data.train.more=talks", *GIVEN], tables).data.train
    assert more["more"] == ExampleSource("talks.jsonl", 1.0)
    assert load_config("example", ["~data.train.main", "run_dir=r"], tables).data.train == {}


def test_plain_mappings_take_new_entries(tables: Tables) -> None:
    source = load_config("example", ["data.train.main.columns.text=sentence", *GIVEN], tables).data.train["main"]
    assert source.columns == {"text": "sentence"}


def test_references_are_filled_in(tables: Tables) -> None:
    assert load_config("example", [GIVEN[0], "run_dir=runs/${seed}", "seed=4"], tables).run_dir == "runs/4"


@pytest.mark.parametrize("path", ["/été/take (1)=x#y.wav", "it's", "a b", "~/x", "C:\\x\\", "x&y", "100%"])
def test_any_path_can_be_typed_without_quotes(tables: Tables, path: str) -> None:
    assert load_config("example", [f"data.train.main.path={path}", "run_dir=r"], tables).data.train["main"].path == path


STEPS = "a whole number at least 1 (updates; where training stops)"
LR = "a number more than 0 and at most 1 (peak learning rate)"
MISTAKES = {
    "trainer.max_step=3": "unknown key trainer.max_step; did you mean trainer.max_steps?",
    "max_steps=3": "unknown key max_steps; did you mean trainer.max_steps?",
    "trainr.max_steps=3": "unknown key trainr.max_steps; did you mean trainer.max_steps?",
    "+trainer.zzz=3": "unknown key trainer.zzz; the keys of trainer are max_steps, save_every, lr, betas, is_logged, precision",
    "zzz=3": "unknown key zzz; the keys of this recipe are model, data, trainer, run_dir, seed",
    "data.train.main.pth=y": "unknown key data.train.main.pth; did you mean data.train.main.path?",
    "data.train.mian.path=y": "unknown key data.train.mian.path; did you mean data.train.main? (to add an entry mian "
    "write +data.train.mian.path=...)",
    "model.width=3": "unknown key model.width; the keys of model are path, num_layers",
    "trainer={max_step: 3}": "unknown key trainer.max_step; did you mean trainer.max_steps?",
    "trainer.betas.5=0.1": "unknown key trainer.betas[5]; did you mean trainer.betas?",
    "trainer.max_steps=abc": f"trainer.max_steps=abc: expected {STEPS}",
    "trainer.max_steps=1.5": f"trainer.max_steps=1.5: expected {STEPS}",
    "trainer.max_steps=true": f"trainer.max_steps=true: expected {STEPS}",
    "trainer.max_steps=null": f"trainer.max_steps=null: expected {STEPS}",
    "trainer={max_steps: abc}": f"trainer.max_steps=abc: expected {STEPS}",
    "trainer.max_steps=0": "trainer.max_steps=0: expected at least 1 (updates; where training stops)",
    "trainer.save_every=x": "trainer.save_every=x: expected a whole number at least 1, or null "
    "(updates; between checkpoints. null: only the last)",
    "trainer.lr=fast": f"trainer.lr=fast: expected {LR}",
    "trainer.lr=nan": "trainer.lr=nan: expected more than 0 and at most 1 (peak learning rate)",
    "trainer.betas=[0.9,1.0]": "trainer.betas[1]=1.0: expected at least 0 and less than 1 (decay of AdamW's means)",
    "trainer.betas=0.9": "trainer.betas=0.9: expected a list such as [a,b], each a number at least 0 and less than 1 "
    "(decay of AdamW's means)",
    "trainer.is_logged=maybe": "trainer.is_logged=maybe: expected true or false (whether figures are written)",
    "trainer.precision=fp4": "trainer.precision=fp4: expected one of auto, bf16 (number format of the forward pass)",
    "data.train.main.share=0": "data.train.main.share=0.0: expected more than 0 (passes an epoch)",
    "data.train.main.columns=a": "data.train.main.columns=a: expected a mapping such as {a: b} "
    "(our field -> the source's column)",
    "trainer.save_every=50": "trainer.save_every=50 is more than trainer.max_steps=10: no checkpoint would be written; "
    "lower it or set null",
    "model=othr": "model=othr: no such model (did you mean other?); choose from other, small",
    "model=null": "model=null: model takes one name; choose from other, small",
    "model=[small,other]": "model=[small,other]: model takes one name; choose from other, small",
    "~model": "~model: this group cannot be left out; choose model=NAME from other, small",
    "source@data.train.main=tlks": "source=tlks: no such source (did you mean talks?); choose from clips, talks",
    "~trainer.lr": "~trainer.lr: a setting cannot be removed, only an entry of a mapping; give it another value",
    "foo": "cannot read 'foo': write key=value, a list as 'key=[a,b]', odd text as \"key='a=b'\"",
    "trainer.betas=[1": "cannot read 'trainer.betas=[1': write key=value, a list as 'key=[a,b]', odd text as \"key='a=b'\"",
    "seed=1,2": "'seed=1,2': several values need --multirun; for one list write 'key=[a,b]', for text with a comma "
    "write \"key='a,b'\"",
    "run_dir=${nope}": "run_dir=${nope}: cannot be filled in (Interpolation key 'nope' not found)",
    "run_dir=${": "run_dir=${: not a complete reference ${other.key}; write \\${ for a plain ${",
    "hydra.run.dir=x": "'hydra.run.dir=x': settings of Hydra itself have no effect here; remove it",
}


@pytest.mark.parametrize("override", MISTAKES)
def test_a_mistake_is_told_in_one_sentence(tables: Tables, override: str) -> None:
    given = [item for item in GIVEN if not item.startswith(f"{override.split('=')[0]}=")]
    assert sentence(tables, *given, override) == MISTAKES[override]


def test_missing_values_are_listed_with_what_they_mean(tables: Tables) -> None:
    assert sentence(tables) == (
        "data.train.main.path is missing: give data.train.main.path=VALUE, text (file; the manifest); also missing: run_dir"
    )


FILE_MISTAKES = {
    "trainer/bad.yaml": (
        "defaults: [trainer_schema, _self_]\nlrr: 1\n",
        "trainer=bad",
        "unknown key trainer.lrr; did you mean trainer.lr?",
    ),
    "trainer/text.yaml": (
        "defaults: [trainer_schema, _self_]\nlr: abc\n",
        "trainer=text",
        f"trainer.lr=abc: expected {LR}",
    ),
    "model/plain.yaml": ("path: x\n", "model=plain", "its defaults list must begin with small_schema or other_schema"),
    "experiment/typo.yaml": (
        "# @package _global_\ntrainer: {max_step: 9}\n",
        "experiment=typo",
        "unknown key trainer.max_step; did you mean trainer.max_steps?",
    ),
    "experiment/group.yaml": (
        "# @package _global_\ndefaults:\n- override /modl: other\n",
        "experiment=group",
        "example has no group modl; write the group as `override /group: name`",
    ),
    "experiment/local.yaml": (
        "trainer: {lr: 0.1}\n",
        "experiment=local",
        "its first line must be `# @package _global_`",
    ),
}


@pytest.mark.parametrize("name", FILE_MISTAKES)
def test_a_mistake_in_a_yaml_file_names_the_file(tmp_path: Path, name: str) -> None:
    text, override, expected = FILE_MISTAKES[name]
    tables = write_tables(tmp_path, {name: text})
    assert sentence(tables, override, *GIVEN) == f"my configs/{name}: {expected}"


def test_yaml_that_cannot_be_read_names_file_and_line(tmp_path: Path) -> None:
    tables = write_tables(tmp_path, {"trainer/cut.yaml": "defaults: [trainer_schema, _self_\nlr: 3\n"})
    told = sentence(tables, "trainer=cut", *GIVEN)
    assert told.endswith("trainer/cut.yaml:2: not valid YAML (expected ',' or ']', but got ':')")


def test_a_choice_that_a_yaml_file_makes_wrongly_is_named(tmp_path: Path) -> None:
    text = "# @package _global_\ndefaults:\n- override /model: othr\n"
    tables = write_tables(tmp_path, {"experiment/choice.yaml": text})
    assert sentence(tables, "experiment=choice", *GIVEN) == (
        "a defaults list chooses model=othr: no such file (did you mean other?); choose from other, small"
    )


def test_a_group_that_must_be_chosen_is_named(tmp_path: Path) -> None:
    tables = write_tables(tmp_path, {"example.yaml": FILES["example.yaml"].replace("model: small", "model: ???")})
    assert sentence(tables, *GIVEN) == "model is missing: choose model=NAME from other, small"
    told = sentence(tables, "model.path=runs/x/checkpoints/best", *GIVEN)
    assert told == "model is missing: choose model=NAME from other, small; model.path=... goes beside it"


def test_a_group_of_another_recipe_is_refused(tmp_path: Path) -> None:
    tables = write_tables(tmp_path, {"suite/own.yaml": "name: own\n"})
    assert sentence(tables, "suite=own", *GIVEN) == (
        "example has no group suite; its groups are data, experiment, model, source@data.train.main, trainer"
    )


def test_a_section_that_is_off_takes_no_settings(tmp_path: Path) -> None:
    tables = write_tables(tmp_path, {"off.yaml": "defaults: [off_schema, _self_]\n"})
    tables = Tables(
        {"off": Recipe("", "tests.example_job:OffConfig", job="", output="run_dir")}, {}, tables.search_dirs
    )
    assert load_config("off", [], tables).extra is None
    with pytest.raises(ConfigError) as caught:
        load_config("off", ["extra.path=x"], tables)
    assert str(caught.value) == (
        "extra.path: extra is off (null), so nothing in it can be set; choose a file that has it"
    )


def test_a_users_own_folder_of_configs_is_searched(tmp_path: Path) -> None:
    tables = write_tables(tmp_path, {})
    own = tmp_path / "own" / "experiment" / "mine.yaml"
    own.parent.mkdir(parents=True)
    own.write_text("# @package _global_\nseed: 5\n")
    both = Tables(RECIPES, SCHEMAS, (*tables.search_dirs, tmp_path / "own"))
    assert load_config("example", ["experiment=mine", *GIVEN], both).seed == 5
    assert "choose from mine, wide" in sentence(both, "experiment=nope", *GIVEN)
