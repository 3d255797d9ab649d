"""How well the words on a page stand out from what is behind them, by WCAG's formula.

Measured is what can be: words whose background is a colour (through any transparent layers), not a
picture or a gradient; what is switched off (disabled, behind a sheet) need not be read.
"""

from typing import Final

from tests.browser.chromium import Screen

LEAST: Final = 4.5

_MEASURE: Final = """
(least) => {
  const parse = (text) => {
    const found = text.match(/[\\d.]+/g)?.map(Number) ?? [0, 0, 0, 0];
    const scale = text.startsWith('color(') ? 255 : 1;
    return [found[0] * scale, found[1] * scale, found[2] * scale, found[3] ?? 1];
  };
  const over = (top, below) => [0, 1, 2].map((i) => top[i] * top[3] + below[i] * (1 - top[3]));
  const light = (rgb) => {
    const [r, g, b] = rgb.map((part) => {
      const c = part / 255;
      return c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (element) => {
    const layers = [];
    for (let at = element; at; at = at.parentElement) {
      const style = getComputedStyle(at);
      if (style.backgroundImage !== 'none' || style.opacity !== '1') return null;
      const colour = parse(style.backgroundColor);
      if (colour[3] > 0) layers.push(colour);
      if (colour[3] === 1) return layers.reverse().reduce((below, top) => over(top, below));
    }
    return null;
  };
  const off = ':disabled, [aria-disabled=true], [inert], .visually-hidden, svg, s';
  const faint = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    const element = node.parentElement;
    const text = node.textContent.trim();
    if (!text || !element.checkVisibility({ visibilityProperty: true })) continue;
    if (element.closest(off)) continue;
    const box = element.getBoundingClientRect();
    const [x, y] = [box.x + box.width / 2, box.y + box.height / 2];
    const seen = document.elementFromPoint(x, y);
    if (!seen || !(element.contains(seen) || seen.contains(element))) continue;
    const back = behind(element);
    if (!back) continue;
    const front = over(parse(getComputedStyle(element).color), back);
    const [a, b] = [light(front), light(back)];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < least) faint.push(`${ratio.toFixed(2)} ${element.className} ${text.slice(0, 30)}`);
  }
  return [...new Set(faint)];
}
"""


async def faint_words(screen: Screen) -> list[str]:
    """`ratio class words` of all that stands out less than 4.5:1."""
    found: list[str] = await screen.page.evaluate(_MEASURE, LEAST)
    return found
