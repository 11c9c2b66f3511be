"""Looks: a width and a scheme of colours. What is wrong with a page in one of them, and its picture."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from importlib.resources import files
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import Page


@dataclass(frozen=True)
class Look:
    """A width in pixels, and light or dark."""

    width: int
    scheme: str

    def __str__(self) -> str:
        """As the names of pictures end."""
        return f"{self.width}-{self.scheme}"

    @property
    def options(self) -> dict[str, Any]:
        """The options of a context of Playwright: narrow ones are phones."""
        height = {320: 640, 390: 844}.get(self.width, 900)
        is_phone = self.width < 600
        return {"viewport": {"width": self.width, "height": height}, "has_touch": is_phone, "color_scheme": self.scheme}


PHONE = Look(390, "dark")
DESKTOP = Look(1280, "light")
LOOKS = (PHONE, DESKTOP, Look(390, "light"), Look(1280, "dark"), Look(320, "light"), Look(1600, "light"))
"""In `make chaos` every page is looked at in all of them."""

AXE = (files("axe_playwright_python") / "axe.min.js").read_text("utf-8")
RUN = "axe.run({resultTypes: ['violations']}).then(r => r.violations.map(v => v.id + ' ' + v.nodes[0].html.slice(0, 120)))"
SIDEWAYS = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
UNSIGNED = """() => [...document.querySelectorAll("*")].filter((each) => {
  const style = getComputedStyle(each), scrolls = /auto|scroll/.test(style.overflowX);
  return scrolls && each.scrollWidth > each.clientWidth && !style.backgroundAttachment.includes("local");
}).map((each) => each.outerHTML.slice(0, 120))"""
"""Returns what scrolls sideways without the shadow that says so."""

VISIBLE = "(document.querySelector('h1') || document.body).getBoundingClientRect().width"


def look_at(page: Page) -> list[str]:
    """Return what is wrong with the page as it stands: what axe finds, what hangs over, and whether texts have a width."""
    page.evaluate(AXE)
    found: list[str] = page.evaluate(RUN)
    over = page.evaluate(SIDEWAYS)
    if over > 0:
        found.append(f"{over} px hang over the side")
    found += [f"cut without a sign: {each}" for each in page.evaluate(UNSIGNED)]
    if not page.evaluate(VISIBLE):
        found.append("the heading has no width: is there a font?")
    return found


def photograph(page: Page, folder: Path, name: str, look: Look) -> None:
    """Take a picture of the whole page, and bring the sheet with all pictures side by side up to date."""
    page.screenshot(path=folder / f"{name}-{look}.jpeg", full_page=True, type="jpeg", quality=70)
    pictures = "".join(
        f'<figure><img src="{escape(path.name)}" loading="lazy" width="320"><figcaption>{escape(path.stem)}</figcaption></figure>'
        for path in sorted(folder.glob("*.jpeg"))
    )
    style = "body{display:flex;flex-wrap:wrap;gap:12px;align-items:start;font:14px sans-serif}figure{margin:0}"
    (folder / "index.html").write_text(f"<!doctype html><title>Pages</title><style>{style}</style>{pictures}")
