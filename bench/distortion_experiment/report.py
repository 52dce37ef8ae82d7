"""Put the experiment's results into its documentation: tables, plots, and predictions side by side.

    bench/distortion_experiment/report.py [--work FOLDER]

Reads `distortion_experiment.json` and `distortion_trials.json` of `bench/results`; tables go between the
markers in `docs/distortion_experiment.md`, plots to `docs/figures`. With the folder of the runs, predictions
are drawn too.
"""

import argparse
import json
import statistics
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from arms import ARMS, HERE
from figures import class_gains, predictions, ring_lines

from internimage_perception.files import write_bytes, write_text

ROOT = HERE.parents[1]
RESULTS = ROOT / "bench/results/distortion_experiment.json"
TRIALS = ROOT / "bench/results/distortion_trials.json"
DOCUMENT = ROOT / "docs/distortion_experiment.md"
FIGURES = ROOT / "docs/figures"
PAIRS = (("c", "a", 10.0), ("c", "b", 3.0), ("d", "c", None), ("e", "a", None), ("e", "c", None))
"""Arms that are compared, and the points by which the first was meant to be better."""

Scores = Mapping[str, Any]
Pick = Callable[[Scores], float | None]


def points(values: Sequence[float | None]) -> list[float]:
    """Return shares as percentages; those that are not defined left out."""
    return [100.0 * value for value in values if value is not None]


def mean_and_spread(values: Sequence[float]) -> str:
    """Return "mean ± standard deviation" with one digit each; of one value, itself."""
    if not values:
        return "-"
    spread = f" ± {statistics.stdev(values):.1f}" if len(values) > 1 else ""
    return f"{statistics.fmean(values):.1f}{spread}"


def picked(arm: Mapping[str, Scores], pick: Pick) -> list[float]:
    """Return a score of each of an arm's runs, in points."""
    return points([pick(run) for run in arm.values()])


def differences(arms: Mapping[str, Mapping[str, Scores]], one: str, other: str, pick: Pick) -> list[float]:
    """Return by how many points one arm is better than another, seed by seed."""
    seeds = [seed for seed in arms[one] if seed in arms[other]]
    pairs = [(pick(arms[one][seed]), pick(arms[other][seed])) for seed in seeds]
    return [100.0 * (mine - its) for mine, its in pairs if mine is not None and its is not None]


def columns(scores: Scores, kind: str) -> dict[str, Pick]:
    """Return what the columns of a table show: the total, then every lens, ring or class."""
    inner: dict[str, Pick] = {
        name: lambda run, name=name: run[kind][name]  # type: ignore[misc]
        for name in scores[kind]
    }
    return {"total": lambda run: run["total"], **inner} if kind == "lenses" else inner


def table(arms: Mapping[str, Mapping[str, Scores]], kind: str) -> str:
    """Return the Markdown table of arms and differences over lenses, rings or classes."""
    first = next(iter(next(iter(arms.values())).values()))
    picks = columns(first, kind)
    names = [f"{name}°" if kind == "rings" else name.replace("_", " ") for name in picks]
    lines = [f"| | {' | '.join(names)} |", "|---|" + "---:|" * len(names)]
    for key, runs in arms.items():
        cells = [mean_and_spread(picked(runs, pick)) for pick in picks.values()]
        lines.append(f"| ({key}) {ARMS[key].title} | {' | '.join(cells)} |")
    for one, other, _ in PAIRS:
        if one in arms and other in arms:
            cells = [signed(differences(arms, one, other, pick)) for pick in picks.values()]
            lines.append(f"| ({one}) - ({other}) | {' | '.join(cells)} |")
    return "\n".join(lines)


def signed(values: Sequence[float]) -> str:
    """Return `mean_and_spread` of differences, with a sign."""
    text = mean_and_spread(values)
    return text if text[0] == "-" else f"+{text}"


def verdicts(arms: Mapping[str, Mapping[str, Scores]]) -> str:
    """Return a line per comparison: the mean, every seed's difference, and the goal."""
    lines = []
    for one, other, goal in PAIRS:
        if one not in arms or other not in arms:
            continue
        found = differences(arms, one, other, lambda run: run["total"])
        seeds = ", ".join(f"{value:+.1f}" for value in found)
        text = f"- ({one}) - ({other}): {statistics.fmean(found):+.1f} points; seed by seed {seeds}"
        if goal is not None:
            met = "reached" if statistics.fmean(found) >= goal else "missed"
            text += f". Goal: +{goal:g} or more, {met}"
        lines.append(text + ".")
    return "\n".join(lines)


def results_text(content: Mapping[str, Any]) -> str:
    """Return the section of results."""
    arms: Mapping[str, Mapping[str, Scores]] = content["arms"]
    machine = content["machine"]
    measured = (
        f"Measured {content['date']} (commit {content['commit']}) on {machine['processor']}, "
        f"{machine['cores']} cores. mIoU12 in percent, mean ± standard deviation over seeds "
        f"({seeds_text(arms)}); differences are taken seed by seed."
    )
    return "\n\n".join(
        [
            measured,
            verdicts(arms),
            table(arms, "lenses"),
            "By angle off the axis, all lenses together:",
            table(arms, "rings"),
            "![mIoU by ring](figures/distortion_rings.svg)",
            "By class:",
            class_table(arms),
            "![gain by class](figures/distortion_classes.svg)",
            *(["![predictions](figures/distortion_predictions.jpg)"] if pictures().exists() else []),
        ]
    )


def seeds_text(arms: Mapping[str, Mapping[str, Scores]]) -> str:
    """Return which seeds were run, arm by arm where they differ."""
    seeds = {key: ", ".join(runs) for key, runs in arms.items()}
    if len(set(seeds.values())) == 1:
        return next(iter(seeds.values()))
    return "; ".join(f"({key}) {text}" for key, text in seeds.items())


def class_table(arms: Mapping[str, Mapping[str, Scores]]) -> str:
    """Return the Markdown table with a row per class: twelve columns would be too wide."""
    first = next(iter(next(iter(arms.values())).values()))
    pairs = [(one, other) for one, other, _ in PAIRS if one in arms and other in arms]
    heads = [f"({key})" for key in arms] + [f"({one}) - ({other})" for one, other in pairs]
    lines = [f"| | {' | '.join(heads)} |", "|---|" + "---:|" * len(heads)]
    for name, pick in columns(first, "classes").items():
        cells = [mean_and_spread(picked(runs, pick)) for runs in arms.values()]
        cells += [signed(differences(arms, one, other, pick)) for one, other in pairs]
        lines.append(f"| {name.replace('_', ' ')} | {' | '.join(cells)} |")
    return "\n".join(lines)


def trials_text(content: Mapping[str, Any]) -> str:
    """Return the table of what was tried."""
    described = yaml.safe_load((HERE / "trials.yaml").read_text(encoding="utf-8"))["trials"]
    found: Mapping[str, Scores] = content["trials"]
    head = f"On `dev`, one seed, {content['steps']} steps, mIoU12 in percent:"
    lines = ["| labelled pinholes | trial | mIoU12 |", "|---|---|---:|"]
    for name, scores in found.items():
        ahead = described[name].get("pictures") == "ahead"
        where = "at the windscreen, looking ahead" if ahead else "all around the car"
        lines.append(f"| {where} | {described[name]['title']} | {100 * scores['total']:.1f} |")
    return "\n".join([head, "", *lines])


def inserted(document: str, name: str, text: str) -> str:
    """Return a document with text between the markers of a name. Raises ValueError where it has none."""
    marks = f"<!-- {name} -->", f"<!-- end of {name} -->"
    before, begin, rest = document.partition(marks[0])
    _, end, after = rest.partition(marks[1])
    if not begin or not end:
        message = f"the document lacks the markers {marks[0]} and {marks[1]}"
        raise ValueError(message)
    return f"{before}{begin}\n\n{text}\n\n{end}{after}"


def pictures() -> Path:
    """Return the file of predictions."""
    return FIGURES / "distortion_predictions.jpg"


def main(arguments: Sequence[str] | None = None) -> int:
    """Write tables and figures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--work", type=Path, help="folder of pictures and runs, for the predictions")
    options = parser.parse_args(arguments)
    content = json.loads(RESULTS.read_text(encoding="utf-8"))
    arms = content["arms"]
    write_text(FIGURES / "distortion_rings.svg", ring_lines(arms))
    shown = [(one, other) for one, other, _ in PAIRS if one in arms and other in arms]
    write_text(FIGURES / "distortion_classes.svg", class_gains(arms, shown))
    if options.work is not None:
        write_bytes(pictures(), predictions(options.work, list(arms)))
    document = inserted(DOCUMENT.read_text(encoding="utf-8"), "results", results_text(content))
    if TRIALS.exists():
        trials = json.loads(TRIALS.read_text(encoding="utf-8"))
        document = inserted(document, "trials", trials_text(trials))
    write_text(DOCUMENT, document)
    print(results_text(content))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
