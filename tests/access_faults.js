() => {
  // What WCAG 2 asks of every page and a program can see: names, labels, heads, order, keyboard, contrast of 4.5.
  const found = [], shown = e => e.offsetParent !== null || getComputedStyle(e).position === "fixed";
  const told = e => (e.getAttribute("aria-label") || e.innerText || "").trim();
  if (!document.documentElement.lang || !document.title) found.push("no language or title");
  if (document.querySelectorAll("h1").length !== 1 || document.querySelectorAll("main").length !== 1) found.push("h1, main");
  const ids = [...document.querySelectorAll("[id]")].map(e => e.id);
  if (new Set(ids).size !== ids.length) found.push("an id twice");
  for (const e of document.querySelectorAll("a, button")) if (shown(e) && !told(e)) found.push("no name: " + e.outerHTML);
  for (const e of document.querySelectorAll("input:not([type=hidden], [hidden]), select"))
    if (!e.labels.length) found.push("no label: " + e.outerHTML);
  for (const e of document.querySelectorAll("[aria-labelledby]"))
    if (!document.getElementById(e.getAttribute("aria-labelledby"))) found.push("no such label: " + e.outerHTML.slice(0, 80));
  for (const e of document.querySelectorAll("th")) if (!e.scope) found.push("no scope: " + e.outerHTML);
  for (const e of document.querySelectorAll("*"))
    if (e.scrollWidth > e.clientWidth + 1 && getComputedStyle(e).overflowX === "auto" && e.tabIndex < 0)
      found.push("scrolls, but not by keyboard: " + e.outerHTML.slice(0, 80));
  let level = 1;
  for (const e of document.querySelectorAll("h1, h2, h3")) {
    const own = Number(e.tagName[1]);
    if (own > level + 1) found.push("a heading is left out before " + e.innerText);
    level = own;
  }
  const light = c => { const [r, g, b] = c.match(/[\d.]+/g).map(v => { v /= 255;
    return v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; }); return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
  const ground = e => { for (; e; e = e.parentElement) { const c = getComputedStyle(e).backgroundColor;
    if (!/, 0\)$/.test(c)) return c; } return "rgb(255, 255, 255)"; };
  for (const e of document.querySelectorAll("main *, nav *, footer *"))
    if (shown(e) && [...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim())) {
      const [a, b] = [light(getComputedStyle(e).color), light(ground(e))].sort((x, y) => y - x);
      if ((a + 0.05) / (b + 0.05) < 4.5) found.push("too little contrast: " + e.outerHTML.slice(0, 120));
    }
  return found;
}
