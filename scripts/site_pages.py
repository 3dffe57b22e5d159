"""Hook of MkDocs: which files the site is made of.

Pages keep their places in the repository, so that one link leads to the same place on the site and in the sources; the
references of commands, Python and recipes are written from the code.
"""

from __future__ import annotations

import ast
import inspect
import re
import subprocess
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin

import typer
import yaml
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from typer.cli import get_docs_for_click
from typer.main import get_command

from karmma import config as recipe
from karmma.cli import app
from karmma.datasets.ego4d import Ego4dConfig
from karmma.datasets.epic import EpicConfig
from karmma.datasets.epic_sounds import EpicSoundsConfig
from karmma.datasets.folder import FolderConfig
from karmma.datasets.h2o import H2oConfig
from karmma.datasets.holoassist import HoloAssistConfig
from karmma.datasets.kitchen import KitchenConfig
from karmma.datasets.prepared import PreparedConfig
from karmma.datasets.ssv2 import Ssv2Config
from karmma.datasets.utd_mhad import UtdMhadConfig
from karmma.modalities import MODALITIES

ROOT = Path(__file__).resolve().parents[1]
SHOWN = (
    "README.md", "CONTRIBUTING.md", "CHANGELOG.md", "docs/**", "benchmarks/README.md", "benchmarks/results/**.png", "examples/**",
)  # fmt: skip
MODULES = {
    "Recognising": ("karmma.deploy.predict", "karmma.deploy.recognition", "karmma.deploy.runtime", "karmma.deploy.answers"),
    "Live sensors": ("karmma.deploy.session", "karmma.deploy.health"),
    "The words all rooms speak": ("karmma.types", "karmma.skeletons", "karmma.data.missing", "karmma.data.manifest"),
    "The network": ("karmma.models.recognizer", "karmma.models.checkpoint", "karmma.models.encoders.base"),
    "Training": ("karmma.training.losses", "karmma.training.tasks", "karmma.training.teachers"),
    "Evaluation": ("karmma.evaluation.metrics", "karmma.evaluation.paired", "karmma.evaluation.evaluate"),
    "Adding a modality": ("karmma.modalities.base",),
}
RECIPE_PARTS = {
    "The recipe": {
        "recipe": recipe.Recipe, "data": recipe.DataConfig, "teacher": recipe.TeacherConfig, "student": recipe.StudentConfig,
        "teacher.recognizer, student.recognizer": recipe.RecognizerConfig, "….recognizer.encoders": recipe.EncoderConfig,
        "….recognizer.kernels": recipe.KernelsConfig, "….training, ….pretraining": recipe.TrainingConfig,
        "methods": recipe.MethodConfig, "methods.….distillation": recipe.DistillationConfig, "evaluation": recipe.EvaluationConfig,
        "watch": recipe.WatchConfig,
        "wandb": recipe.WandbConfig,
    },
    "modalities": dict(MODALITIES),
    "data.settings": {
        "kitchen": KitchenConfig, "utd_mhad": UtdMhadConfig, "epic": EpicConfig, "epic_sounds": EpicSoundsConfig,
        "ego4d": Ego4dConfig, "h2o": H2oConfig, "holoassist": HoloAssistConfig, "ssv2": Ssv2Config, "folder": FolderConfig,
        "prepared": PreparedConfig,
    },
}  # fmt: skip


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Every page and picture that git knows, and the generated references."""
    pages = {"commands": commands_page(), "python": python_page(), "recipes": recipes_page()}
    themed = [file for file in files if file.src_dir != config.docs_dir]
    tracked = [File.generated(config, name, abs_src_path=str(ROOT / name)) for name in tracked_files()]
    return Files([*themed, *tracked, *(File.generated(config, f"reference/{name}.md", content=text) for name, text in pages.items())])


def tracked_files() -> list[str]:
    """Paths below the repository's root; what is new counts, what git ignores does not."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "--deduplicate", *SHOWN],
        cwd=ROOT, check=True, capture_output=True, text=True,
    )  # fmt: skip
    return listed.stdout.splitlines()


def commands_page() -> str:
    """`karmma --help` of every command as one page."""
    command = get_command(app)
    return get_docs_for_click(obj=command, ctx=typer.Context(command, info_name="karmma"), name="karmma", title="Commands")


def python_page() -> str:
    """Docstrings and signatures of the modules that users and contributors meet."""
    parts = ["# Python", "What `import karmma` offers, module by module; for worked examples see [In Python](../docs/python.md)."]
    for title, modules in MODULES.items():
        parts.append(f"## {title}")
        parts += [f"::: {module}\n    options: {{heading_level: 3}}" for module in modules]
    return "\n\n".join(parts)


def recipes_page() -> str:
    """Every key of a recipe with its type, its default and what it means, from the dataclasses that read it."""
    parts = [
        "# Recipes",
        "A recipe is one YAML file of these keys; an unknown one is an error. Keys without a default must be there. "
        "`karmma recipes` lists what comes with the package, `karmma recipes NAME` prints one, `karmma run RECIPE key.path=value` "
        "changes one. What is not from the paper says so.",
    ]
    for title, classes in RECIPE_PARTS.items():
        parts.append(f"## {title}")
        parts += [f"### {name}\n\n{inspect.getdoc(kind)}\n\n{keys_table(kind)}" for name, kind in classes.items()]
    return "\n\n".join(parts)


def keys_table(kind: type) -> str:
    """The fields of a dataclass as a table; what a field means is the comment behind it."""
    lines = textwrap.dedent(inspect.getsource(kind)).splitlines()
    (tree,) = ast.parse("\n".join(lines)).body
    assert isinstance(tree, ast.ClassDef)
    rows = [
        "| " + " | ".join((f"`{node.target.id}`", type_of(node.annotation), default_of(node.value), comment_on(lines, node))) + " |"
        for node in tree.body
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
    ]
    return "\n".join(["| key | type | default | |", "|---|---|---|---|", *rows])


def bounded(alias: Any) -> str:
    """A number with its bounds: `int ≥ 1`."""
    kind, field = get_args(alias)
    signs = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}
    bounds = [f"{sign} {getattr(bound, key):g}" for bound in field.metadata for key, sign in signs.items() if hasattr(bound, key)]
    return f"{kind.__name__} {' and '.join(bounds)}"


BOUNDED = {name: bounded(alias) for name, alias in vars(recipe).items() if get_origin(alias) is Annotated}


def type_of(node: ast.expr) -> str:
    """A type as a recipe's writer reads it: allowed words, numbers with their bounds, lists."""
    text = ast.unparse(node).replace(" | None", " or null")
    text = re.sub(r"\w+", lambda found: BOUNDED.get(found[0], found[0]), text)
    text = re.sub(r"Literal\[(.*?)\]", lambda found: found[1].replace("'", "").replace(", ", " or "), text)
    return f"`{text.replace(' | ', ' or ').replace('Any', 'anything')}`"


def default_of(node: ast.expr | None) -> str:
    """A default as it is written in a recipe; nothing for a key that must be there."""
    if node is None:
        return ""
    text = ast.unparse(node)
    if "Config" in text:
        return "as below"
    if text.startswith("field("):
        return "`{}`"
    try:
        value = ast.literal_eval(node)
    except ValueError:  # an expression, such as 1 / 15
        return f"`{text}`"
    dumped = yaml.safe_dump(value, default_flow_style=True, width=1000)
    return f"`{dumped.removesuffix(chr(10)).removesuffix('...').strip()}`"


def comment_on(lines: Sequence[str], node: ast.AnnAssign) -> str:
    return lines[(node.end_lineno or node.lineno) - 1].partition("  # ")[2].replace("|", "\\|")
