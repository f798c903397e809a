"""Pages of measurements, section by section: each command replaces its own and keeps the rest."""

import pathlib
import re

PAGE = pathlib.Path(__file__).parents[1] / "docs" / "performance.md"
INTRODUCTION = """# How fast r3jax is

`benchmarks/` says what is done and how it is timed. Tables with two sides are remade by
`make bench`: both do the same work with the same weights, each in a process of its own, taking
turns. Those of one device are remade there by `python -m benchmarks.accelerator`.
"""


def write_section(page: pathlib.Path, title: str, text: str) -> None:
    """Puts `text` under the heading `title`, instead of what stands there or at the end.

    A page that is not there is begun as that of performance.
    """
    old = page.read_text("utf-8") if page.is_file() else INTRODUCTION
    introduction, *sections = re.split(r"^(?=## )", old, flags=re.MULTILINE)
    made = f"## {title}\n\n{text.strip()}\n"
    names = [section.splitlines()[0] for section in sections]
    if f"## {title}" in names:
        sections[names.index(f"## {title}")] = made
    else:
        sections.append(made)
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text(
        "\n".join([introduction.strip() + "\n", *(s.strip() + "\n" for s in sections)]), "utf-8"
    )
