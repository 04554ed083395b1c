"""What mkdocs does not do by itself: pages outside docs/, and formulas as MathML, which needs no script."""

import html
import re
from pathlib import Path
from typing import Any

from latex2mathml.converter import convert
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
OUTSIDE = {
    "README.md": "index.md",
    **{name: name for name in ("CONTRIBUTING.md", "CHANGELOG.md", "recipes/configs/augmentation.yaml")},
    **{f"kernels/{page.name}": f"kernels/{page.name}" for page in (ROOT / "kernels").glob("*.md")},
}
"""Files of the repository -> pages of the site, beside those of docs/."""


def on_files(files: Files, config: Any) -> Files:
    """Add the pages outside docs/."""
    for source, page in OUTSIDE.items():
        files.append(File.generated(config, page, abs_src_path=str(ROOT / source)))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Links as the site needs them: docs/ is its root."""
    markdown = re.sub(r"^\[!\[.*actions/workflows.*\n", "", markdown, flags=re.MULTILINE)  # the badge
    if page.file.src_uri.startswith("kernels/"):
        return markdown.replace("](../docs/", "](../")
    markdown = (
        markdown.replace("](docs/README.md", "](#").replace("](docs/", "](").replace("](../README.md", "](index.md")
    )
    return re.sub(r"\]\(\.\./(?=kernels/|recipes/|CONTRIBUTING|CHANGELOG)", "](", markdown)


def on_page_content(content: str, page: Any, **_: Any) -> str:
    """LaTeX between dollars as MathML; links of a notebook, which are not markdown's any more."""
    if page.file.src_uri.endswith(".ipynb"):
        content = re.sub(r'href="(?:\.\./README\.md|([\w-]+)\.md)', _page_of_link, content)
    return re.sub(
        r'<span class="arithmatex">\\\((.*?)\\\)</span>',
        lambda match: convert(html.unescape(match[1])),
        content,
        flags=re.DOTALL,
    )


def _page_of_link(match: re.Match[str]) -> str:
    return f'href="../{match[1]}/' if match[1] else 'href="../'
