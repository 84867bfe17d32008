"use strict";
(async () => {
  // Every colour of a figure on light paper, and the one that takes its place in the dark.
  const INKS = /*inks*/[];
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const coarse = matchMedia("(pointer: coarse)");
  let printing = false;

  const plots = [...document.querySelectorAll(".plot")];
  const described = new Map(
    plots.map((plot) => [plot, document.querySelector(`script[data-for="${plot.id}"]`).textContent]),
  );
  const drawn = new Set();
  const ranges = new Map(); // group → [from, to] of the time axis, null for all

  const figure = (plot) => {
    let text = described.get(plot);
    if (dark.matches && !printing) for (const [light, night] of INKS) text = text.replaceAll(`"${light}"`, `"${night}"`);
    return JSON.parse(text);
  };

  const draw = async (plot) => {
    const { data, layout } = figure(plot);
    layout.autosize = true;
    if (drawn.has(plot)) // another theme keeps the zoom
      for (const [name, axis] of Object.entries(plot._fullLayout))
        if (/^[xy]axis\d*$/.test(name) && !axis.autorange) Object.assign((layout[name] ??= {}), { range: axis.range });
    if (coarse.matches) layout.dragmode = false; // a finger that scrolls the page is not a zoom
    const options = {
      displaylogo: false, responsive: true, doubleClick: "reset", displayModeBar: coarse.matches || "hover",
      modeBarButtons: [["zoomIn2d", "zoomOut2d", "resetScale2d", "toImage"]],
      toImageButtonOptions: { format: "png", scale: 2, filename: plot.id },
    };
    await Plotly.react(plot, data, layout, options);
    if (drawn.has(plot)) return;
    drawn.add(plot);
    plot.dataset.drawn = "yes";
    if (!plot.dataset.group) return;
    plot.on("plotly_relayout", (change) => followed(plot, change));
    const range = ranges.get(plot.dataset.group);
    if (range) await shown(plot, range);
  };

  // Plots of one group look at the same time; their vertical axes fit what is left of it.
  const heights = (plot, range) => {
    const fits = {};
    const full = plot._fullLayout;
    for (const name of Object.keys(full).filter((key) => /^yaxis\d*$/.test(key) && !full[key].fixedrange)) {
      const id = name.replace("axis", "");
      let [low, high] = [Infinity, -Infinity];
      for (const points of plot.calcdata) {
        const trace = points[0]?.trace;
        if (!trace || trace.visible !== true || trace.yaxis !== id || trace.meta === "aside") continue;
        for (const point of points) {
          if (point.x < range[0] || point.x > range[1] || !Number.isFinite(point.y)) continue;
          [low, high] = [Math.min(low, point.y), Math.max(high, point.y)];
        }
      }
      if (high < low) continue;
      const room = (high - low || Math.abs(high) || 1) * 0.08;
      fits[`${name}.range`] = [full[name].rangemode === "tozero" ? 0 : low - room, high + room];
    }
    return fits;
  };
  let following = false;
  const shown = async (plot, range) => {
    const first = figure(plot).layout.xaxis.range; // where it was drawn from one end to the other
    const whole = first ? { "xaxis.range": first } : { "xaxis.autorange": true };
    for (const name of Object.keys(plot._fullLayout).filter((key) => /^yaxis\d*$/.test(key)))
      if (!plot._fullLayout[name].fixedrange) whole[`${name}.autorange`] = true;
    await Plotly.relayout(plot, range ? { "xaxis.range": range, ...heights(plot, range) } : whole);
  };
  const followed = async (plot, change) => {
    if (following || !Object.keys(change).some((key) => /^xaxis\d*\.(range|autorange)/.test(key))) return;
    following = true;
    const axis = plot._fullLayout.xaxis;
    const first = figure(plot).layout.xaxis.range;
    const all = change["xaxis.autorange"] || (first && String(first) === String(axis.range.map(axis.r2l)));
    const range = all ? null : axis.range.map(axis.r2l);
    ranges.set(plot.dataset.group, range);
    for (const other of plots)
      if (drawn.has(other) && other.dataset.group === plot.dataset.group) await shown(other, range);
    following = false;
  };

  document.addEventListener("keydown", (event) => {
    const plot = event.target.closest?.(".plot");
    const axis = drawn.has(plot) && plot._fullLayout.xaxis;
    if (!axis || event.ctrlKey || event.metaKey || event.altKey) return;
    const [from, to] = axis.range.map(axis.r2l);
    const width = to - from;
    const moves = {
      ArrowLeft: [from - 0.2 * width, to - 0.2 * width], ArrowRight: [from + 0.2 * width, to + 0.2 * width],
      "+": [from + 0.2 * width, to - 0.2 * width], "=": [from + 0.2 * width, to - 0.2 * width],
      "-": [from - width / 3, to + width / 3], 0: null, Escape: null,
    };
    if (!(event.key in moves) || (event.key === "Escape" && axis.autorange)) return;
    event.preventDefault();
    const range = moves[event.key];
    if (range) Plotly.relayout(plot, { "xaxis.range": range.map(axis.l2r) });
    else shown(plot, null);
  });

  // A link to something folded opens it.
  const unfold = () => {
    for (let at = document.getElementById(decodeURIComponent(location.hash.slice(1))); at; at = at.parentElement)
      if (at.tagName === "DETAILS") at.open = true;
  };
  addEventListener("hashchange", unfold);
  unfold();

  const links = new Map([...document.querySelectorAll(".contents a")].map((a) => [a.hash.slice(1), a]));
  const parts = [...document.querySelectorAll(".part")];
  const inSight = new Set();
  const reading = new IntersectionObserver((entries) => {
    for (const { target, isIntersecting } of entries) inSight[isIntersecting ? "add" : "delete"](target);
    const current = parts.find((part) => inSight.has(part));
    for (const [id, link] of links)
      if (id === current?.id) link.setAttribute("aria-current", "true");
      else link.removeAttribute("aria-current");
  }, { rootMargin: "-5% 0px -45% 0px" });
  for (const part of parts) reading.observe(part);

  if (!plots.length) return;
  const packed = Uint8Array.from(atob(document.getElementById("plotly").textContent), (c) => c.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
  const script = document.createElement("script");
  script.textContent = await new Response(stream).text();
  document.head.append(script);

  // A plot is drawn when it comes near: what is folded or far below costs nothing.
  const near = new IntersectionObserver((entries) => {
    for (const entry of entries)
      if (entry.isIntersecting) {
        near.unobserve(entry.target);
        draw(entry.target);
      }
  }, { rootMargin: "800px 0px" });
  for (const plot of plots) near.observe(plot);

  const again = () => Promise.all([...drawn].map(draw));
  dark.addEventListener("change", again);
  addEventListener("beforeprint", () => { printing = true; plots.forEach((plot) => plot.checkVisibility() && draw(plot)); });
  addEventListener("afterprint", () => { printing = false; again(); });
})();
