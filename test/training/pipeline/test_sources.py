import pickle
from pathlib import Path

import pytest
import yaml

from internimage_perception.errors import ConfigError, DatasetError
from internimage_perception.training.config import SourceConfig
from internimage_perception.training.pipeline import open_sources


def test_sources_have_own_operations_before_those_of_all(picture_folders):
    sources = [
        SourceConfig(
            dataset=picture_folders(3, name="a"), share=3.0, pipeline=({"op": "resize", "size": [20, 30]},)
        ),
        SourceConfig(dataset=picture_folders(5, name="b", seed=1), share=1.0),
    ]
    stream = open_sources(sources, ({"op": "crop", "size": [24, 24]},), seed=1)
    drawn = [stream[number] for number in range(40)]
    assert all(item.sample.image.shape == (24, 24, 3) for item in drawn)
    # 20 columns are filled up to 24; 48 are not.
    filled = [bool((item.sample.labels[:, 20:] == 255).all()) for item in drawn]
    assert sum(filled) == 30
    assert len(stream.classes) == 13
    assert [source.title for source in stream.sources] == ["source 0 (folders)", "source 1 (folders)"]


def test_datasets_come_from_files_too(picture_folders, tmp_path: Path):
    content = picture_folders(2)
    content = {
        **content,
        **{key: str(Path(content[key]).relative_to(tmp_path)) for key in ("images", "labels")},
    }
    (tmp_path / "pictures.yaml").write_text(yaml.safe_dump(content))
    stream = open_sources([SourceConfig(dataset=tmp_path / "pictures.yaml")])
    assert stream.sources[0].title == "source 0 (pictures.yaml)"
    assert stream[0].sample.name in {"000", "001"}


def test_labelled_sources_have_the_same_classes(picture_folders):
    ours = picture_folders(2, name="a")
    twelve = {**picture_folders(2, name="b"), "classes": [f"c{number}" for number in range(12)]}
    renamed = {**picture_folders(2, name="c"), "classes": [f"c{number}" for number in range(13)]}
    for other, said in ((twelve, "13 and 12 classes"), (renamed, "different classes: 0 is 'Road' and 'c0'")):
        sources = [SourceConfig(dataset=ours), SourceConfig(dataset=other)]
        with pytest.raises(ConfigError, match=rf"source 0 \(folders\) and source 1 \(folders\) have {said}"):
            open_sources(sources)
        assert open_sources(sources, labelled=False)[0].sample.labels is not None


def test_shares_are_given_for_all_or_none(picture_folders):
    sources = [
        SourceConfig(dataset=picture_folders(2, name="a"), share=1.0),
        SourceConfig(dataset=picture_folders(2, name="b")),
    ]
    with pytest.raises(ConfigError, match="give `share` for every source or for none"):
        open_sources(sources)


def test_operations_may_only_write_labels_that_are_classes(picture_folders, frames):
    twelve = SourceConfig(dataset={**picture_folders(2), "classes": [f"c{number}" for number in range(12)]})
    seed = {"op": "distort", "preset": "dacon2023"}
    with pytest.raises(
        ConfigError, match=r"source 0 \(folders\): distort: outside_label is 12, but there are 12"
    ):
        open_sources([twelve], (seed,))
    ours = SourceConfig(dataset=picture_folders(2, name="b"))
    laid_over = {"op": "composite", "backgrounds": str(frames), "ego_label": 12}
    assert open_sources([ours], (seed, laid_over))[0].sample.labels is not None


def test_complaints_say_where_the_operation_is(picture_folders):
    dataset = picture_folders(2)
    with pytest.raises(ConfigError, match=r"^source 0 \(folders\): pipeline: no operation is called 'flipp'"):
        open_sources([SourceConfig(dataset=dataset, pipeline=({"op": "flipp"},))])
    with pytest.raises(ConfigError, match=r"^data.pipeline: flip: unknown option"):
        open_sources([SourceConfig(dataset=dataset)], ({"op": "flip", "p": 1},))
    with pytest.raises(ConfigError, match=r"^student_pipeline: colour: unknown option"):
        open_sources([SourceConfig(dataset=dataset)], student=({"op": "colour", "p": 1},))
    with pytest.raises(DatasetError, match="nowhere"):
        open_sources([SourceConfig(dataset={"kind": "folders", "images": "nowhere"})])


def test_further_views_are_other_samples_of_the_dataset(picture_folders):
    dataset = picture_folders(6)

    def stream(views: int, workers_copy: bool = False):
        config = {"size": [48, 40], "views": views, "edge_deg": [90, 90], "source_focal": [0.5, 0.5]}
        source = SourceConfig(dataset=dataset, pipeline=({"op": "distort", "config": config},))
        opened = open_sources([source], seed=4)
        # As it comes to the processes that prepare samples.
        return pickle.loads(pickle.dumps(opened)) if workers_copy else opened

    alone, joined = stream(0), stream(3)
    for number in range(5):
        one, more = alone[number].sample, joined[number].sample
        assert one.name == more.name
        unseen = [(item.labels == 255).mean() for item in (one, more)]
        assert unseen[1] < 0.9 * unseen[0]
        again = stream(3, workers_copy=True)[number].sample
        assert (again.image == more.image).all() and (again.labels == more.labels).all()
