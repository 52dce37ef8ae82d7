"""Which frames an engine takes, and how many calls frames make."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from internimage_perception.errors import BackendError
from internimage_perception.inference.bundle import Bundle
from internimage_perception.inference.engines.profile import Profile, chosen_profile, profile_of
from internimage_perception.inference.export_spec import ExportSpec

EXPORT = ExportSpec("fp16", (1, 4, 6), (960, 960, 960), (1280, 1280, 1280))


def exported():
    return replace(Bundle.load("nano"), export=EXPORT)


@given(st.integers(1, 20), st.integers(1, 6), st.integers(0, 5))
def test_calls_cover_every_frame_once(count, least, more):
    most = least + more
    seen = []
    for first, number, batch in Profile((least, least, most), (1, 1, 1), (1, 1, 1)).calls(count):
        assert least <= batch <= most
        assert 0 < number <= batch
        seen += range(first, first + number)
    assert seen == list(range(count))


def test_full_batches_first():
    assert list(Profile((4, 4, 4), (1, 1, 1), (1, 1, 1)).calls(6)) == [(0, 4, 4), (4, 2, 4)]


def test_an_export_decides():
    assert profile_of(exported()) == Profile(EXPORT.batch, EXPORT.height, EXPORT.width)
    plain = profile_of(Bundle.load("nano"))
    assert not plain.fixed
    assert Profile((2, 2, 2), (8, 8, 8), (9, 9, 9)).fixed
    assert plain.shapes()[2] == (plain.batch[2], plain.height[2], plain.width[2], 3)


def test_ranges_can_be_chosen_within_an_export():
    assert chosen_profile(exported(), batch=(2, 2, 2)).batch == (2, 2, 2)
    assert chosen_profile(Bundle.load("nano"), height=(4, 3000, 4000)).height == (4, 3000, 4000)
    with pytest.raises(BackendError, match=r"batch 8 does not fit the export .* takes 1 to 6 \(best 4\)"):
        chosen_profile(exported(), batch=(8, 8, 8))
    with pytest.raises(BackendError, match="height 16 to 960"):
        chosen_profile(exported(), height=(16, 960, 960))


def test_for_people():
    assert str(profile_of(exported())) == "1 to 6 (best 4) frames, height 960, width 1280"
    assert str(Profile((1, 1, 1), (8, 8, 9), (9, 9, 9))) == "1 frame, height 8 to 9, width 9"
