"""What a view is like for those who can't see it well, can't use a mouse, or hold it in one hand."""

from pathlib import Path

AXE = Path(__file__).resolve().parents[2] / "web" / "node_modules" / "axe-core" / "axe.min.js"
PHONE = {"width": 390, "height": 844}
DESK = {"width": 1280, "height": 900}
# The preview frame is of another origin, which axe can't look into.
RUN = """async () => {
  // what was emulated a moment ago must have come through
  await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
  const { violations } = await axe.run(document, { iframes: false, resultTypes: ["violations"] });
  return violations.flatMap(({ id, nodes }) =>
    nodes.map(({ target, failureSummary }) => `${id}: ${target} ${failureSummary.replaceAll("\\n", " ")}`));
}"""
TOO_WIDE = """() => {
  const wide = innerWidth;
  if (document.documentElement.scrollWidth <= wide) return [];
  return [...document.querySelectorAll("body *")].filter((each) => each.getBoundingClientRect().right > wide + 1)
    .map((each) => `${each.tagName}.${each.className} ${each.getBoundingClientRect().right}`);
}"""
TOO_SMALL = """() => [...document.querySelectorAll(".button-primary, .button-danger")].filter((each) => {
  const { width, height } = each.getBoundingClientRect();
  return each.checkVisibility() && (width < 44 || height < 44);
}).map((each) => `${each.textContent} ${each.getBoundingClientRect().height}`)"""


def violations(page):
    """What axe-core finds, as the page is now."""
    if not page.evaluate("'axe' in globalThis"):
        page.evaluate(AXE.read_text())
    return page.evaluate(RUN)


def too_wide(page):
    """Elements that make the page scroll sideways."""
    return page.evaluate(TOO_WIDE)


def faults(page):
    """What axe-core finds, what is too wide, and too small to be touched: on phone and desk, by day and night."""
    found = []
    for size in (PHONE, DESK):
        page.set_viewport_size(size)
        found += [f"{size['width']} px, too wide: {each}" for each in too_wide(page)]
        if size == PHONE:
            found += [f"too small: {each}" for each in page.evaluate(TOO_SMALL)]
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
            found += [f"{size['width']} px, {scheme}: {each}" for each in violations(page)]
    return found
