"use strict";
// The list of runs: sorted by a column, filtered by words, and the curves of those that are chosen in one plot.
(() => {
  const all = (what) => [...document.querySelectorAll(what)];
  const script = document.currentScript;
  const field = document.getElementById("filter");
  const overlay = document.getElementById("overlay");
  const colors = ["--best", "--object", "--third", "--good", "--other", "--bad", "--muted"];
  const dashes = { solid: "", dash: "9 6", dot: "2 5" };
  let order = { column: "started", down: true };
  let asked = 0;

  const words = (column) => ["run", "task", "optimizer", "state"].includes(column);

  // Below zero if the one comes first. What is not known comes last, and a rate is not compared with a return.
  function compared(one, other, column, sign) {
    const [first, second] = [one, other].map((row) => row.dataset[column] ?? "");
    if (words(column)) return sign * first.localeCompare(second);
    if (!first || !second) return Number(!first) - Number(!second);
    const scores = ["start", "best", "held"].includes(column);
    if (scores && one.dataset.measure !== other.dataset.measure) return one.dataset.measure === "success" ? -1 : 1;
    return sign * (Number(first) - Number(second));
  }

  function arrange() {
    const body = document.querySelector("table.runs tbody");
    if (!body) return;
    const wanted = field.value.toLowerCase().split(/\s+/).filter(Boolean);
    const rows = all("table.runs tbody tr");
    const sign = order.down ? -1 : 1;
    rows.sort((one, other) => compared(one, other, order.column, sign));
    let shown = 0;
    for (const row of rows) {
      const text = row.dataset.text.toLowerCase();
      row.hidden = !wanted.every((word) => text.includes(word));
      shown += !row.hidden;
    }
    if (rows.some((row, index) => body.children[index] !== row)) body.append(...rows);
    document.getElementById("shown").textContent = shown === rows.length ? `${shown} runs` : `${shown} of ${rows.length} runs`;
    for (const button of all("[data-sort]")) {
      const mine = button.dataset.sort === order.column;
      button.dataset.order = mine ? (order.down ? "down" : "up") : "";
      button.setAttribute("aria-pressed", String(mine));
    }
    for (const head of all("table.runs th")) {
      const mine = head.querySelector("[data-sort][aria-pressed=true]");
      if (mine) head.setAttribute("aria-sort", order.down ? "descending" : "ascending");
      else head.removeAttribute("aria-sort");
    }
  }

  function plotly() { // 4.8 MB, only for those who compare
    return window.Plotly ? Promise.resolve() : new Promise((done, failed) => {
      const tag = Object.assign(document.createElement("script"), { src: overlay.dataset.plotly, nonce: script.nonce });
      tag.onload = done;
      tag.onerror = failed;
      document.head.append(tag);
    });
  }

  // Names of runs above the plot, which has no room for many. Their texts are not trusted.
  function show_keys(looks) {
    document.getElementById("keys").replaceChildren(...looks.map(({ name, href, color, dash }) => {
      const key = document.createElement("li");
      key.innerHTML = `<svg viewBox="0 0 30 8" aria-hidden="true"><path d="M0 4H30" stroke="var(${color})" stroke-width="3" stroke-dasharray="${dashes[dash]}"/></svg>`;
      key.append(Object.assign(document.createElement("a"), { href, textContent: name }));
      return key;
    }));
  }

  async function compare() {
    const chosen = all("input[name=run]:checked").map((box) => box.closest("tr").querySelector("td.name a"));
    const bar = document.getElementById("chosen");
    overlay.hidden = bar.hidden = !chosen.length;
    bar.querySelector("a").textContent = `curves of ${chosen.length} chosen`;
    const turn = ++asked;
    if (overlay.hidden) return;
    const curves = async ({ href }) => (await fetch(`${href}curves`)).json();
    const fetched = await Promise.all([plotly(), ...chosen.map((link) => curves(link).catch(() => ({})))]);
    if (turn !== asked) return; // another choice was made meanwhile
    const looks = chosen.map(({ textContent: name, href }, index) => ({
      name, href, color: colors[index % colors.length],
      dash: Object.keys(dashes)[Math.floor(index / colors.length) % 3],
    }));
    show_keys(looks);
    const figures = {};
    for (const kind of ["success", "return"]) {
      const traces = fetched.slice(1).flatMap((run, index) => (run[kind] ? [{ ...run[kind], line: {
        ...run[kind].line, color: looks[index].color, dash: looks[index].dash,
      } }] : []));
      const layout = fetched.slice(1).find((run) => run.layout)?.layout;
      if (layout) figures[kind] = { data: traces, layout: { ...layout, showlegend: false, margin: { ...layout.margin, b: 44 } } };
    }
    document.dispatchEvent(new CustomEvent("figures", { detail: figures }));
  }

  document.addEventListener("click", ({ target }) => {
    if (target.id === "unchoose") {
      for (const box of all("input[name=run]:checked")) box.checked = false;
      field.focus();
      compare();
    }
    const button = target.closest("[data-sort]");
    if (!button) return;
    const column = button.dataset.sort;
    // Text begins with A, numbers and dates with the largest.
    const down = !words(column);
    order = { column, down: order.column === column ? !order.down : down };
    arrange();
  });
  field.addEventListener("input", arrange);
  document.addEventListener("change", ({ target }) => { if (target.name === "run") compare(); });
  document.addEventListener("followed", () => { arrange(); compare(); });
  arrange();
  compare();
})();
