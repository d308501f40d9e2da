// Filters the tables of a page; what is chosen stands in the address, so that a view can be sent to somebody.
{
  const form = document.querySelector("form.filters");
  const boards = [...document.querySelectorAll("table.board")];
  const rows = boards.flatMap((table) => [...table.tBodies[0].rows]);
  const offer = (select, values) => [...new Set(values)].filter(Boolean).sort()
    .forEach((value) => select.add(new Option(value, value)));
  offer(form.t, rows.flatMap((row) => row.dataset.t.split("|")));
  offer(form.n, rows.map((row) => row.dataset.n));
  offer(form.l, rows.map((row) => row.dataset.l));
  const overs = [...new Set([...document.querySelectorAll("tr.over th[data-over]")].map((head) => head.dataset.over))];
  for (const over of overs) {
    const box = Object.assign(document.createElement("input"), { type: "checkbox", name: "c", value: over, defaultChecked: true });
    const label = document.createElement("label");
    label.append(box, " " + over);
    form.querySelector("fieldset").append(label);
  }
  const shows = (row) => {
    const d = row.dataset;
    return (!form.q.value || row.cells[0].textContent.toLowerCase().includes(form.q.value.toLowerCase()))
      && (!form.t.value || d.t.split("|").includes(form.t.value))
      && (!form.n.value || d.n === form.n.value) && (!form.l.value || d.l === form.l.value);
  };
  const MOST = 200;  // rows drawn until all are asked for: a browser lays out thousands slowly
  function cut(table) {
    const seen = [...table.tBodies[0].rows].filter((row) => !row.hidden);
    const all = table.closest("section").querySelector("button.all");
    const most = all.dataset.pressed ? Infinity : MOST;
    table.querySelectorAll("tr.beyond").forEach((row) => row.classList.remove("beyond"));
    seen.slice(most).forEach((row) => row.classList.add("beyond"));
    all.hidden = seen.length <= most;
    all.textContent = `Show all ${seen.length} rows`;
  }
  function apply() {
    for (const table of boards) {
      table.closest("section").hidden = form.p.value !== "" && form.p.value !== table.dataset.table;
      const body = [...table.tBodies[0].rows];
      body.forEach((row) => { row.hidden = !shows(row); });
      const seen = body.filter((row) => !row.hidden).length;
      table.closest("section").querySelector(".shown").textContent =
        seen === body.length ? "" : `Showing ${seen} of ${body.length}.`;
      cut(table);
      const off = new Set([...form.querySelectorAll("[name=c]")].filter((box) => !box.checked).map((box) => box.value));
      table.querySelectorAll("tr.over th[data-over]").forEach((head) => { head.hidden = off.has(head.dataset.over); });
      table.querySelectorAll("thead tr:last-child th").forEach((head, column) => {
        const hide = off.has(head.dataset.over);
        if (head.hidden !== hide) [head, ...body.map((row) => row.cells[column])].forEach((cell) => { cell.hidden = hide; });
      });
    }
    document.dispatchEvent(new Event("filtered"));
  }
  function remember() {
    const state = new URLSearchParams();
    for (const name of ["q", "p", "t", "n", "l"]) if (form[name].value) state.set(name, form[name].value);
    const off = [...form.querySelectorAll("[name=c]")].filter((box) => !box.checked).map((box) => box.value);
    if (off.length) state.set("off", off.join("|"));
    for (const table of boards) {
      const head = table.querySelector("th[aria-sort]");
      if (head) state.set("sort." + table.dataset.table, (head.dataset.key ?? "") + " " + head.getAttribute("aria-sort"));
    }
    history.replaceState(null, "", "#" + state);
  }
  function recall() {
    if (!location.hash.includes("=")) return;
    const state = new URLSearchParams(location.hash.slice(1));
    for (const name of ["q", "p", "t", "n", "l"]) form[name].value = state.get(name) ?? "";
    const off = (state.get("off") ?? "").split("|");
    form.querySelectorAll("[name=c]").forEach((box) => { box.checked = !off.includes(box.value); });
    for (const table of boards) {
      const [key, order] = (state.get("sort." + table.dataset.table) ?? "").split(" ");
      const heads = [...table.querySelectorAll("thead tr:last-child th")];
      const column = heads.findIndex((head) => (head.dataset.key ?? "") === key);
      if (order === "ascending" || order === "descending") if (column >= 0) sortBy(table, column, order);
    }
  }
  const chosen = () => [...document.querySelectorAll("table.board input:checked")].map((box) => box.closest("tr").dataset.e);
  const link = form.querySelector(".compare");
  document.addEventListener("change", (event) => {
    if (!event.target.matches("table.board input")) return;
    const all = chosen();
    if (all.length > 4) event.target.checked = false;
    link.hidden = chosen().length === 0;
    link.textContent = `Compare ${chosen().length} chosen`;
    link.href = "../compare.html#" + chosen().join(",");
  });
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("input", () => { apply(); remember(); });
  const asWritten = new Map(boards.map((table) => [table, [...table.tBodies[0].rows]]));
  function unsort(table) {
    table.querySelectorAll("th[aria-sort]").forEach((head) => head.removeAttribute("aria-sort"));
    table.tBodies[0].append(...asWritten.get(table));
  }
  form.addEventListener("reset", () => setTimeout(() => { boards.forEach(unsort); apply(); remember(); }));
  document.addEventListener("sorted", (event) => { cut(event.target); remember(); });
  boards.forEach((table) => table.closest("section").querySelector("button.all").addEventListener("click", (event) => {
    event.target.dataset.pressed = "yes";
    cut(table);
  }));
  window.addEventListener("hashchange", () => { recall(); apply(); });
  recall();
  apply();
}
