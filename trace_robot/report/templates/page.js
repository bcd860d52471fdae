"use strict";
// Glue: draws the plots with plotly when they come into view, unpacks iterations when they are opened, and, where the
// page is served, takes over what has changed. All text was escaped where the page was made.
(() => {
  const all = (what, where = document) => [...where.querySelectorAll(what)];
  const read = (page) => JSON.parse(page.getElementById("data").textContent);
  const options = { responsive: true, displaylogo: false, modeBarButtonsToRemove: ["lasso2d", "select2d"] };
  const drawn = new Set();
  let data = read(document);

  // Plots

  function figure(box) {
    if (box.dataset.figure) return data.figures[box.dataset.figure];
    const path = data.paths[document.getElementById("path").value][box.dataset.path];
    if (box.dataset.path !== "space" || has_webgl()) return path;
    all("[data-projected]").forEach((note) => { note.hidden = false; });
    return projected(path);
  }

  let webgl = null;
  function has_webgl() {
    webgl ??= !!document.createElement("canvas").getContext("webgl");
    return webgl;
  }

  // The figure in space without WebGL: an orthographic projection along the same line of sight, with the edges of the
  // box that bounds everything.
  function projected({ data: traces, layout }) {
    const { x: a, y: b, z: c } = layout.scene.camera.eye;
    const flat = Math.hypot(a, b), far = Math.hypot(a, b, c);
    const right = [-b / flat, a / flat, 0], up = [-a * c / flat / far, -b * c / flat / far, flat / far];
    const along = (axis, point) => axis[0] * point[0] + axis[1] * point[1] + axis[2] * point[2];
    const points = traces.flatMap(({ x, y, z }) => x.map((each, index) => [each, y[index], z[index]]));
    const ends = [0, 1, 2].map((axis) => points.map((point) => point[axis]));
    const low = ends.map((each) => Math.min(...each)), high = ends.map((each) => Math.max(...each));
    const corner = [low[0], high[1], low[2]];
    const edges = ["x", "y", "z"].map((name, axis) => {
      const end = corner.map((each, other) => (other !== axis ? each : axis === 1 ? low[1] : high[axis]));
      const both = [corner, end];
      return {
        type: "scatter", mode: "lines+text", hoverinfo: "skip", showlegend: false,
        x: both.map((point) => along(right, point)), y: both.map((point) => along(up, point)),
        text: ["", `${name} ${low[axis].toFixed(2)} to ${high[axis].toFixed(2)} m`],
        textposition: axis === 2 ? "top center" : axis ? "bottom center" : "bottom right", cliponaxis: false,
        textfont: { color: "--muted", size: 11 }, line: { color: "--grid", width: 1.5 },
      };
    });
    const drawn = traces.map(({ x, y, z, line, marker, ...rest }) => ({
      ...rest, type: "scatter", hoverinfo: "name",
      x: x.map((each, index) => along(right, [each, y[index], z[index]])),
      y: x.map((each, index) => along(up, [each, y[index], z[index]])),
      ...(line && { line: { ...line, width: 2.5 } }), ...(marker && { marker: { ...marker, size: 2 * marker.size } }),
    }));
    const { scene, ...kept } = layout;
    const axis = { visible: false };
    return { data: [...edges, ...drawn], layout: {
      ...kept, xaxis: axis, yaxis: { ...axis, scaleanchor: "x", scaleratio: 1 }, margin: { l: 40, r: 60, t: 40, b: 50 },
    } };
  }

  async function draw(box) {
    const style = getComputedStyle(document.documentElement);
    const coloured = (key, value) =>
      /color$/.test(key) && typeof value === "string" && value.startsWith("--") ? style.getPropertyValue(value) : value;
    const { data: traces, layout } = JSON.parse(JSON.stringify(figure(box)), coloured);
    const axis = document.querySelector("input[name=axis]:checked");
    if (axis && box.dataset.figure) {
      for (const trace of traces) trace.x = trace.axes[axis.value];
      const few = axis.value === "iteration" && Math.max(...traces.flatMap((trace) => trace.x)) < 12;
      Object.assign(layout.xaxis, { title: { text: data.axes[axis.value] } }, few ? { dtick: 1 } : {});
    }
    const first = !drawn.has(box);
    drawn.add(box);
    await Plotly.react(box, traces, layout, options);
    // On a phone a legend has several lines, for which the axis and its title make room.
    const room = (box.querySelector(".legend")?.getBBox().height ?? 0) + 48;
    if (layout.xaxis?.title && layout.showlegend !== false && room > layout.margin.b) await Plotly.relayout(box, { "margin.b": room });
    if (first) box.on("plotly_click", ({ points: [point] }) => {
      if (typeof point.customdata === "number") location.hash = `iteration-${point.customdata}`;
    });
  }

  let queue = Promise.resolve(); // one plot a frame, so that the first is there before the second is begun
  const seen = new IntersectionObserver((entries) => {
    for (const entry of entries.filter((each) => each.isIntersecting)) {
      seen.unobserve(entry.target);
      queue = queue.then(() => draw(entry.target)).catch(console.error).then(() => new Promise(requestAnimationFrame));
    }
  }, { rootMargin: "100px" });
  const is_known = (box) => !box.dataset.figure || data.figures[box.dataset.figure];
  const await_sight = () => all("[data-figure], [data-path]").filter((box) => !drawn.has(box) && is_known(box)).forEach((box) => seen.observe(box));
  const redraw = (which) => [...drawn].filter((box) => box.isConnected && box.matches(which) && is_known(box)).forEach(draw);

  // Iterations

  async function fill(details) {
    const number = details.dataset.body;
    delete details.dataset.body;
    const bytes = data.bodies[number] && Uint8Array.from(atob(data.bodies[number]), (letter) => letter.charCodeAt(0));
    try {
      const answer = bytes
        ? new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip")))
        : await fetch(`iteration/${number}`);
      if (!answer.ok) throw new Error(await answer.text()); // which is no HTML
      details.insertAdjacentHTML("beforeend", await answer.text());
      details.querySelector(".unread")?.remove();
    } catch (error) {
      details.dataset.body = number; // for the next time that it is opened
      const note = details.querySelector(".unread") ?? details.appendChild(document.createElement("p"));
      note.className = "body problem unread";
      note.textContent = `This cannot be shown now; close it and open it again. ${error.message}`;
    }
  }

  function reveal() {
    const target = /^#iteration-\d+$/.test(location.hash) && document.querySelector(location.hash);
    for (let at = target; at; at = at.parentElement) if (at.tagName === "DETAILS") at.open = true;
    if (target) target.scrollIntoView();
  }

  // A page that is served follows its run: parts that differ are replaced; what is open, drawn or playing is kept.

  const parts = (page) => all("header, nav, main > section", page);
  const sources = new Map(parts(document).map((part) => [part.id, part.innerHTML]));

  async function follow() {
    const { version } = await (await fetch("state")).json();
    if (version === data.live) return;
    const page = new DOMParser().parseFromString(await (await fetch(location.pathname)).text(), "text/html");
    data = read(page);
    let before = null;
    for (const next of parts(page)) {
      const part = document.importNode(next, true);
      const old = document.getElementById(part.id);
      if (!old) before?.closest("main") ? before.after(part) : document.querySelector("main").prepend(part);
      else if (sources.get(part.id) !== part.innerHTML) take_over(old, part);
      sources.set(part.id, next.innerHTML);
      before = document.getElementById(part.id);
    }
    document.dispatchEvent(new Event("followed"));
    redraw("*");
    await_sight();
  }

  // Figures that come later, of runs that are chosen in the list.
  document.addEventListener("figures", ({ detail }) => {
    Object.assign(data.figures, detail);
    redraw("[data-figure]");
    await_sight();
  });

  function take_over(old, part) {
    const focus = old.contains(document.activeElement) && document.activeElement.id;
    for (const kept of all("[data-digest], [data-figure], [data-path], video", old)) {
      const name = ["data-digest", "data-figure", "data-path", "src"].find((each) => kept.hasAttribute(each));
      const places = all(`[${name}]`, part).filter((each) => each.id === kept.id);
      const place = places.find((each) => each.getAttribute(name) === kept.getAttribute(name));
      if (place) place.replaceWith(kept);
      else if (kept.open && places.length) places[0].open = true;
    }
    for (const input of all("input:checked", old)) {
      for (const same of all(`input[value="${CSS.escape(input.value)}"]`, part)) same.checked = true;
    }
    old.replaceWith(part);
    if (focus) document.getElementById(focus)?.focus();
  }

  // Words of a person for the running run. The token, and a header that no form of another site can send, go with them.

  async function send_words(form) {
    const note = form.querySelector("output");
    const headers = { "Content-Type": "application/json", "X-Token": data.token };
    try {
      const body = JSON.stringify({ words: form.elements.words.value });
      const answer = await fetch("words", { method: "POST", headers, body });
      note.textContent = await answer.text();
      if (answer.ok) form.reset();
    } catch {
      note.textContent = "The server does not answer; the sentence was not sent.";
    }
  }

  async function keep_following() {
    try {
      if (!document.hidden) await follow();
      all(".lost").forEach((note) => note.remove());
    } catch {
      if (!document.querySelector(".lost")) document.body.insertAdjacentHTML("beforeend", '<p class="lost" role="status">The server does not answer; what is shown may be old.</p>');
    }
    setTimeout(keep_following, 1000);
  }

  document.addEventListener("toggle", ({ target }) => target.open && target.dataset.body && fill(target), true);
  document.addEventListener("submit", (event) => {
    event.preventDefault();
    if (event.target.id === "words-form") send_words(event.target);
  });
  document.addEventListener("change", ({ target }) => {
    if (target.name === "axis") redraw("[data-figure]");
    if (target.id === "path") redraw("[data-path]");
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => redraw("*"));
  addEventListener("hashchange", reveal);
  all("details[open][data-body]").forEach(fill);  // opened before this script was there
  await_sight();
  reveal();
  if (data.live) keep_following();
})();
