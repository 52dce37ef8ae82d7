"""A run with a skip that nobody listed must fail."""

from pathlib import Path

import pytest
from skips_plugin import read_allowed

pytest_plugins = ["pytester"]
ROOT = Path(__file__).resolve().parents[2]

SKIPPING = """
import pytest

def test_passes():
    pass

@pytest.mark.skip(reason="no lens cap")
def test_marked():
    pass

def test_calls():
    pytest.skip("no lens cap")
"""


@pytest.fixture
def run(pytester: pytest.Pytester):
    def run_with(allowed: str, source: str = SKIPPING) -> pytest.RunResult:
        pytester.makefile(".txt", allowed=allowed)
        pytester.makepyfile(test_sample=source)
        return pytester.runpytest(
            "-p", "skips_plugin", "--allowed-skips", "allowed.txt", "-p", "no:cacheprovider"
        )

    return run_with


def test_listed_skips_pass(run):
    result = run("# why not\n\ntest_sample.py::* | no lens * | the cap is optional\n")
    assert result.ret == pytest.ExitCode.OK
    result.assert_outcomes(passed=1, skipped=2)


@pytest.mark.parametrize(
    "allowed",
    [
        "",
        "test_other.py::* | no lens cap | another file",
        "test_sample.py::* | no tripod | another reason",
        "* | lens cap | the pattern has to match the whole reason",
    ],
)
def test_unlisted_skips_fail(run, allowed):
    result = run(allowed)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    # A mark skips in the setup of a test, which makes its failure an error.
    result.assert_outcomes(passed=1, failed=1, errors=1)
    result.stdout.fnmatch_lines(["*not listed: test_sample.py::test_calls: no lens cap*"])


def test_skipped_module_fails(run):
    result = run(
        "", "import pytest\npytest.importorskip('no_such_module_anywhere')\ndef test_never(): pass\n"
    )
    assert result.ret != pytest.ExitCode.OK
    result.assert_outcomes(errors=1)


def test_expected_failure_counts_as_skip(run):
    source = "import pytest\n@pytest.mark.xfail(reason='broken')\ndef test_broken():\n    assert False\n"
    assert run("", source).ret == pytest.ExitCode.TESTS_FAILED
    assert run("* | expected failure: broken | being mended", source).ret == pytest.ExitCode.OK


def test_without_the_option_skips_are_free(pytester: pytest.Pytester):
    pytester.makepyfile(test_sample=SKIPPING)
    assert pytester.runpytest("-p", "skips_plugin").ret == pytest.ExitCode.OK


@pytest.mark.parametrize("text", ["* | reason only\n", "* | | no reason\n", "a | b | c | d\n"])
def test_incomplete_lines_are_refused(tmp_path, text):
    path = tmp_path / "allowed.txt"
    path.write_text(text)
    with pytest.raises(pytest.UsageError, match=r"expected `test \| reason \| why`"):
        read_allowed(path)


def test_missing_list_is_refused(tmp_path):
    with pytest.raises(pytest.UsageError, match=r"cannot read .*nowhere\.txt"):
        read_allowed(tmp_path / "nowhere.txt")


def test_own_list_is_well_formed():
    assert all(entry.why for entry in read_allowed(ROOT / "test" / "allowed_skips.txt"))
