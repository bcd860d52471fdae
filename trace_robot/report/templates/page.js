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
    return data.paths[document.getElementById("path").value][box.dataset.path];
  }

  async function draw(box) {
    const style = getComputedStyle(document.documentElement);
    const coloured = (key, value) =>
      /color$/.test(key) && typeof value === "string" && value.startsWith("--") ? style.getPropertyValue(value) : value;
    const { data: traces, layout } = JSON.parse(JSON.stringify(figure(box)), coloured);
    const axis = document.querySelector("input[name=axis]:checked");
    if (axis && box.dataset.figure) {
      for (const trace of traces) trace.x = trace.axes[axis.value];
      const few = axis.value === "iteration" && Math.max(...traces.map((trace) => trace.x.length)) < 12;
      Object.assign(layout.xaxis, { title: { text: data.axes[axis.value] } }, few ? { dtick: 1 } : {});
    }
    const first = !drawn.has(box);
    drawn.add(box);
    await Plotly.react(box, traces, layout, options);
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
  const await_sight = () => all("[data-figure], [data-path]").filter((box) => !drawn.has(box)).forEach((box) => seen.observe(box));
  const redraw = (which) => [...drawn].filter((box) => box.isConnected && box.matches(which)).forEach(draw);

  // Iterations

  async function fill(details) {
    const number = details.dataset.body;
    delete details.dataset.body;
    const bytes = data.bodies[number] && Uint8Array.from(atob(data.bodies[number]), (letter) => letter.charCodeAt(0));
    const html = bytes
      ? await new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"))).text()
      : await (await fetch(`iteration/${number}`)).text();
    details.insertAdjacentHTML("beforeend", html);
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
    redraw("*");
    await_sight();
  }

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
      for (const same of all(`input[value="${input.value}"]`, part)) same.checked = true;
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
