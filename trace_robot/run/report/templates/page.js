"use strict";
// Glue: draws the plots with plotly when they come into view, unpacks iterations when they are opened, and, where the
// page is served, takes over what has changed. All text was escaped where the page was made.
(() => {
  const all = (what, where = document) => [...where.querySelectorAll(what)];
  let data = JSON.parse(document.getElementById("data").textContent);
  const options = { responsive: true, displaylogo: false, modeBarButtonsToRemove: ["lasso2d", "select2d"] };
  const drawn = new Set();

  const longest = (traces) => Math.max(...traces.map((trace) => trace.x.at(-1) ?? 0));

  function figure(box) {
    if (box.dataset.figure) return data.figures[box.dataset.figure];
    return data.paths[document.getElementById("path").value][box.dataset.path];
  }

  function draw(box) {
    const style = getComputedStyle(document.documentElement);
    const coloured = (key, value) =>
      /color$/.test(key) && typeof value === "string" && value.startsWith("--") ? style.getPropertyValue(value) : value;
    const { data: traces, layout } = JSON.parse(JSON.stringify(figure(box)), coloured);
    const axis = document.querySelector("input[name=axis]:checked");
    if (axis && box.dataset.figure) {
      traces.forEach((trace) => { trace.x = trace.axes[axis.value]; });
      layout.xaxis = { ...layout.xaxis, title: { text: data.axes[axis.value] }, dtick: axis.value === "iteration" && longest(traces) < 12 ? 1 : undefined };
    }
    drawn.add(box);
    return Plotly.react(box, traces, layout, options).then(() => box.on && !box.opens && (box.opens = box.on("plotly_click", follow)));
  }

  function follow({ points: [point] }) {
    if (typeof point.customdata === "number") location.hash = `iteration-${point.customdata}`;
  }

  async function fill(details) {
    const number = details.dataset.body;
    delete details.dataset.body;
    const packed = data.bodies[number];
    const source = packed
      ? new Blob([Uint8Array.from(atob(packed), (c) => c.charCodeAt(0))]).stream().pipeThrough(new DecompressionStream("gzip"))
      : (await fetch(`iteration/${number}`)).body;
    details.insertAdjacentHTML("beforeend", await new Response(source).text());
  }

  function reveal() {
    const target = /^#iteration-\d+$/.test(location.hash) && document.querySelector(location.hash);
    for (let at = target; at; at = at.parentElement) if (at.tagName === "DETAILS") at.open = true;
    if (target) target.scrollIntoView();
  }

  const seen = new IntersectionObserver((entries) => entries.filter((e) => e.isIntersecting).forEach((e) => {
    seen.unobserve(e.target);
    draw(e.target);
  }), { rootMargin: "300px" });

  function start() {
    all("[data-figure], [data-path]").filter((box) => !drawn.has(box)).forEach((box) => seen.observe(box));
  }
  const redraw = (which) => [...drawn].filter((box) => box.isConnected && box.matches(which)).forEach(draw);

  document.addEventListener("toggle", (e) => e.target.dataset.body && e.target.open && fill(e.target), true);
  document.addEventListener("change", (e) => {
    if (e.target.name === "axis") redraw("[data-figure]");
    if (e.target.id === "path") redraw("[data-path]");
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => redraw("*"));
  window.addEventListener("hashchange", reveal);
  start();
  reveal();
})();
