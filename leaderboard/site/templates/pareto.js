// Draws a score against a cost for the rows that are shown; what nothing on its device beats in both is joined by a line.
{
  const NS = "http://www.w3.org/2000/svg";
  const make = (name, attributes, text) => {
    const element = document.createElementNS(NS, name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    if (text !== undefined) element.textContent = text;
    return element;
  };
  const [L, R, T, B] = [46, 24, 14, 46];
  for (const figure of document.querySelectorAll("figure.pareto")) {
    const table = document.querySelector(`table.board[data-table="${figure.dataset.table}"]`);
    const heads = [...table.querySelectorAll("thead tr:last-child th")];
    const [x, y] = [figure.querySelector("[name=x]"), figure.querySelector("[name=y]")];
    const over = (head) => head.dataset.over + (head.dataset.over === head.textContent ? "" : " " + head.textContent);
    heads.forEach((head, column) => {
      if (head.dataset.unit === "score") y.add(new Option(over(head), column));
      else if (head.dataset.unit) x.add(new Option(head.textContent, column));
    });
    if (!x.options.length) continue;  // nothing was measured
    const ranked = heads.findIndex((head) => head.dataset.key === table.querySelector("[data-main]")?.dataset.main);
    const main = heads.findIndex((head, column) => column && table.tBodies[0].rows[0]?.cells[column].querySelector("small"));
    y.value = String(main > 0 ? main : ranked > 0 ? ranked : 1);
    const draw = () => {
      figure.querySelector("svg")?.remove();
      figure.querySelector(".legend")?.remove();
      const cheap = heads[x.value]?.dataset.first === "ascending";
      const points = [...table.tBodies[0].rows].filter((row) => !row.hidden).map((row) => ({
        row, name: row.querySelector("a")?.textContent ?? "", device: row.dataset.d,
        x: asNumber(keyOf(row.cells[x.value])), y: asNumber(keyOf(row.cells[y.value])),
      })).filter((p) => p.x > 0 && p.y >= 0 && keyOf(p.row.cells[x.value]) && keyOf(p.row.cells[y.value]));
      figure.hidden = points.length < 2;
      if (figure.hidden) return;
      const W = Math.max(300, Math.min(760, figure.clientWidth || 760)), H = W < 500 ? 300 : 360;
      const logs = points.map((p) => Math.log10(p.x));
      const [low, high] = [Math.min(...logs) - 0.12, Math.max(...logs) + 0.3];
      const top = Math.min(100, Math.max(10, Math.max(...points.map((p) => p.y)) * 1.12));
      const px = (value) => L + (Math.log10(value) - low) / (high - low) * (W - L - R);
      const py = (value) => H - B - value / top * (H - T - B);
      const svg = make("svg", { viewBox: `0 0 ${W} ${H}`, class: "chart", role: "img",
        "aria-label": `${y.selectedOptions[0].text} against ${x.selectedOptions[0].text}` });
      for (let tick = 0; tick <= top; tick += top > 50 ? 20 : 10) {
        svg.append(make("path", { class: "grid", d: `M${L} ${py(tick)}H${W - R}` }),
          make("text", { x: L - 8, y: py(tick) + 4, class: "end" }, tick));
      }
      for (let power = Math.floor(low); power <= high; power += 1) {
        for (const step of W < 500 ? [1, 3] : [1, 2, 5]) {
          const value = step * 10 ** power;
          if (Math.log10(value) > low && Math.log10(value) < high) {
            svg.append(make("path", { class: "grid", d: `M${px(value)} ${T}V${H - B}` }),
              make("text", { x: px(value), y: H - B + 18, class: "middle" }, Number(value.toPrecision(1))));
          }
        }
      }
      svg.append(make("text", { x: (L + W) / 2, y: H - 6, class: "middle" },
        x.selectedOptions[0].text === "fps" ? "frames a second (log)" : "GB, peak (log)"));
      const devices = [...new Set(points.map((p) => p.device))];
      const named = new Set();
      devices.forEach((device, number) => {
        const ranked = points.filter((p) => p.device === device && !p.row.classList.contains("aside"));
        ranked.sort((a, b) => (cheap ? a.x - b.x : b.x - a.x) || b.y - a.y);
        const front = [];
        for (const p of ranked) if (!front.length || p.y > front.at(-1).y) front.push(p);
        front.forEach((p) => named.add(p));
        if (front.length > 1) {
          svg.append(make("polyline", { class: "front d" + number % 6, points: front.map((p) => `${px(p.x)},${py(p.y)}`).join(" ") }));
        }
      });
      const few = points.length <= 12;
      const taken = points.map((p) => [px(p.x) - 8, py(p.y) - 8, px(p.x) + 8, py(p.y) + 8]);  // left, top, right, bottom
      const place = (x, y, wide) => {  // the first box near a point that covers no point and no other name
        for (let away = 0; away <= 60; away += 6) {
          for (const [left, sign] of [[x + 11, 1], [x - 11 - wide, 1], [x + 11, -1], [x - 11 - wide, -1], [x - wide / 2, 1], [x - wide / 2, -1]]) {
            const top = y - 7 + sign * (away + (left === x - wide / 2 ? 17 : 0));
            const box = [left, top, left + wide, top + 14];
            if (left < L || box[2] > W || top < 0 || box[3] > H - B) continue;
            if (taken.some((other) => box[0] < other[2] && other[0] < box[2] && box[1] < other[3] && other[1] < box[3])) continue;
            taken.push(box);
            return box;
          }
        }
        return null;
      };
      for (const p of points.sort((a, b) => b.y - a.y)) {
        const group = make(p.row.dataset.e ? "a" : "g", p.row.dataset.e ? { href: `../entries/${p.row.dataset.e}.html` } : {});
        const dot = make("circle", { cx: px(p.x), cy: py(p.y), r: few ? 7 : 4,
          class: `d${devices.indexOf(p.device) % 6}${p.row.classList.contains("aside") ? " hollow" : ""}` });
        dot.append(make("title", {}, `${p.name}: ${p.y} at ${p.x}`));
        group.append(dot);
        if (few || (named.has(p) && named.size <= 16)) {
          const name = p.name.length > 26 ? p.name.slice(0, 25) + "…" : p.name;
          const box = place(px(p.x), py(p.y), 7 * name.length);
          if (box) group.append(make("text", { x: box[0], y: box[1] + 11 }, name));
        }
        svg.append(group);
      }
      figure.append(svg);
      const legend = Object.assign(document.createElement("p"), { className: "legend quiet" });
      devices.slice(0, 12).forEach((device, number) => {
        const mark = Object.assign(document.createElement("span"), { className: "d" + number % 6, textContent: "● " });
        legend.append(mark, (device || "device not named") + "   ");
      });
      figure.append(legend);
    };
    [x, y].forEach((select) => select.addEventListener("change", draw));
    document.addEventListener("filtered", draw);
    window.addEventListener("resize", draw);
    draw();
  }
}
