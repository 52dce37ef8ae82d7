"""What a training run is made of, checked: `TrainingConfig` and its sections."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator


def _file_or_mapping(value: object) -> object:
    if not isinstance(value, str | Path | dict):
        raise ValueError("it must be a name, a file or a mapping")  # noqa: TRY004 - what pydantic takes for an answer
    return value


Positive = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(ge=0.0, le=1.0)]
Factor = Annotated[float, Field(ge=0.0)]
Beta = Annotated[float, Field(ge=0.0, lt=1.0)]
DatasetSource = Annotated[Path | dict[str, Any], BeforeValidator(_file_or_mapping)]
"""A dataset's YAML file, or its content: `kind` and options."""
Operations = tuple[dict[str, Any], ...]
"""Steps of a pipeline: `op` and its options."""


class Section(BaseModel):
    """Base of all sections: unknown keys are refused, nothing changes once checked."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _check_flags(cls, given: object) -> object:
        """Refuse yes and no for numbers: pydantic takes them for 1 and 0."""
        for name, value in given.items() if isinstance(given, dict) else ():
            field = cls.model_fields.get(name)
            if isinstance(value, bool) and field is not None and field.annotation is not bool:
                raise ValueError(f"{name} cannot be {'yes' if value else 'no'}")
        return given


class SourceConfig(Section):
    """One labelled dataset to train on.

    Attributes:
        dataset: the dataset.
        share: how often its samples are taken, relative to the others'; None: by its number of samples.
        pipeline: steps for its samples before those of all.
    """

    dataset: DatasetSource
    share: Annotated[float, Field(gt=0.0)] | None = None
    pipeline: Operations = ()


class DataConfig(Section):
    """What is trained on.

    Attributes:
        sources: labelled datasets.
        pipeline: steps for every sample; the last one decides on the size, which all samples must share.
        workers: processes that prepare samples, per training process; 0: prepared between the steps.
        failures: samples that may fail to be read before the run gives up, as a share of those asked for.
    """

    sources: Annotated[tuple[SourceConfig, ...], Field(min_length=1)]
    pipeline: Operations = ()
    workers: Annotated[int, Field(ge=0)] = 2
    failures: Share = 0.1


class ValidationConfig(Section):
    """What is validated on, and how often.

    Attributes:
        sources: labelled datasets, scored one by one and named by the keys.
        every: steps between validations; the last step is validated in any case.
        limit: samples of each dataset, evenly spread; None: all.
        mode: "whole" or "slide".
        crop: columns and rows of a window, for "slide".
        stride: columns and rows between windows, for "slide".
        scale: longest and shortest side that pictures are resized to fit in; None: their own size.
    """

    sources: Annotated[dict[str, DatasetSource], Field(min_length=1)]
    every: Positive = 1000
    limit: Positive | None = None
    mode: Literal["whole", "slide"] = "whole"
    crop: tuple[Positive, Positive] | None = None
    stride: tuple[Positive, Positive] | None = None
    scale: tuple[Positive, Positive] | None = None

    @model_validator(mode="after")
    def _check_windows(self) -> "ValidationConfig":
        if self.mode == "slide" and (self.crop is None or self.stride is None):
            raise ValueError("mode slide needs crop and stride, columns and rows each")
        return self


class OhemConfig(Section):
    """Online hard example mining (Shrivastava et al. 2016): only pixels that are hard count.

    Attributes:
        threshold: pixels whose true class has at least this probability are left out ...
        min_kept: ... as long as this many pixels per picture are kept.
    """

    threshold: Annotated[float, Field(gt=0.0, le=1.0)] = 0.7
    min_kept: Positive = 100_000


class LossConfig(Section):
    """The loss: weights of its parts and of classes.

    Attributes:
        cross_entropy: weight of the cross entropy.
        dice: weight of the Dice loss, which counts a class by its overlap however few its pixels.
        class_weights: of the cross entropy, in the order of the classes.
        rarity: class weights from the training labels instead: shares of pixels to the power of minus this.
        label_smoothing: of the cross entropy.
        ohem: hard example mining in the cross entropy.
        average: cross entropy is averaged over "all" pixels, ignored ones too, as officially; or over the
            "valid" ones.
        auxiliary: weight of the auxiliary head's loss.
    """

    cross_entropy: Factor = 1.0
    dice: Factor = 0.0
    class_weights: tuple[Factor, ...] | None = None
    rarity: Share | None = None
    label_smoothing: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0
    ohem: OhemConfig | None = None
    average: Literal["all", "valid"] = "all"
    auxiliary: Factor = 0.4

    @model_validator(mode="after")
    def _check_weights(self) -> "LossConfig":
        if self.class_weights is not None and self.rarity is not None:
            raise ValueError("give class_weights or rarity, not both")
        if self.cross_entropy == 0 and self.dice == 0:
            raise ValueError("one of cross_entropy and dice must be above 0")
        return self


class OptimizerConfig(Section):
    """The optimiser.

    Attributes:
        kind: "adamw", or "muon": Muon for what mixes channels, AdamW for everything else.
        learning_rate: of the last layers, at its highest.
        weight_decay: not for biases, norms and other vectors.
        betas: of AdamW.
        layer_decay: each layer's learning rate is that of the next one times this; the official groups.
        clip: gradients are scaled down to this norm; None: they are not.
    """

    kind: Literal["adamw", "muon"] = "adamw"
    learning_rate: Annotated[float, Field(gt=0.0)] = 6e-5
    weight_decay: Factor = 0.05
    betas: tuple[Beta, Beta] = (0.9, 0.999)
    layer_decay: Annotated[float, Field(gt=0.0, le=1.0)] = 1.0
    clip: Annotated[float, Field(gt=0.0)] | None = None


class ScheduleConfig(Section):
    """How the learning rate rises and falls.

    Attributes:
        kind: "poly", "cosine" or "constant", from the first step to the last.
        power: of "poly".
        lowest: share of the learning rate at the end.
        warm_up: steps in which it rises linearly.
        warm_up_from: share of the learning rate at the first step.
    """

    kind: Literal["poly", "cosine", "constant"] = "poly"
    power: Annotated[float, Field(gt=0.0)] = 1.0
    lowest: Share = 0.0
    warm_up: Annotated[int, Field(ge=0)] = 1500
    warm_up_from: Share = 1e-6


class SelfTrainingConfig(Section):
    """Second stage: the averaged network (mean teacher) labels unlabelled pictures of the target's cameras.

    Attributes:
        sources: unlabelled datasets; labels they have are not looked at.
        pipeline: steps for their samples that change places (crop, flip): teacher and student see the same.
        student_pipeline: further steps for the student alone that change colours.
        batch: pictures per step, over all processes, beside the labelled ones.
        threshold: pixels of which the teacher is less sure are not learned.
        weight: of their loss; it is further multiplied by the share of pixels learned.
        warm_up: steps before the first such picture counts in full; the weight rises linearly.
    """

    sources: Annotated[tuple[SourceConfig, ...], Field(min_length=1)]
    pipeline: Operations = ()
    student_pipeline: Operations = ()
    batch: Positive
    threshold: Share = 0.9
    weight: Factor = 1.0
    warm_up: Annotated[int, Field(ge=0)] = 0


class TrainingConfig(Section):
    """A whole run.

    Relative paths start from the folder that the command is called in.

    Attributes:
        model: architecture: a name, a YAML file, or a mapping with `base`.
        initial_weights: .safetensors, PyTorch file or bundle to begin from; what does not fit is reported.
            Official ImageNet checkpoints give the backbone.
        classes: YAML of the classes' names and colours; None: those of `config/classes.yaml`.
        seed: of everything drawn by lot: the same seed and batch give the same run on any number of
            processes, up to rounding.
        steps: of the whole run.
        batch: pictures per step, over all processes and accumulated parts.
        accumulate: parts that a process splits its pictures into, to save memory.
        precision: "fp32", or mixed precision "bf16" or "fp16".
        gradient_checkpointing: compute activations twice instead of storing them.
        strategy: over several processes: "ddp" copies the network to each, "fsdp" splits it (H, G).
        sync_batch_norm: batch norms see the pictures of all processes.
        average: keep of the moving average of the weights per step, such as 0.999; None: none.
        drop_out: replaces the heads' dropout rate; None: 0.1.
        data: what is trained on.
        loss: the loss.
        optimizer: the optimiser.
        schedule: the learning rate over time.
        validation: what is validated on; None: nothing.
        self_training: unlabelled pictures of the target's cameras; needs `average`.
        log_every: steps between lines of the log.
        checkpoint_every: steps between checkpoints.
        keep_checkpoints: how many of the newest are kept.
    """

    model: Annotated[str | dict[str, Any], BeforeValidator(_file_or_mapping)]
    initial_weights: Path | None = None
    classes: Path | None = None
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    steps: Positive
    batch: Positive
    accumulate: Positive = 1
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    gradient_checkpointing: bool = False
    strategy: Literal["ddp", "fsdp"] = "ddp"
    sync_batch_norm: bool = True
    average: Annotated[float, Field(gt=0.0, lt=1.0)] | None = None
    drop_out: Annotated[float, Field(ge=0.0, lt=1.0)] | None = None
    data: DataConfig
    loss: LossConfig = LossConfig()
    optimizer: OptimizerConfig = OptimizerConfig()
    schedule: ScheduleConfig = ScheduleConfig()
    validation: ValidationConfig | None = None
    self_training: SelfTrainingConfig | None = None
    log_every: Positive = 50
    checkpoint_every: Positive = 1000
    keep_checkpoints: Positive = 2

    @model_validator(mode="after")
    def _check_together(self) -> "TrainingConfig":
        if self.batch % self.accumulate:
            raise ValueError(f"batch {self.batch} must be a multiple of accumulate {self.accumulate}")
        if self.self_training is not None and self.average is None:
            raise ValueError("self_training needs a teacher: set average, such as 0.999")
        if self.strategy == "fsdp" and self.optimizer.kind == "muon":
            raise ValueError("muon needs whole matrices, which strategy fsdp splits; take adamw or ddp")
        if self.strategy == "fsdp" and self.precision == "fp16":
            raise ValueError("fp16 needs whole gradients, which strategy fsdp splits; take bf16 or ddp")
        return self
