"""Train all arms with all seeds, one run after another, and score them on the test lenses.

    bench/distortion_experiment/run.py [--work FOLDER] [--arms a b c d] [--seeds 1 2 3]
    bench/distortion_experiment/run.py --dev --arms c --seeds 1 --out wide --set steps=400 KEY=VALUE ...

Give the same command again after it was stopped: runs that are finished are not repeated, one that was cut
short goes on. When every run asked for is scored, `bench/results/distortion_experiment.json` is written;
with `--finished`, from the runs that are finished, and nothing is trained.

With `--dev`, a run with other settings is scored on the lenses for choosing settings instead, and goes to
FOLDER/dev_runs; nothing else is written.
"""

import argparse
import csv
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from arms import ARMS, HERE, PRETRAINING, SEEDS, run_folder
from draw import SETS, WORK
from scoring import load_network, open_lenses, score

from internimage_perception.files import write_text
from internimage_perception.training.config_file import load_training

sys.path.insert(0, str(HERE.parent))
from results import save

PRETRAINING_SEED = 100

# Large tensors come and go thousands of times; keeping their memory saves a third of the time.
_ENVIRONMENT = {"MALLOC_MMAP_THRESHOLD_": "4000000000", "MALLOC_TRIM_THRESHOLD_": "20000000000"}


def train(work: Path, config: Path, out: Path, overrides: Sequence[str]) -> None:
    """Train until the weights are there; ends the program when the command fails."""
    if (out / "weights.safetensors").exists():
        return
    command = [sys.executable, "-m", "internimage_perception.cli.main", "train", str(config)]
    root = str(HERE.parents[1])
    found = os.environ.get("PYTHONPATH")
    path = {"PYTHONPATH": root if found is None else f"{root}{os.pathsep}{found}"}
    done = subprocess.run(
        [*command, *overrides, "--out", str(out), "--no-bundle"], cwd=work, check=False,
        env={**os.environ, **_ENVIRONMENT, **path},
    )  # fmt: skip
    if done.returncode:
        sys.exit(f"{out.name}: training ended with {done.returncode}; run again to go on")


def scored(work: Path, arm: str, out: Path, kind: str) -> dict[str, Any]:
    """Return the scores of a finished run on "test" or "dev", computed once."""
    file = out / f"scores_{kind}.json"
    if not file.exists():
        network = load_network(model_of(arm), out / "weights.safetensors")
        found = {**score(network, open_lenses(work / kind)), "pictures_per_s": pace(out / "log.csv")}
        write_text(file, json.dumps(found, indent=1) + "\n")
    content: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return content


def model_of(arm: str) -> str:
    """Return the architecture that an arm trains."""
    return str(load_training(ARMS[arm].file).model)


def pace(log: Path) -> float:
    """Return how many labelled pictures a second were trained on, the median over the log."""
    with log.open(newline="", encoding="utf-8") as file:
        found = [float(row["pictures_per_s"]) for row in csv.DictReader(file) if row["pictures_per_s"]]
    return round(statistics.median(found), 2)


def experiment(work: Path, arms: Sequence[str], seeds: Sequence[int]) -> None:
    """Train and score every run, seed by seed, and write the results."""
    for seed in seeds:
        for arm in arms:
            out = run_folder(work, arm, seed)
            train(work, ARMS[arm].file, out, [f"seed={seed}"])
            print(f"{out.name}: mIoU12 {scored(work, arm, out, 'test')['total']}", flush=True)
    save_scores(finished(work, arms, seeds))


def finished(work: Path, arms: Sequence[str], seeds: Sequence[int]) -> dict[str, dict[str, Any]]:
    """Return the scores of the runs that are finished, by arm and seed."""
    found: dict[str, dict[str, Any]] = {}
    for arm in arms:
        for seed in seeds:
            out = run_folder(work, arm, seed)
            if (out / "weights.safetensors").exists():
                found.setdefault(arm, {})[str(seed)] = scored(work, arm, out, "test")
    return found


def save_scores(found: Mapping[str, Mapping[str, Any]]) -> None:
    """Write the results file."""
    config = load_training(HERE / "base.yaml")
    save(
        "distortion_experiment",
        {
            "pictures": {name: spec.count for name, spec in SETS.items()},
            "model": config.model, "steps": config.steps, "batch": config.batch, "arms": found,
        },
    )  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what is asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--work", type=Path, default=WORK, help=f"folder of the pictures; default {WORK}")
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=list(ARMS), help="which arms")
    parser.add_argument("--seeds", nargs="+", type=int, default=list(SEEDS), help="which seeds")
    parser.add_argument("--finished", action="store_true", help="train nothing, write what is finished")
    parser.add_argument("--dev", action="store_true", help="try settings, scored on the lenses for that")
    parser.add_argument("--out", help="name of a run with --dev")
    parser.add_argument("--set", nargs="+", metavar="KEY=VALUE", default=[], help="settings, with --dev")
    options = parser.parse_args(arguments)
    if not options.dev and (options.set or options.out):
        parser.error("--set and --out go with --dev: the experiment is what its files say")
    if options.finished:
        save_scores(finished(options.work, options.arms, options.seeds))
        return 0
    train(options.work, PRETRAINING, options.work / "runs" / "pretraining", [f"seed={PRETRAINING_SEED}"])
    if not options.dev:
        experiment(options.work, options.arms, options.seeds)
        return 0
    for arm in options.arms:
        for seed in options.seeds:
            out = options.work / "dev_runs" / f"{options.out or 'try'}_{arm}_{seed}"
            train(options.work, ARMS[arm].file, out, [f"seed={seed}", *options.set])
            found = scored(options.work, arm, out, "dev")
            print(f"{out.name}: {json.dumps(found)}", flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
