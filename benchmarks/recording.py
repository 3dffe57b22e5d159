"""What benchmarks share: the machine, the date, and where results go."""

from __future__ import annotations

import datetime
import json
from pathlib import Path
from typing import Any

from karmma.experiment.provenance import provenance

RESULTS = Path(__file__).resolve().parent / "results"


def write_result(name: str, figures: dict[str, Any]) -> None:
    """Write `results/<name>.json` with machine, versions, commit and date, and print the figures."""
    RESULTS.mkdir(exist_ok=True)
    content = {"date": datetime.datetime.now(datetime.UTC).date().isoformat(), **figures, **provenance()}
    (RESULTS / f"{name}.json").write_text(json.dumps(content, indent=1) + "\n")
    print(json.dumps(figures, indent=1))
