"""A recipe: one set of frozen dataclasses, read from YAML. Unknown keys are errors that name the nearest known one.

Fields marked "not from the paper" are open in the publication (see docs/method.md); their defaults are ours.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import field, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from .files import read_text
from .trees import apply_overrides, build, unshared
from .types import KarmmaError, weigh_subsets

STRICT = ConfigDict(extra="forbid")
Probability = Annotated[float, Field(ge=0, le=1)]
Amount = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, lt=1)]
Count = Annotated[int, Field(ge=1)]
Natural = Annotated[int, Field(ge=0)]
Absent = Literal["tokens", "one_token", "rebuilt", "shared", "skip", "summed", "zeros"]


@dataclass(frozen=True, config=STRICT)
class EncoderConfig:
    """A feature extractor: `kind` is a key of models.encoders.ENCODERS or a dotted path `package.module:factory`."""

    kind: str
    width: Count = 16
    depth: Count = 1
    grid: Count = 2  # spatial tokens per side (frames) or along frequency (spectrogram)
    stack: Count = 2  # successive frames that are looked at as one picture of so many channels (views)
    dropout: Share = 0.0
    mix_styles: Probability = 0.0  # share of steps in which clips exchange styles (skeleton, hands)
    variant: str = ""  # size of a published network: video_swin's tiny, small, base, base_window16, large
    ffn_dim: Natural = 0  # hidden width of a transformer extractor's feed-forward networks; 0 is four times its width
    tokens: Natural = 0  # tokens of such a network after pooling; 0 keeps all
    weights: str | None = None  # to start from: a .safetensors, .pth, .pt or .torch file or address, or a directory
    settings: dict[str, Any] = field(default_factory=dict)  # a foreign network's own configuration; read from `weights`


@dataclass(frozen=True, config=STRICT)
class KernelsConfig:
    """Votes of random kernels beside a student's own (not from the paper): models/random_kernels.py."""

    count: Count = 600  # per modality
    passes: Count = 8  # augmented passes over the training clips
    ridge: Positive = 0.3  # penalty, as a multiple of the number of features
    sharpness: Positive = 12.0  # logits per unit of the rule, which is fitted to ±1


@dataclass(frozen=True, config=STRICT)
class RecognizerConfig:
    """Teacher and student are two of these. Sizes at paper scale: docs/method.md."""

    encoders: dict[str, EncoderConfig]
    dim: Count = 96
    layers: Natural = 1
    heads: Count = 4
    ffn_dim: Count = 96
    head_dim: Count = 192
    dropout: Share = 0.1  # not from the paper
    absent: Absent = "tokens"  # learned tokens (paper), one over and over, what others tell of it, nothing (beside or in a sum), zeros
    average: Literal["present", "all"] = "present"  # whose modality means vote beside CLS; not from the paper
    own_votes: bool = False  # linear heads on each modality's own tokens vote beside the fused ones; not from the paper
    kernels: KernelsConfig | None = None  # random kernels that vote, too, once the recognizer is trained

    def __post_init__(self) -> None:
        if self.dim % self.heads:
            raise ValueError(f"dim: {self.dim} cannot be shared evenly by {self.heads} heads")
        if self.own_votes and self.absent == "zeros":
            raise ValueError("own_votes: a modality votes where it is present, which absent: zeros does not know")
        if self.kernels is not None and self.absent == "zeros":
            raise ValueError("kernels: random kernels vote for what is present, which absent: zeros does not know")


@dataclass(frozen=True, config=STRICT)
class TrainingConfig:
    """Optimisation of one stage (not from the paper; the closest published recipe uses AdamW 1e-4, clip 5, warm-up)."""

    epochs: Count = 20
    batch_size: Count = 32  # of all processes together
    accumulate: Count = 1  # batches whose gradients are summed up before a step
    lr: Positive = 1e-3  # highest, after warming up
    weight_decay: Amount = 0.02
    warmup_epochs: Amount = 2.0
    schedule: Literal["cosine", "linear"] = "cosine"
    clip_norm: Amount = 5.0  # longest gradient; 0 is no limit
    label_smoothing: Share = 0.0  # share of a label that is spread over all classes
    averaging: Share = 0.0  # decay per step of a moving average of the weights, which is what is kept; 0 keeps the last
    augment: bool = True  # each modality as its settings say
    mirror: Probability = 0.5  # probability of a left–right flip while augmenting; 0 where left and right are classes
    precision: Literal["auto", "32-true", "bf16-mixed"] = "auto"
    strategy: Literal["ddp", "fsdp"] = "ddp"  # with several processes: copies of the weights, or weights in shards
    compile: bool = False  # torch.compile the extractors
    checkpoint_activations: bool = False  # recompute extractors' blocks in the backward pass: less memory, more time


@dataclass(frozen=True, config=STRICT)
class DistillationConfig:
    """L = (1 − alpha) · CE + alpha · temperature² · KL(teacher ‖ student). Values and `alpha_scale` not from the paper.

    `teachers` names the recipe's `teacher` (paper) and/or methods above; several teach the mean of their logits. Where
    specialists have no model for what a sample has, those of its parts teach together, alike or, by loss, in proportion to
    softmax(−CE of the label / specialist_temperature) (Radevski et al., ICCV 2023). `alpha_scale` is how much of alpha a
    teacher is believed: all of it; by absence in full where one sensor is left and not at all where none is missing (of own votes
    always in full); by trust as much as it believes the label of the clip.
    """

    alpha: Probability = 0.5
    temperature: Positive = 2.0
    teacher_sees: Literal["same", "all"] = "same"  # paper v3: the subset the student sees; v1: everything
    teachers: tuple[str, ...] = ("teacher",)
    teacher_input: Literal["live", "cached"] = "live"  # looks at the student's clip now, or has beforehand (token_views)
    smaller_specialists: bool = False  # specialists of all parts of a subset teach it together, by their mean logits
    specialist_weights: Literal["equal", "loss"] = "equal"  # of specialists that teach a sample together
    specialist_temperature: Positive = 1.0  # of the weights by loss
    alpha_scale: Literal["constant", "absence", "trust"] = "constant"  # × share of absent sensors; × what it gives the label


@dataclass(frozen=True, config=STRICT)
class MethodConfig:
    """One way to train the student. The paper's three arms differ in nothing but the first seven switches.

    Not from the paper: `subsets`, `subset_weights`, `draws`, `average` and everything from `specialists` on.
    """

    dropout: Probability = 0.0  # probability p with which δ drops a modality; not from the paper
    subsets: Literal["independent", "uniform"] = "independent"  # how δ draws: paper's rule, or every subset alike
    subset_weights: dict[str, Amount] = field(default_factory=dict)  # not alike: `imu+depth: 3`; those not named, `others`, have 1
    draws: Count = 1  # of δ per sample and step, fused from one pass of the extractors
    absent: Absent = "tokens"  # as a recognizer's
    average: Literal["present", "all"] = "present"
    distillation: DistillationConfig | None = None
    specialists: bool | Literal["single"] = False  # one model per subset, or per modality, trained on that alone
    late_fusion_of: str | None = None  # no training: mean probability of the single-sensor models of such a method
    extractors_from: str | None = None  # extractors start from the single-sensor models of such a method
    epochs: Count | None = None  # in place of student.training.epochs, e.g. for specialists that only teach
    kernels: bool = True  # with the student's random kernels, where the recipe has some and absent is not zeros
    own_weight: Amount = 0.0  # of the loss of each modality's own vote, where own_votes are on
    tested: bool = True  # false: it only teaches, and is tested only where nothing else of the recipe is
    mixup: Amount = 0.0  # Beta parameter; blends of two samples with the same sensors; 0 is none
    rebuild_weight: Amount = 0.0  # of the error of what is rebuilt of dropped modalities (absent: rebuilt)
    share_weight: Amount = 0.0  # of how far shared features are apart, and of whose the own ones are (absent: shared)

    def __post_init__(self) -> None:
        for key, weight, absent in (("rebuild", self.rebuild_weight, "rebuilt"), ("share", self.share_weight, "shared")):
            if weight and (self.absent != absent or self.specialists):
                raise ValueError(f"{key}_weight needs absent: {absent}, and no specialists")
        if self.draws > 1 and self.subsets == "independent" and not self.dropout:
            raise ValueError(f"draws: {self.draws} draws are all alike without dropout; set dropout, or subsets: uniform")
        if self.mixup and self.distillation is not None and self.distillation.teacher_input == "cached":
            raise ValueError("mixup needs distillation.teacher_input: live; cached tokens are not of the blended clips")


@dataclass(frozen=True, config=STRICT)
class DataConfig:
    """Which data set, where, and its own settings; `root` null means the run's own folder."""

    dataset: str = "kitchen"
    root: str | None = None
    settings: dict[str, Any] = field(default_factory=dict)
    keep_modalities: Count | None = None  # protocol P5: so many random modalities are left of each training sample
    stream: bool = False  # decode training clips when they are needed instead of storing them all
    workers: Natural = 0  # processes that read; 0 is one per core


@dataclass(frozen=True, config=STRICT)
class TeacherConfig:
    """The teacher: recognizer, unimodal pre-training of its extractors, then fusion on frozen tokens."""

    recognizer: RecognizerConfig
    training: TrainingConfig
    pretraining: TrainingConfig | None = None  # null: extractors stay as their published weights are
    pretraining_split: str = "source"  # its people need not be those that the student learns from
    dropout: Probability = 0.3  # δ while the teacher trains; not from the paper
    subsets: Literal["independent", "uniform"] = "independent"
    subset_weights: dict[str, Amount] = field(default_factory=dict)  # as a method's
    token_views: Count = 4  # looks at each clip whose tokens are cached, fixed one first; not from the paper
    contrastive_weight: Amount = 0.0  # InfoNCE between pooled modality tokens (paper v1 only)


@dataclass(frozen=True, config=STRICT)
class StudentConfig:
    """The student of every arm. `pretraining`: its extractors start from the source split too, alike for all arms."""

    recognizer: RecognizerConfig
    training: TrainingConfig
    pretraining: TrainingConfig | None = None  # not from the paper: null starts from random weights
    pretraining_split: str = "source"


@dataclass(frozen=True, config=STRICT)
class EvaluationConfig:
    """Protocols P1 (every subset) and P2 (random dropout, mean of `sweep_draws` draws).

    With `views` above 1 every figure is of the mean probability of so many looks at a sample: the fixed one, and others
    augmented as in training but never mirrored; figures of the fixed one alone are kept beside. Inference costs `views` times.
    """

    split: str = "test"
    views: Count = 1
    sweep: tuple[Probability, ...] = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
    sweep_draws: Count = 10  # of who is absent, for each probability of sweep
    examples: Natural = 4  # clips with each method's answers in the report


@dataclass(frozen=True, config=STRICT)
class WatchConfig:
    """How well a split is recognised while teacher and students train, for the curves; what is trained does not depend on it."""

    split: str = "validation"  # never one that is learnt from
    every_epochs: Count = 5  # and after the last one


@dataclass(frozen=True, config=STRICT)
class WandbConfig:
    """Weights & Biases: every training's figures go there, too; what is trained does not depend on it."""

    project: str = "karmma"
    entity: str | None = None  # whose project; null: of whoever is logged in
    mode: Literal["online", "offline"] = "online"  # offline: kept in the run's directory until `wandb sync`


@dataclass(frozen=True, config=STRICT)
class Recipe:
    """Everything a run depends on."""

    name: str
    data: DataConfig
    modalities: dict[str, dict[str, Any]]  # which, and what each is read as; for settings see src/karmma/modalities
    teacher: TeacherConfig
    student: StudentConfig
    methods: dict[str, MethodConfig]  # arms of the experiment, by name
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    watch: WatchConfig | None = None  # null: training shows nothing but its losses
    wandb: WandbConfig | None = None  # null: nothing leaves this machine
    seeds: tuple[Natural, ...] = (0,)
    default_methods: tuple[str, ...] = ()  # what runs unless --only says otherwise; empty: everything
    trainings_at_once: Natural = 0  # of students that do not need each other, on a CPU; 0: one per thread
    train_teacher: bool = True  # false where no method is taught by it and it need not be compared with

    def __post_init__(self) -> None:
        self.check_cached_teachers()
        for whose, part in (("teacher", self.teacher), ("student", self.student)):
            encoders = part.recognizer.encoders
            for name in self.modalities:
                if name not in encoders:
                    raise ValueError(f"{whose}.recognizer.encoders has no encoder for modality {name!r}")
        if self.teacher.recognizer.kernels is not None:
            raise ValueError("teacher.recognizer.kernels: only students vote with random kernels")
        if not self.seeds:
            raise ValueError("seeds is empty")
        if len({*self.seeds}) < len(self.seeds):
            raise ValueError(f"seeds: one is there twice in {list(self.seeds)}")
        learnt = ["train", *(part.pretraining_split for part in (self.teacher, self.student) if part.pretraining)]
        if self.watch is not None and self.watch.split in learnt:
            raise ValueError(f"watch.split: {self.watch.split} is learnt from; watch validation, or another split that is not")
        if self.watch is not None and "fsdp" in (self.teacher.training.strategy, self.student.training.strategy):
            raise ValueError("watch: no process has the whole model with strategy: fsdp; use ddp, or evaluate what is trained")
        check_subset_weights("teacher", self.teacher, list(self.modalities))
        for name, method in self.methods.items():
            check_subset_weights(f"methods.{name}", method, list(self.modalities))
        models: dict[str, list[str]] = {"distillation.teachers": [], "late_fusion_of": [], "extractors_from": []}
        for name, method in self.methods.items():
            if "teacher" in taught_by(method) and not self.train_teacher:
                raise ValueError(f"methods.{name} is taught by the teacher, but train_teacher is false")
            if method.own_weight and (not self.student.recognizer.own_votes or method.absent == "zeros"):
                raise ValueError(f"methods.{name}.own_weight needs student.recognizer.own_votes: true, and absent other than zeros")
            for key, other in method_references(method):
                if other not in models[key]:
                    what = "a method with models" if key == "distillation.teachers" else "a method with specialists"
                    raise ValueError(
                        f"methods.{name}.{key}: {other!r} is not {what} above it; there is: {', '.join(models[key]) or 'none'}"
                    )
                if key == "late_fusion_of" and not self.methods[other].tested:
                    raise ValueError(f"methods.{name}.late_fusion_of: {other!r} is not tested (methods.{other}.tested: false)")
            check_specialists(name, method, self.methods)
            for key, known in models.items():
                if method.specialists or (key == "distillation.teachers" and method.late_fusion_of is None):
                    known.append(name)

    def check_cached_teachers(self) -> None:
        """A student whose teacher has looked beforehand gets the very looks that the teacher had."""
        for name, method in self.methods.items():
            if method.distillation is None or method.distillation.teacher_input != "cached":
                continue
            where, teacher, student = f"methods.{name}.distillation.teacher_input: cached", self.teacher, self.student.training
            if student.augment and teacher.token_views < 2:
                raise ValueError(f"{where} needs teacher.token_views of 2 or more: the first look is not augmented")
            if student.augment and student.mirror != teacher.training.mirror:
                raise ValueError(f"{where} needs student.training.mirror as teacher.training.mirror is: {teacher.training.mirror:g}")

    def only(self, names: Sequence[str]) -> Recipe:
        """This recipe with the named methods (or `teacher`) and those that they build on, the teacher only where one does.

        `all` or no name is everything. Raises KarmmaError for an unknown name.
        """
        if not names or "all" in names:
            return self
        wanted = find_wanted(self.methods, names)
        methods = {name: method for name, method in self.methods.items() if name in wanted}
        taught = "teacher" in names or any("teacher" in taught_by(method) for method in methods.values())
        return replace(self, methods=methods, train_teacher=taught)


def find_wanted(methods: Mapping[str, MethodConfig], names: Sequence[str]) -> set[str]:
    """The named methods and those that they build on. Raises KarmmaError for an unknown name."""
    wanted, open_names = set[str](), [name for name in names if name != "teacher"]
    while open_names:
        name = open_names.pop()
        if name not in methods:
            raise KarmmaError(f"unknown method {name!r}; the recipe has: all, teacher, {', '.join(methods)}")
        wanted.add(name)
        open_names += [other for _, other in method_references(methods[name]) if other not in wanted and other in methods]
    return wanted


def check_subset_weights(where: str, drawn: TeacherConfig | MethodConfig, modalities: Sequence[str]) -> None:
    """Raise ValueError for weights without subsets that they could weigh."""
    if not drawn.subset_weights:
        return
    if drawn.subsets != "uniform":
        raise ValueError(f"{where}.subset_weights needs {where}.subsets: uniform")
    try:
        weigh_subsets(drawn.subset_weights, modalities)
    except KarmmaError as error:
        raise ValueError(f"{where}.subset_weights: {error}") from error


def check_specialists(name: str, method: MethodConfig, methods: Mapping[str, MethodConfig]) -> None:
    """Raise ValueError for words about specialists that teach together where none, or no two of them, do."""
    if method.distillation is None:
        return
    where, distillation = f"methods.{name}.distillation", method.distillation
    kinds = [methods[other].specialists for other in taught_by(method) if other in methods]
    if distillation.smaller_specialists and not any(kinds):
        raise ValueError(f"{where}.smaller_specialists needs a method with specialists among {where}.teachers")
    if distillation.specialist_weights == "loss" and not ("single" in kinds or (distillation.smaller_specialists and any(kinds))):
        raise ValueError(
            f"{where}.specialist_weights: loss weighs specialists that teach together; it needs a method with specialists: single "
            f"among {where}.teachers, or smaller_specialists"
        )


def taught_by(method: MethodConfig) -> tuple[str, ...]:
    """Names of a method's teachers."""
    return method.distillation.teachers if method.distillation else ()


def method_references(method: MethodConfig) -> list[tuple[str, str]]:
    """Pairs (key, other method) that a method builds on."""
    references = [("distillation.teachers", name) for name in taught_by(method) if name != "teacher"]
    references += [("late_fusion_of", method.late_fusion_of)] if method.late_fusion_of else []
    return references + ([("extractors_from", method.extractors_from)] if method.extractors_from else [])


def shipped_recipes() -> dict[str, Path]:
    """The recipes that come with the package, by name."""
    return {path.stem: path for path in sorted((Path(__file__).parent / "recipes").glob("*.yaml"))}


def find_recipe(path: Path) -> Path:
    """A recipe's file: itself, or the shipped one of that name. Raises KarmmaError with the shipped names."""
    if path.is_file():
        return path
    shipped = shipped_recipes()
    if str(path) not in shipped:
        raise KarmmaError(f"recipe not found: {path}; shipped ones, by name: {', '.join(shipped)}")
    return shipped[str(path)]


def load_recipe(path: Path, overrides: list[str] | None = None) -> Recipe:
    """Read a recipe, or a shipped one by name, and apply `key.path=value` overrides. Raises KarmmaError in one line."""
    path = find_recipe(path)
    return build(Recipe, read_tree(path, overrides), str(path))


def load_chosen(path: Path, overrides: list[str] | None, names: Sequence[str]) -> Recipe:
    """A recipe with some of its methods, see `Recipe.only`; without names its default ones. The others, of which nothing is made, need
    not go together with the overrides. Raises KarmmaError as `load_recipe` does."""
    path = find_recipe(path)
    tree = read_tree(path, overrides)
    methods, default = tree.get("methods"), tree.get("default_methods")
    names = names or (default if isinstance(default, list) else [])
    if names and "all" not in names and isinstance(methods, dict):
        try:
            wanted = find_wanted(build(dict[str, MethodConfig], methods, ""), names)
        except KarmmaError:
            build(Recipe, tree, str(path))  # names the whole key of what is wrong
            raise
        tree["methods"] = {name: method for name, method in methods.items() if name in wanted}
    chosen: Recipe = build(Recipe, tree, str(path))
    return chosen.only(names)


def read_tree(path: Path, overrides: list[str] | None) -> dict[str, Any]:
    """A recipe's file as plain values, with overrides. Raises KarmmaError."""
    try:
        tree = unshared(yaml.safe_load(read_text(path)))
    except yaml.YAMLError as error:
        raise KarmmaError(f"{path}: not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(tree, dict):
        raise KarmmaError(f"{path}: a recipe is a mapping of keys to values")
    return apply_overrides(tree, overrides)
