"""The experiment in bench/distortion_experiment: fair arms, exact pictures, right sums."""

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import yaml

from internimage_perception.data.datasets import open_dataset
from internimage_perception.data.sample import Sample
from internimage_perception.data.street.classes import StreetClass
from internimage_perception.data.street.seeds import stream
from internimage_perception.evaluation.rings import RINGS
from internimage_perception.geometry import EucmCamera, PinholeCamera, WoodScapeCamera, camera_from_dict
from internimage_perception.training.config_file import load_training

FOLDER = Path(__file__).resolve().parents[2] / "bench" / "distortion_experiment"
SCORES = {
    "lenses": {"mei": 0.0},
    "rings": {"0-15": 0.0},
    "classes": {"road": 0.0},
    "ring_share": {"0-15": 1.0},
}


@pytest.fixture(scope="module")
def experiment() -> Iterator[SimpleNamespace]:
    """Give the experiment's modules; they lie in a folder, not in a package."""
    before = set(sys.modules)
    sys.path.insert(0, str(FOLDER))
    names = ("arms", "draw", "figures", "report", "run", "scoring", "trials")
    yield SimpleNamespace(**{name: importlib.import_module(name) for name in names})
    for name in (*names, "results"):
        if name not in before:
            sys.modules.pop(name, None)
    sys.path[:] = [entry for entry in sys.path if entry not in {str(FOLDER), str(FOLDER.parent)}]


@pytest.fixture(scope="module")
def drawn(experiment: SimpleNamespace, tmp_path_factory: pytest.TempPathFactory) -> Path:
    work = tmp_path_factory.mktemp("pictures")
    experiment.draw.draw(work, {"source": 2, "target": 2, "dev": 3}, workers=1)
    return work


def settings_of(experiment: SimpleNamespace, arm: str) -> dict[str, object]:
    content: dict[str, object] = load_training(experiment.arms.ARMS[arm].file).model_dump(mode="json")
    return content


def test_arms_differ_in_what_is_done_to_labelled_pictures_alone(experiment: SimpleNamespace) -> None:
    arms = {arm: settings_of(experiment, arm) for arm in experiment.arms.ARMS}
    assert {arm for arm, content in arms.items() if content["self_training"]} == {"d"}
    pipelines = {arm: content["data"]["sources"][0].pop("pipeline") for arm, content in arms.items()}
    assert pipelines["c"] == pipelines["d"]
    assert pipelines["a"] == pipelines["b"][1:]
    datasets = {arm: content["data"]["sources"][0].pop("dataset") for arm, content in arms.items()}
    assert {arm for arm, dataset in datasets.items() if dataset != datasets["a"]} == {"e"}
    assert pipelines["e"] == []
    for content in arms.values():
        content.pop("self_training")
        assert content == arms["a"]


def test_labels_follow_one_rule(experiment: SimpleNamespace) -> None:
    rules = []
    for arm in experiment.arms.ARMS:
        for step in settings_of(experiment, arm)["data"]["sources"][0]["pipeline"]:
            given = step.get("config", step)
            if "backgrounds" in step:
                rules.append((given.get("outside_label", 255), given.get("ego_label", 255)))
            assert given.get("no_source_label", 255) == 255
    assert len(rules) == 4
    assert set(rules) == {(255, 255)}


def test_no_lens_that_is_scored_is_of_a_model_that_is_trained_with(experiment: SimpleNamespace) -> None:
    trained = {*experiment.draw.TARGET_LENSES.models}
    for arm in "cd":
        trained |= {*settings_of(experiment, arm)["data"]["sources"][0]["pipeline"][0]["config"]["models"]}
    test, dev = (experiment.draw.scored_lenses(block) for block in ("test", "dev"))
    assert trained == {"woodscape", "eucm"}
    assert {lens.model for lens in (*test.values(), *dev.values())} == {"equidistant", "mei", "double_sphere"}
    assert not {*map(str, test.values())} & {*map(str, dev.values())}


def test_sets_share_no_street(experiment: SimpleNamespace) -> None:
    # The same streets from the windscreen take the place of the source, they do not join it.
    sets = [spec for name, spec in experiment.draw.SETS.items() if name != "source_ahead"]
    streets = [range(spec.first_seed, spec.first_seed + spec.count) for spec in sets]
    for index, one in enumerate(streets):
        assert all(one.stop <= other.start or other.stop <= one.start for other in streets[:index])
    assert {spec.split for name, spec in experiment.draw.SETS.items() if name in {"test", "dev"}} == {"test"}


def test_pictures_are_what_they_are_said_to_be(experiment: SimpleNamespace, drawn: Path) -> None:
    source = open_dataset(drawn / "source" / "dataset.yaml")[1]
    assert isinstance(source.camera, PinholeCamera)
    width = 2 * np.degrees(np.arctan(source.image.shape[1] / 2 / source.camera.fx))
    assert 50 <= width <= 80
    assert source.labels is not None
    assert len(np.unique(source.labels)) > 2
    target = open_dataset(drawn / "target" / "dataset.yaml")[0]
    assert isinstance(target.camera, (EucmCamera, WoodScapeCamera))
    assert target.labels is None
    assert target.regions is not None
    assert (target.regions.outside_lens == ~target.camera.valid_mask()).all()
    for name, lens in experiment.draw.scored_lenses("dev").items():
        frame = open_dataset(drawn / "dev" / name / "dataset.yaml")[0]
        assert frame.camera == lens
        assert frame.labels is not None
        assert (frame.labels[~lens.valid_mask()] == 255).all()


def test_masks_of_the_own_car_are_exact(experiment: SimpleNamespace, tmp_path: Path) -> None:
    drawer = experiment.draw.StreetDrawer(tmp_path, {})
    spec = experiment.draw.SETS["target"]
    hidden = 0
    for view in drawer._views(spec, 12, range(4), stream("train", 12, 1)):
        ego = view.regions().ego_body
        assert (view.frame.class_ids[ego] == StreetClass.BACKGROUND).all()
        # Whatever else is Background (bins, benches) is farther away than the own car.
        near = (view.frame.class_ids == StreetClass.BACKGROUND) & (view.frame.depth < 0.5)
        assert (ego[near]).all()
        hidden += int(ego.sum())
    assert hidden > 0


def test_drawing_goes_on_and_draws_alike(experiment: SimpleNamespace, drawn: Path, tmp_path: Path) -> None:
    def contents(root: Path) -> dict[str, bytes]:
        kinds = ("images", "labels", "cameras")
        files = [path for kind in kinds for path in sorted((root / "source" / kind).iterdir())]
        return {path.name + path.parent.name: path.read_bytes() for path in files}

    first = drawn / "source" / "images" / "00000.png"
    written = first.stat().st_mtime_ns
    experiment.draw.draw(drawn, {"source": 2}, workers=1)
    assert first.stat().st_mtime_ns == written
    experiment.draw.draw(tmp_path, {"source": 1}, workers=1)
    assert len(list((tmp_path / "source" / "images").iterdir())) == 1
    experiment.draw.draw(tmp_path, {"source": 2}, workers=1)
    assert contents(tmp_path) == contents(drawn)


class Frames(list[Sample]):
    """A dataset of given samples."""


def frames(experiment: SimpleNamespace) -> tuple[Frames, np.ndarray]:
    lens = experiment.draw.scored_lenses("test")["kannala_brandt"]
    labels = np.random.default_rng(0).integers(0, 13, (192, 256), np.uint8)
    labels[:5] = 255
    sample = Sample("a", np.zeros((192, 256, 3), np.uint8), labels, camera=lens)
    scored = (labels < 12) & lens.valid_mask()
    return Frames([sample]), scored


def test_scores_count_scene_pixels_inside_the_lens(
    experiment: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset, scored = frames(experiment)
    labels = dataset[0].labels
    assert labels is not None
    monkeypatch.setattr(experiment.scoring, "answer", lambda _network, _image: np.minimum(labels, 12))
    found = experiment.scoring.score(None, {"kb": dataset})
    assert found["total"] == 1.0
    assert set(found["classes"].values()) == {1.0}
    assert len(found["classes"]) == 12
    tally = experiment.scoring.Tally.of(None, dataset)
    assert int(tally.counts.sum()) == int(scored.sum())
    assert tally.counts[:, 12].sum() == 0
    assert sum(found["ring_share"].values()) == pytest.approx(1.0, abs=1e-3)
    assert list(found["rings"]) == list(RINGS)


def test_background_answered_on_the_scene_is_a_miss(
    experiment: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset, scored = frames(experiment)
    labels = dataset[0].labels
    assert labels is not None
    road = np.where(labels == StreetClass.ROAD, np.uint8(12), np.minimum(labels, 12))
    monkeypatch.setattr(experiment.scoring, "answer", lambda _network, _image: road)
    found = experiment.scoring.score(None, {"kb": dataset})
    assert scored.any()
    assert found["classes"]["road"] == 0.0
    assert found["classes"]["car"] == 1.0
    assert found["total"] == pytest.approx(11 / 12, abs=1e-4)


def run_of(total: float) -> dict[str, object]:
    return {**yaml.safe_load(yaml.safe_dump(SCORES)), "total": total, "pictures_per_s": 1.0}


def test_differences_are_taken_seed_by_seed(experiment: SimpleNamespace) -> None:
    arms = {
        "a": {"1": run_of(0.20), "2": run_of(0.30)},
        "c": {"1": run_of(0.31), "2": run_of(0.41), "3": run_of(0.99)},
    }
    found = experiment.report.differences(arms, "c", "a", lambda run: run["total"])
    assert found == pytest.approx([11.0, 11.0])
    assert (
        "+11.0 points; seed by seed +11.0, +11.0. Goal: +10 or more, reached."
        in experiment.report.verdicts(arms)
    )
    assert "| (c) - (a) | +11.0 ± 0.0 |" in experiment.report.table(arms, "lenses")
    assert "| (a) pinhole | 25.0 ± 7.1 |" in experiment.report.table(arms, "lenses")
    arms["a"]["1"] = run_of(0.25)
    assert "missed" in experiment.report.verdicts(arms)


@pytest.mark.parametrize("name", ["results", "trials"])
def test_results_go_between_the_markers(experiment: SimpleNamespace, name: str) -> None:
    report = experiment.report
    document = report.DOCUMENT.read_text(encoding="utf-8")
    changed = report.inserted(document, name, "new")
    assert changed == report.inserted(changed, name, "new")
    begin, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
    assert changed.split(begin)[0] == document.split(begin)[0]
    assert changed.split(end)[1] == document.split(end)[1]
    with pytest.raises(ValueError, match="markers"):
        report.inserted("nothing", name, "new")


def test_every_trial_changes_its_arm_alone_where_it_says(experiment: SimpleNamespace) -> None:
    content = yaml.safe_load((FOLDER / "trials.yaml").read_text(encoding="utf-8"))
    seen = []
    for name, trial in content["trials"].items():
        words = experiment.trials.trial_settings(content, name)
        file = experiment.arms.ARMS[trial["arm"]].file
        config = load_training(file, words)
        assert (config.steps, config.seed) == (content["steps"], content["seed"])
        ahead = trial.get("pictures") == "ahead"
        assert str(config.initial_weights).startswith("runs/pretraining_ahead") == ahead
        assert all(("source_ahead" in str(source.dataset)) == ahead for source in config.data.sources)
        seen.append(config.model_dump_json())
    assert len(set(seen)) == len(seen)
    table = experiment.report.trials_text({"steps": 400, "trials": {"ahead_wide": {"total": 0.5}}})
    assert "looking ahead | (c) nearer to true scale, wider turns | 50.0 |" in table


def test_figures_show_every_arm_and_class(experiment: SimpleNamespace) -> None:
    scores = {
        **SCORES, "rings": dict.fromkeys(RINGS, 0.3), "ring_share": dict.fromkeys(RINGS, 0.1), "total": 0.3,
        "classes": {"road": 0.4, "traffic_light": None},
    }  # fmt: skip
    better = {**scores, "classes": {"road": 0.5, "traffic_light": None}}
    arms = {"a": {"1": scores}, "c": {"1": better}}
    rings = experiment.figures.ring_lines(arms)
    assert rings.startswith("<svg xmlns=")
    assert "(a) pinhole" in rings
    assert "(c) ours" in rings
    gains = experiment.figures.class_gains(arms, [("c", "a")])
    assert "traffic light" in gains
    assert "+10.0" in gains


def test_a_finished_run_is_not_repeated(
    experiment: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commands: list[list[str]] = []

    def pretend(command: list[str], **options: object) -> SimpleNamespace:
        commands.append(command)
        assert options["cwd"] == tmp_path
        out = Path(command[command.index("--out") + 1])
        out.mkdir(parents=True)
        (out / "weights.safetensors").write_bytes(b"")
        return SimpleNamespace(returncode=0)

    monkeypatch.setattr(experiment.run.subprocess, "run", pretend)
    out = experiment.arms.run_folder(tmp_path, "c", 2)
    for _ in range(2):
        experiment.run.train(tmp_path, experiment.arms.ARMS["c"].file, out, ["seed=2"])
    assert len(commands) == 1
    assert "seed=2" in commands[0]
    assert str(FOLDER / "augmented.yaml") in commands[0]
    monkeypatch.setattr(
        experiment.run.subprocess, "run", lambda *_args, **_options: SimpleNamespace(returncode=3)
    )
    with pytest.raises(SystemExit, match="ended with 3"):
        experiment.run.train(tmp_path, experiment.arms.PRETRAINING, tmp_path / "a", [])


def test_lenses_file_is_of_rig_blocks() -> None:
    content = yaml.safe_load((FOLDER / "lenses.yaml").read_text(encoding="utf-8"))
    degrees = {
        name: round(np.degrees(camera_from_dict(values).theta_max) * 2)
        for name, values in content["test"].items()
    }
    assert degrees == {"kannala_brandt": 190, "mei": 186, "double_sphere": 180}
