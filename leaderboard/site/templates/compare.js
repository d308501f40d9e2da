// Compares two to four entries of one table: differences with intervals and tests, categories and videos that differ most.
const loaded = new Map();
const waiting = new Map();
window.ovsbench = (entry) => { loaded.set(entry.page, entry); waiting.get(entry.page)?.(); };
{
  const all = JSON.parse(document.getElementById("entries").textContent);
  const form = document.querySelector("form.choose");
  const found = document.getElementById("found");
  const known = new Map(all.map((one) => [one.page, one]));
  const element = (name, text, attributes = {}) => {
    const made = Object.assign(document.createElement(name), { textContent: text ?? "" });
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    return made;
  };
  const load = (page) => loaded.has(page) ? Promise.resolve() : new Promise((resolve, reject) => {
    waiting.set(page, resolve);
    document.head.append(Object.assign(document.createElement("script"), { src: `entries/${page}.js`, onerror: reject }));
  });
  const percent = (value) => value === null || value === undefined || Number.isNaN(value) ? "–" : (100 * value).toFixed(1);
  const signed = (value) => Math.abs(value) < 0.0005 ? "0.0" : (value > 0 ? "+" : "−") + percent(Math.abs(value));
  const leftOut = (entry, key) => {  // float32: the score, then the score without each video
    const bytes = Uint8Array.from(atob(entry.left_out[key]), (one) => one.charCodeAt(0));
    const view = new DataView(bytes.buffer);
    return Array.from({ length: bytes.length / 4 }, (_, i) => view.getFloat32(4 * i, true));
  };
  const logGamma = (x) => {  // Stirling's series, far enough from 0
    let shift = 0;
    for (; x < 10; x += 1) shift += Math.log(x);
    return (x - 0.5) * Math.log(x) - x + 0.5 * Math.log(2 * Math.PI) + 1 / (12 * x) - 1 / (360 * x ** 3) + 1 / (1260 * x ** 5) - shift;
  };
  const beyond = (t, freedom) => {  // two-sided p of Student's t: the incomplete beta function as a continued fraction
    const x = freedom / (freedom + t * t), [a, b] = [freedom / 2, 0.5];
    if (x >= 1) return 1;
    if (!(x > 0)) return 0;
    const part = (x, a, b) => {
      let fraction = 1;
      for (let m = 200; m > 0; m -= 1) {
        const odd = -(a + m - 1) * (a + b + m - 1) * x / ((a + 2 * m - 2) * (a + 2 * m - 1));
        const even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m));
        fraction = 1 + odd / (1 + even / fraction);
      }
      const log = a * Math.log(x) + b * Math.log(1 - x) + logGamma(a + b) - logGamma(a) - logGamma(b);
      return Math.exp(log) / (a * fraction);
    };
    return x < (a + 1) / (a + b + 2) ? part(x, a, b) : 1 - part(1 - x, b, a);
  };
  const moved = (first, second, key) => {  // the difference: its interval and the p-value that goes with it
    const [a, b] = [leftOut(first, key), leftOut(second, key)];
    const [value, ...others] = a.map((one, i) => b[i] - one);
    if (first.reach === null || ![value, ...others].every(Number.isFinite)) return { range: null, p: null };
    const n = others.length, mean = others.reduce((sum, one) => sum + one, 0) / n;
    const error = (n - 1) / n * Math.sqrt(others.reduce((sum, one) => sum + (one - mean) ** 2, 0));
    const p = error ? beyond(value / error, n - 1) : value ? 0 : 1;
    return { range: [value - first.reach * error, value + first.reach * error], p };
  };
  const holm = (found) => {
    const known = found.filter((one) => one.p !== null).sort((a, b) => a.p - b.p);
    let highest = 0;
    known.forEach((one, i) => { one.p = highest = Math.max(highest, Math.min(1, one.p * (known.length - i))); });
    return found;
  };
  const differences = (first, others, key) => {
    const alone = others.map((other) => moved(first, other, key));
    const tested = [first, ...others].every((entry) => entry.ranked.key === key);
    if (!tested) return holm(alone);
    return alone.map((one, i) => first.ranked.p
      ? { ...one, p: first.ranked.p[others[i].page] ?? null }
      : { ...one, p: null, isClear: one.p !== null && one.p <= first.ranked.most });
  };
  const table = (title, heads, rows, canSort = false) => {
    const section = element("section", "", { class: "card" });
    const scroll = element("div", "", { class: "scroll", tabindex: "0", role: "region", "aria-label": title });
    const made = element("table", "", canSort ? { class: "sortable" } : {});
    const head = made.createTHead().insertRow();
    heads.forEach((text, i) => {
      const cell = element("th", canSort ? "" : text, { scope: "col", class: i ? (text === "part" ? "words" : "") : "pin", ...(i ? {} : { "data-first": "ascending" }) });
      if (canSort) cell.append(element("button", text));
      head.append(cell);
    });
    const body = made.createTBody();
    for (const cells of rows) {
      const row = body.insertRow();
      cells.forEach((cell, i) => row.append(cell instanceof Node ? cell : element(i ? "td" : "th", cell, i ? {} : { scope: "row", class: "pin" })));
    }
    scroll.append(made);
    section.append(element("h3", title), scroll);
    if (canSort) sortable(made);
    return section;
  };
  const difference = (value, { range, p, isClear }) => {
    const cell = element("td", value === null ? "–" : signed(value));
    if (range) {
      const clear = (range[0] > 0 || range[1] < 0) && (isClear ?? (p !== null && p <= 0.05));
      if (clear) cell.className = "best " + (range[0] > 0 ? "better" : "worse");
      const words = p === null ? "" : `, p ${p < 0.0001 ? "< 0.0001" : p.toFixed(4)}`;
      cell.append(element("small", `${signed(range[0])} to ${signed(range[1])}${words}`));
    }
    return cell;
  };
  function show(entries) {
    found.replaceChildren();
    if (entries.length < 2) {
      found.append(element("p", "Choose at least two entries.", { class: "quiet" }));
      return;
    }
    const [first, ...others] = entries;
    const names = entries.map((entry) => entry.name);
    const keys = first.scores.map(([key]) => key).filter((key) => entries.every((entry) => entry.left_out[key] !== undefined));
    const score = (entry, key) => entry.scores.find(([name]) => name === key);
    found.append(table("Scores in percent, with 95 % intervals",
      ["score", ...names, ...others.map((entry) => `${entry.name} − ${first.name}`)],
      keys.map((key) => [score(first, key)[1],
        ...entries.map((entry) => {
          const [, , value, low, high] = score(entry, key);
          const cell = element("td", percent(value));
          if (low !== null) cell.append(element("small", `${percent(low)}–${percent(high)}`));
          return cell;
        }),
        ...differences(first, others, key).map((found, i) => difference(score(others[i], key)[2] - score(first, key)[2], found))])));
    const delta = (title, column, list, label) => {
      const rows = first[list].map((row, i) => [row, entries.map((entry) => entry[list][i][column])])
        .filter(([, values]) => values.some((value) => value !== null)).map(([row, values]) => {
        const moved = values.slice(1).map((value) => value === null || values[0] === null ? null : value - values[0]);
        const size = Math.max(...moved.map((value) => Math.abs(value ?? 0)));
        return [size, [row[0], ...(list === "categories" ? [element("td", row[1], { class: "words" })] : []), ...values.map(percent), ...moved.map((value) => {
          const cell = element("td", value === null ? "–" : signed(value), { class: "delta" });
          if (value) cell.style.setProperty("--move", `${Math.min(50, 50 * Math.abs(value))}%`);
          if (value) cell.classList.add(value > 0 ? "up" : "down");
          return cell;
        })]];
      }).sort(([a], [b]) => b - a).map(([, row]) => row);
      found.append(table(`${title}: ${label}, largest differences first`,
        [list === "categories" ? "category" : "video", ...(list === "categories" ? ["part"] : []), ...names, ...others.map((entry) => `${entry.name} − ${first.name}`)],
        rows, true));
    };
    if (first.categories.length) first.category_columns.forEach((name, i) => delta("By category", i + 2, "categories", name));
    first.video_columns.slice(0, 1).forEach((name, i) => delta("By video", i + 1, "videos", name));
    document.title = names.join(", ") + " compared";
  }
  const selects = [0, 1, 2, 3].map((number) => {
    const label = element("label", ["First", "Second", "Third", "Fourth"][number] + " ");
    const select = document.createElement("select");
    label.append(select);
    form.append(label);
    select.addEventListener("change", () => { location.hash = selects.map((one) => one.value).filter(Boolean).join(","); });
    return select;
  });
  function fill(chosen) {
    const board = known.get(chosen[0])?.table;
    selects.forEach((select, number) => {
      select.replaceChildren(new Option(number < 2 ? "choose…" : "none", ""));
      for (const title of [...new Set(all.map((one) => one.table))]) {
        if (number && board && title !== board) continue;
        const group = element("optgroup", "", { label: title });
        all.filter((one) => one.table === title).forEach((one) => group.append(new Option(one.name, one.page)));
        select.append(group);
      }
      select.value = chosen[number] ?? "";
      select.disabled = number > chosen.length;
    });
  }
  async function update() {
    let chosen = [...new Set(decodeURIComponent(location.hash.slice(1)).split(","))].filter((page) => known.has(page)).slice(0, 4);
    chosen = chosen.filter((page) => known.get(page).table === known.get(chosen[0]).table);
    fill(chosen);
    try {
      await Promise.all(chosen.map(load));
      show(chosen.map((page) => loaded.get(page)));
    } catch {
      found.replaceChildren(element("p", "The data of an entry is missing beside this page: entries/*.js.", { class: "quiet" }));
    }
  }
  window.addEventListener("hashchange", update);
  document.addEventListener("DOMContentLoaded", update);
}
