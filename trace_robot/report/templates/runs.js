"use strict";
// The list of runs: sorted by a column, filtered by words, and the curves of those that are chosen in one plot.
(() => {
  const all = (what) => [...document.querySelectorAll(what)];
  const script = document.currentScript;
  const field = document.getElementById("filter");
  const overlay = document.getElementById("overlay");
  const colors = ["--best", "--object", "--third", "--good", "--other", "--bad", "--muted"];
  const dashes = ["solid", "dash", "dot"];
  let order = { column: "started", down: true };
  let asked = 0;

  function value(row, column) {
    const text = row.dataset[column] ?? "";
    if (["run", "task", "optimizer", "state"].includes(column)) return text;
    return text === "" ? -Infinity : Number(text);
  }

  function arrange() {
    const body = document.querySelector("table.runs tbody");
    if (!body) return;
    const wanted = field.value.toLowerCase().split(/\s+/).filter(Boolean);
    const rows = all("table.runs tbody tr");
    const sign = order.down ? -1 : 1;
    rows.sort((one, other) => {
      const [first, second] = [value(one, order.column), value(other, order.column)];
      return sign * (typeof first === "string" ? first.localeCompare(second) : first < second ? -1 : Number(first > second));
    });
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
  }

  function plotly() { // 4.8 MB, only for those who compare
    return window.Plotly ? Promise.resolve() : new Promise((done, failed) => {
      const tag = Object.assign(document.createElement("script"), { src: overlay.dataset.plotly, nonce: script.nonce });
      tag.onload = done;
      tag.onerror = failed;
      document.head.append(tag);
    });
  }

  async function compare() {
    const chosen = all("input[name=run]:checked").map((box) => box.value);
    overlay.hidden = !chosen.length;
    const turn = ++asked;
    if (overlay.hidden) return;
    const fetched = await Promise.all([plotly(), ...chosen.map(async (name) => (await fetch(`/run/${encodeURIComponent(name)}/curves`)).json())]);
    if (turn !== asked) return; // another choice was made meanwhile
    const figures = {};
    for (const kind of ["success", "return"]) {
      const runs = fetched.slice(1).filter((run) => run[kind]);
      const traces = runs.map((run, index) => {
        const look = { color: colors[index % colors.length], dash: dashes[Math.floor(index / colors.length) % dashes.length] };
        return { ...run[kind], line: { ...run[kind].line, ...look } };
      });
      figures[kind] = { data: traces, layout: { ...fetched[1].layout, showlegend: true } };
    }
    document.dispatchEvent(new CustomEvent("figures", { detail: figures }));
  }

  document.addEventListener("click", ({ target }) => {
    const button = target.closest("[data-sort]");
    if (!button) return;
    const column = button.dataset.sort;
    // Text begins with A, numbers and dates with the largest.
    const down = !["run", "task", "optimizer", "state"].includes(column);
    order = { column, down: order.column === column ? !order.down : down };
    arrange();
  });
  field.addEventListener("input", arrange);
  document.addEventListener("change", ({ target }) => { if (target.name === "run") compare(); });
  document.addEventListener("followed", () => { arrange(); compare(); });
  arrange();
  compare();
})();
