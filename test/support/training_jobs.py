"""Several trainings in a row, in processes that torchrun starts: `training_jobs.py JOBS RESULTS`."""

import logging
import sys
from pathlib import Path

import torch
import yaml

from internimage_perception.training.config import TrainingConfig
from internimage_perception.training.loop import train

if __name__ == "__main__":
    torch.set_num_threads(1)
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
    results = []
    for job in yaml.safe_load(Path(sys.argv[1]).read_text()):
        result = train(TrainingConfig.model_validate(job["config"]), Path(job["out"]))
        results.append({"out": job["out"], "scores": dict(result.scores), "skipped": result.skipped})
    if result.reports:
        Path(sys.argv[2]).write_text(yaml.safe_dump(results))
