"""Try settings on the lenses that settings are chosen on: few steps, one seed.

    bench/distortion_experiment/trials.py [--work FOLDER] [--names around_ours ahead_views]

`trials.yaml` says what is tried. Trials that are finished are not repeated. When every one of them is scored,
`bench/results/distortion_trials.json` is written.
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from arms import ARMS, HERE, PRETRAINING
from draw import WORK
from run import PRETRAINING_SEED, save, scored, train


def settings(values: Mapping[str, Any]) -> list[str]:
    """Return settings as words of the command line."""
    return [f"{key}={json.dumps(value)}" for key, value in values.items()]


def trial_settings(content: Mapping[str, Any], name: str) -> list[str]:
    """Return all that a trial changes in its arm's configuration."""
    trial = content["trials"][name]
    start = content["pretraining"][trial.get("pictures", "around")]
    pictures = {key: value for key, value in start["set"].items() if key.startswith("data.")}
    common = {
        "seed": content["seed"],
        "steps": content["steps"],
        "initial_weights": f"runs/{start['folder']}/weights.safetensors",
    }
    return settings({**common, **pictures, **trial.get("set", {})})


def run_trial(work: Path, content: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Train and score one trial, after the weights that it begins from."""
    trial = content["trials"][name]
    start = content["pretraining"][trial.get("pictures", "around")]
    begin = [f"seed={PRETRAINING_SEED}", *settings(start["set"])]
    train(work, PRETRAINING, work / "runs" / start["folder"], begin)
    out = work / "dev_runs" / name
    train(work, ARMS[trial["arm"]].file, out, trial_settings(content, name))
    return scored(work, trial["arm"], out, "dev")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what is asked for."""
    content = yaml.safe_load((HERE / "trials.yaml").read_text(encoding="utf-8"))
    names = list(content["trials"])
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--work", type=Path, default=WORK, help=f"folder of the pictures; default {WORK}")
    parser.add_argument("--names", nargs="+", choices=names, default=names, help="which trials")
    options = parser.parse_args(arguments)
    found = {}
    for name in options.names:
        found[name] = run_trial(options.work, content, name)
        print(f"{name}: mIoU12 {found[name]['total']}", flush=True)
    if options.names == names:
        save("distortion_trials", {"steps": content["steps"], "seed": content["seed"], "trials": found})
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
