"""Configurations of trainings: files on top of files, values of the command line, complaints."""

import pytest
import yaml

from internimage_perception.errors import ConfigError
from internimage_perception.training.config import TrainingConfig
from internimage_perception.training.config_file import load_training, training_names

SMALL = {
    "model": "upernet_internimage_nano",
    "steps": 5,
    "batch": 4,
    "data": {"sources": [{"dataset": {"kind": "folders", "images": "a", "labels": "b"}}]},
}


@pytest.fixture
def write(tmp_path):
    """Return what writes a file: (name, **content) to its path."""

    def file(name="run.yaml", **content):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(yaml.safe_dump(content))
        return path

    return file


def complaint(path, *words):
    with pytest.raises(ConfigError) as caught:
        load_training(path, words)
    return str(caught.value)


def test_everything_else_has_a_value(write):
    config = load_training(write(**SMALL))
    assert config.steps == 5
    assert config.optimizer.betas == (0.9, 0.999)
    assert config.loss.auxiliary == 0.4
    assert config.validation is config.self_training is config.average is None
    assert str(config.data.sources[0].dataset["images"]) == "a"


def test_what_ships_can_be_loaded_by_its_name():
    names = training_names()
    assert "nano_street" in names
    for name in names:
        config = load_training(name)
        assert config.steps > 0
        assert load_training(name, ["steps=7"]) == config.model_copy(update={"steps": 7})


def test_a_file_lies_on_top_of_its_base(write):
    write("deep/base.yaml", **SMALL, optimizer={"kind": "muon", "learning_rate": 1e-3}, average=0.99)
    write("deep/middle.yaml", base="base.yaml", optimizer={"learning_rate": 2e-3}, seed=9)
    top = write(
        "top.yaml", base="deep/middle.yaml", seed=4, model={"base": "upernet_internimage_t"}, average=None,
        data={"workers": 0},
    )  # fmt: skip
    config = load_training(top)
    assert (config.optimizer.kind, config.optimizer.learning_rate) == ("muon", 2e-3)
    assert (config.seed, config.average, config.data.workers) == (4, None, 0)
    assert config.model == {"base": "upernet_internimage_t"}
    assert config.data.sources == load_training(write("deep/base.yaml", **SMALL)).data.sources


def test_networks_datasets_and_sources_replace_those_of_the_base_whole(write):
    validation = {"sources": {"a": {"kind": "dacon", "root": "x"}}, "every": 3}
    write(
        "base.yaml", **SMALL | {"model": {"base": "upernet_internimage_t", "num_classes": 3}},
        validation=validation,
    )  # fmt: skip
    dataset = {"kind": "folders", "images": "other"}
    top = write(
        base="base.yaml", model={"base": "upernet_internimage_b"}, data={"sources": [{"dataset": dataset}]},
        validation={"sources": {"b": dataset}},
    )  # fmt: skip
    config = load_training(top)
    assert config.model == {"base": "upernet_internimage_b"}
    assert config.data.sources[0].dataset == dataset
    assert config.validation.sources == {"b": dataset}
    assert config.validation.every == 3


def test_a_base_may_be_one_that_ships(write):
    config = load_training(write("deep/top.yaml", base="nano_street", steps=3))
    assert config == load_training("nano_street", ["steps=3"])


def test_bases_that_lead_nowhere(write):
    write("a.yaml", base="b.yaml")
    circle = write("b.yaml", base="a.yaml")
    assert "circles, by way of" in complaint(circle)
    assert "missing.yaml cannot be read" in complaint(write(base="missing.yaml"))
    assert "run.yaml: base must name a file or a configuration, not 3" in complaint(write(base=3))
    assert "no training is called 'nano_stret' (did you mean nano_street?)" in complaint(
        write(base="nano_stret")
    )


def test_values_of_the_command_line(write):
    path = write(**SMALL)
    config = load_training(
        path,
        [
            "optimizer.learning_rate=1e-4", "optimizer.betas=[0.8, 9e-1]", "data.sources.0.share=2",
            "data.sources.0.dataset.images=/elsewhere/p=q", "schedule={kind: cosine, warm_up: 3}",
            "validation.sources.new=set.yaml", "seed=1", "seed=2", "model=upernet_internimage_t",
        ],
    )  # fmt: skip
    assert config.optimizer.learning_rate == 1e-4
    assert config.optimizer.betas == (0.8, 0.9)
    assert config.data.sources[0].share == 2
    assert config.data.sources[0].dataset == {"kind": "folders", "images": "/elsewhere/p=q", "labels": "b"}
    assert (config.schedule.kind, config.schedule.warm_up) == ("cosine", 3)
    assert str(config.validation.sources["new"]) == "set.yaml"
    assert config.seed == 2
    assert load_training(path, ["loss.ohem={}", "loss.ohem=null"]).loss.ohem is None


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("steps", "'steps' is no setting; write key=value"),
        ("=3", "is no setting"),
        ("data..workers=1", "is no setting"),
        ("data.sources.1.share=2", "'1' is no place in a list of 1; counting begins at 0"),
        ("data.sources.first.share=2", "'first' is no place in a list of 1"),
        ("steps.more=1", "steps is 5, which holds no more"),
        ("steps.more.still=1", "steps.more"),
        ("model={base: 1", "the value is no YAML"),
    ],
)
def test_wrong_words_of_the_command_line(write, word, said):
    assert said in complaint(write(**SMALL), word)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"batchs": 3}, "unknown key batchs (did you mean batch?)"),
        ({"zzz": 3}, "unknown key zzz; known are model, "),
        ({"optimizer": {"lerning_rate": 1}}, "optimizer.lerning_rate (did you mean learning_rate?)"),
        ({"loss": {"ohem": {"treshold": 0.5}}}, "unknown key loss.ohem.treshold (did you mean threshold?)"),
        ({"data": {"sources": [{"dataset": "a", "shar": 1}]}}, "data.sources.0.shar (did you mean share?)"),
        (
            {"self_training": {"bach": 2, "batch": 2, "sources": [{"dataset": "a"}]}},
            "self_training.bach (did you mean",
        ),
        ({"data": {}}, "data.sources is missing"),
        ({"data": {"sources": []}}, "data.sources: "),
        (
            {"data": {"sources": [{"dataset": 5}]}},
            "data.sources.0.dataset: it must be a name, a file or a map",
        ),
        ({"model": 7}, "model: it must be a name, a file or a mapping (it is 7)"),
        ({"steps": 0}, "steps: Input should be greater than or equal to 1 (it is 0)"),
        ({"steps": "many"}, "steps: Input should be a valid integer"),
        ({"batch": True}, "batch cannot be yes"),
        ({"data": SMALL["data"] | {"workers": False}}, "data: workers cannot be no"),
        ({"precision": "fp64"}, "precision: Input should be 'fp32', 'bf16' or 'fp16' (it is 'fp64')"),
        ({"average": 1.0}, "average: Input should be less than 1 (it is 1.0)"),
        ({"optimizer": {"learning_rate": float("nan")}}, "learning_rate: Input should be a finite number"),
        ({"accumulate": 3}, "batch 4 must be a multiple of accumulate 3"),
        ({"loss": {"class_weights": [1], "rarity": 0.3}}, "loss: give class_weights or rarity, not both"),
        ({"loss": {"cross_entropy": 0}}, "one of cross_entropy and dice must be above 0"),
        ({"self_training": {"sources": [{"dataset": "a"}], "batch": 2}}, "needs a teacher: set average"),
        ({"validation": {"sources": {"a": "b"}, "mode": "slide"}}, "mode slide needs crop and stride"),
        (
            {"strategy": "fsdp", "optimizer": {"kind": "muon"}},
            "which strategy fsdp splits; take adamw or ddp",
        ),
        ({"strategy": "fsdp", "precision": "fp16"}, "which strategy fsdp splits; take bf16 or ddp"),
    ],
)
def test_wrong_values(write, changes, said):
    path = write(**SMALL | changes)
    text = complaint(path)
    assert text.startswith(f"{path}: ")
    assert said in text
    # One thing is wrong, and said once.
    assert "; " not in text.replace("; known are", "").replace("; take", "")


def test_all_wrong_values_are_said_together(write):
    text = complaint(write(model="a", steps=-1, batch=2, data={"sources": [{"datset": "a"}]}))
    assert "steps: " in text
    assert "data.sources.0.dataset is missing" in text
    assert "data.sources.0.datset (did you mean dataset?)" in text


@pytest.mark.parametrize("text", ["", "- 1\n- 2\n", "a: [", "just words"])
def test_files_that_hold_none(tmp_path, text):
    path = tmp_path / "none.yaml"
    path.write_text(text)
    assert str(path) in complaint(path)


def test_names_that_nothing_has():
    assert "(did you mean nano_street?)" in complaint("nano_strete")
    assert "give a .yaml file, or: nano, nano_folders, " in complaint("something/else")


def test_what_is_written_down_can_be_read_again(write):
    config = load_training(
        write(
            **SMALL,
            loss={"class_weights": [1.0] * 13, "ohem": {}},
            optimizer={"learning_rate": 6e-5, "betas": [0.9, 0.99]},
            self_training={"sources": [{"dataset": "target.yaml"}], "batch": 2},
            average=0.999,
        )
    )
    again = load_training(write("again.yaml", **config.model_dump(mode="json")))
    assert again == config
    assert isinstance(again, TrainingConfig)
