"""The arms of the experiment, its seeds, and where its runs lie."""

from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
SEEDS = (1, 2, 3)
PRETRAINING = HERE / "pretraining.yaml"
"""What all arms begin from: the network trained on the pinhole pictures alone."""


@dataclass(frozen=True)
class Arm:
    """What one arm is trained on.

    Attributes:
        title: for tables and plots.
        config: name of its configuration.
    """

    title: str
    config: str

    @property
    def file(self) -> Path:
        """Its configuration."""
        return HERE / f"{self.config}.yaml"


ARMS = {
    "a": Arm("pinhole", "pinhole"),
    "b": Arm("dacon2023", "dacon2023"),
    "c": Arm("ours", "augmented"),
    "d": Arm("self-trained", "self_training"),
    "e": Arm("labelled fisheyes", "labelled_target"),
}


def run_folder(work: Path, arm: str, seed: int) -> Path:
    """Return the folder of a run."""
    return work / "runs" / f"{ARMS[arm].config}_{seed}"
