"""The page at `/`: a person drops an image, asks, and watches where the model looks."""

import base64
import dataclasses
import hashlib
import importlib.resources
import re

from r3jax.view import style

_SCRIPT = re.compile(r"<script>(.*?)</script>", re.DOTALL)


@dataclasses.dataclass(frozen=True)
class Page:
    """The HTML, and the policy that browsers are to hold it to: its own script alone runs, and
    talks to this server alone."""

    text: str
    policy: str


def load() -> Page:
    """Reads the page and puts the style sheet of all pages in."""
    file = importlib.resources.files("r3jax.serve") / "page.html"
    text = file.read_text("utf-8").replace("/* style of all pages */", style.CSS)
    (script,) = _SCRIPT.findall(text)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = (
        f"default-src 'none'; script-src 'sha256-{digest}'; style-src 'unsafe-inline'; "
        "img-src data: blob:; connect-src 'self'; form-action 'none'; base-uri 'none'; "
        "frame-ancestors 'none'"
    )
    return Page(text, policy)
