"""axe-core on a part of a page: what it finds that keeps people out.

It is a dev dependency of `package.json`; where `node_modules` lacks it (a bundle that was built before it was named), the
locked version is fetched once.
"""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

from playwright.sync_api import Locator

ROOT = Path(__file__).parents[1]
SCRIPT = ROOT / "node_modules" / "axe-core" / "axe.min.js"
GRAVE = ("serious", "critical")


def script() -> Path:
    """The file that a page must load."""
    if not SCRIPT.is_file():
        subprocess.run(["npm", "ci", "--ignore-scripts"], cwd=ROOT, check=True, capture_output=True)
    return SCRIPT


def findings(part: Locator) -> list[dict[str, Any]]:
    """All violations in a part of the page, with `id`, `impact`, `help` and `nodes`."""
    page = part.page
    if not page.evaluate("Boolean(window.axe)"):
        # JupyterLab has a loader of its own, to which the script would give itself instead of the page.
        page.evaluate(f"(() => {{ const define = undefined, module = undefined; {script().read_text('utf-8')} }})()")
    found: list[dict[str, Any]] = part.evaluate(
        "part => window.axe.run(part, {resultTypes: ['violations']}).then(result => result.violations)"
    )
    return found


def grave(part: Locator) -> list[str]:
    """What is serious or critical, a line each: the rule, what it says, and where. A test wants it empty."""
    return [
        f"{found['impact']}: {found['id']}: {found['help']}: {node['html'][:300]}"
        for found in findings(part)
        if found["impact"] in GRAVE
        for node in found["nodes"]
    ]
