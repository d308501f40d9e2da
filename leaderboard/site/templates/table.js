// Sorts a table by the column whose head is pressed: numbers best first, words from A to Z, empty cells last.
const keyOf = (cell) => {
  const text = (cell.querySelector("a")?.textContent ?? cell.firstChild?.textContent ?? "").trim();
  return text === "–" ? "" : text;
};
const asNumber = (text) => Number(text.replaceAll(",", "").replace("−", "-"));
function sortBy(table, column, order) {
  const heads = [...table.querySelectorAll("thead tr:last-child th")];
  heads.forEach((each) => each.removeAttribute("aria-sort"));
  heads[column].setAttribute("aria-sort", order);
  const sign = order === "ascending" ? 1 : -1;
  const rows = [...table.tBodies[0].rows].map((row) => [keyOf(row.cells[column]), row]);
  rows.sort(([x], [y]) => {
    if (x === "" || y === "") return (x === "") - (y === "");
    const [a, b] = [asNumber(x), asNumber(y)];
    return sign * (isNaN(a) || isNaN(b) ? x.localeCompare(y) : a - b);
  });
  table.tBodies[0].append(...rows.map(([, row]) => row));
}
function sortable(table) {
  const heads = [...table.querySelectorAll("thead tr:last-child th")];
  heads.forEach((head, column) => head.querySelector("button")?.addEventListener("click", () => {
    const first = head.dataset.first || "descending";
    const other = first === "descending" ? "ascending" : "descending";
    sortBy(table, column, head.getAttribute("aria-sort") === first ? other : first);
    table.dispatchEvent(new Event("sorted", { bubbles: true }));
  }));
  for (const cell of table.querySelectorAll("td.w")) {
    const share = asNumber(keyOf(cell));
    if (share >= 0) cell.style.setProperty("--share", share + "%");
  }
}
document.querySelectorAll("table.sortable").forEach(sortable);
// Says where a table goes on to the right of what is seen.
for (const box of document.querySelectorAll(".scroll")) {
  const look = () => {
    const cut = box.scrollLeft + box.clientWidth < box.scrollWidth - 1;
    box.classList.toggle("cut", cut);
    if (box.previousElementSibling?.matches(".further")) box.previousElementSibling.hidden = box.scrollWidth <= box.clientWidth + 1;
  };
  box.addEventListener("scroll", look, { passive: true });
  new ResizeObserver(look).observe(box);
  if (box.firstElementChild) new ResizeObserver(look).observe(box.firstElementChild);
}
