// Panels of curves on one time axis, as SVG of the size that it is shown in.
import { element } from "./studio.js";

const LEFT = 56, RIGHT = 12, TOP = 10, HEIGHT = 190, LANE = 24, BOTTOM = 26;
const COLORS = 8;

/** An SVG element. */
function svg(tag, attributes = {}, ...children) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

/** A number in few characters. */
export function short(value) {
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size >= 1e6 || size < 1e-3) return value.toExponential(2).replace("e+", "e").replace(/\.?0+e/, "e");
  return size >= 1e4 ? Math.round(value).toLocaleString("en") : String(Number(value.toPrecision(4)));
}

/** Round numbers from low to high, about so many. */
function ticks(low, high, count) {
  const rough = (high - low) / Math.max(count, 1) || 1;
  const power = 10 ** Math.floor(Math.log10(rough));
  const size = [1, 2, 5, 10].map((m) => m * power).find((s) => s >= rough * 0.999);
  const marks = [];
  for (let i = Math.ceil(low / size - 1e-9); i * size <= high + size * 1e-9; i++) marks.push(Number((i * size).toPrecision(12)));
  return marks;
}

/** Powers of ten from low to high, at most seven, and where there are few 2 and 5 times these. */
function logTicks(low, high) {
  const first = Math.floor(Math.log10(low)), last = Math.ceil(Math.log10(high));
  const every = Math.max(1, Math.ceil((last - first) / 6)), marks = [];
  for (let e = first; e <= last; e += every) marks.push(...(last - first > 2 ? [1] : [1, 2, 5]).map((m) => m * 10 ** e));
  return marks.filter((mark) => mark >= low * 0.999 && mark <= high * 1.001);
}

/** The index of the number nearest to x in a sorted list. */
function nearest(xs, x) {
  let low = 0, high = xs.length - 1;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (xs[middle] < x) low = middle;
    else high = middle;
  }
  return high > 0 && xs[high] - x < x - xs[low] ? high : Math.max(low, 0);
}

/**
 * Charts in an element.  `show(panels, lanes)` draws panels {name, series: [{name, points: [{step, seconds, value}],
 * off}]} and lanes {name, alarm, spans: [[step, step]]}; `mark(step)` points at a step.
 */
export function makeCharts(root, label) {
  const switched = new Map(), logarithmic = new Set();
  let panels = [], lanes = [], axis = "step", cursor = null, mark = null, grid = [], times = [], drawnWidth = 0;
  const body = element("div", { class: "panels", tabindex: "0", role: "group", "aria-label": `${label}: the arrow keys move along them` });
  const readout = element("p", { class: "readout", "aria-live": "polite" });
  const choose = element("select", { onchange: () => { axis = choose.value; cursor = null; draw(); } },
    element("option", { value: "step" }, "steps"), element("option", { value: "seconds" }, "seconds"));
  root.append(element("div", { class: "tools" }, element("label", {}, "Axis ", choose), readout), body);

  const isOn = (panel, series) => switched.get(`${panel.name}/${series.name}`) ?? !series.off;
  const color = (series, i) => `var(--c${(series.color ?? i) % COLORS})`;

  /** A step as a place on the axis, by the seconds of the lines around it. */
  function place(step) {
    if (axis === "step" || !times.length) return step;
    const i = nearest(times.map((time) => time.step), step);
    return times[i].seconds;
  }

  function draw() {
    drawnWidth = body.clientWidth;
    const width = Math.max(drawnWidth, 220), inner = width - LEFT - RIGHT;
    const all = panels.flatMap((panel) => panel.series.flatMap((series) => series.points));
    times = [...new Map(all.map((p) => [p.step, p])).values()].sort((a, b) => a.step - b.step);
    grid = [...new Set(all.map((p) => p[axis]))].sort((a, b) => a - b);
    const low = 0, ends = axis === "step" ? lanes.map((lane) => lane.spans.at(-1)[1]) : [];
    const high = Math.max(grid.at(-1) ?? 0, ...ends) || 1;
    const x = (value) => LEFT + ((value - low) / (high - low)) * inner;
    const marks = ticks(low, high, Math.min(8, inner / 90));
    const { term, log } = body.contains(document.activeElement) ? document.activeElement.dataset : {};
    const drawings = panels.map((panel) => drawPanel(panel, width, x, marks));
    body.replaceChildren(...drawings, ...(lanes.length ? [drawLanes(width, x)] : []), drawAxis(width, x, marks));
    if (term) body.querySelector(`[data-term="${CSS.escape(term)}"]`)?.focus(); // where it was, as a run goes on
    if (log) body.querySelector(`[data-log="${CSS.escape(log)}"]`)?.focus();
    body.onpointermove = (event) => {
      if (!(event.target instanceof SVGElement) || !grid.length) return;
      const left = event.target.closest("svg.plot")?.getBoundingClientRect().left;
      if (left !== undefined) point(nearest(grid, low + ((event.clientX - left - LEFT) / inner) * (high - low)));
    };
    showCursor(x);
    body.showCursor = () => showCursor(x);
  }

  function drawPanel(panel, width, x, marks) {
    const isLog = logarithmic.has(panel.name), visible = panel.series.filter((series) => isOn(panel, series));
    const fits = (value) => Number.isFinite(value) && (!isLog || value > 0);
    const values = visible.flatMap((series) => series.points.map((p) => p.value)).filter(fits);
    let low = Infinity, high = -Infinity;
    for (const value of values) { low = Math.min(low, value); high = Math.max(high, value); }
    if (!values.length) [low, high] = isLog ? [1, 10] : [0, 1];
    if (low === high) [low, high] = isLog ? [low / 2, high * 2] : [low - Math.abs(low || 1) / 2, high + Math.abs(high || 1) / 2];
    const scale = isLog ? Math.log10 : (v) => v;
    const y = (v) => TOP + (1 - (scale(v) - scale(low)) / (scale(high) - scale(low))) * (HEIGHT - 2 * TOP);
    const picture = svg("svg", { class: "plot", width, height: HEIGHT, "aria-hidden": "true" });
    for (const mark of isLog ? logTicks(low, high) : ticks(low, high, 4)) {
      picture.append(svg("line", { class: "grid", x1: LEFT, x2: width - RIGHT, y1: y(mark), y2: y(mark) }),
        svg("text", { x: LEFT - 6, y: y(mark) + 4, "text-anchor": "end" }, short(mark)));
    }
    for (const mark of marks) picture.append(svg("line", { class: "grid", x1: x(mark), x2: x(mark), y1: TOP, y2: HEIGHT - TOP }));
    panel.series.forEach((series, i) => {
      if (!isOn(panel, series)) return;
      let path = "", before = Infinity;
      for (const p of series.points) {
        if (!fits(p.value)) { before = Infinity; continue; }
        path += `${p[axis] >= before ? "L" : "M"}${x(p[axis]).toFixed(1)} ${y(p.value).toFixed(1)}`; // a run may go back
        before = p[axis];
      }
      const style = `--color: ${color(series, i)}`;
      picture.append(svg("path", { d: path, style }));
      const places = series.points.filter((p) => fits(p.value));
      for (const p of places.length < 30 ? places : []) {
        picture.append(svg("circle", { class: "dot", cx: x(p[axis]), cy: y(p.value), r: 2.5, style }));
      }
    });
    const negative = isLog && visible.some((series) => series.points.some((p) => p.value <= 0));
    const toggle = element("input", { type: "checkbox", checked: isLog, onchange: ({ target }) => {
      if (target.checked) logarithmic.add(panel.name);
      else logarithmic.delete(panel.name);
      draw();
    }, "data-log": panel.name });
    const legend = panel.series.map((series, i) => element("button", {
      type: "button", class: "term", "aria-pressed": String(isOn(panel, series)), style: `--color: ${color(series, i)}`,
      "data-term": `${panel.name}/${series.name}`,
      onclick: () => {
        switched.set(`${panel.name}/${series.name}`, !isOn(panel, series));
        draw();
      },
    }, element("i", { "aria-hidden": "true" }), `${series.name} `, element("b", {}, "")));
    const note = negative ? [element("small", {}, "a logarithmic axis shows no numbers below zero")] : [];
    return element("section", { class: "panel", "aria-label": panel.name },
      element("div", { class: "legend" }, element("h3", {}, panel.name), ...legend, element("label", {}, toggle, " log"), ...note), picture);
  }

  function drawLanes(width, x) {
    const picture = svg("svg", { class: "plot lanes", width, height: lanes.length * LANE + 4, "aria-hidden": "true" });
    lanes.forEach((lane, i) => {
      for (const [first, last] of lane.spans) {
        const left = x(place(first)), right = Math.max(x(place(last)), left + 4);
        picture.append(svg("rect", { class: lane.alarm ? "alarm" : "", x: left, width: right - left, y: i * LANE + 3, height: LANE - 6, rx: 3 },
          svg("title", {}, `${lane.name}: steps ${first} to ${last}`)));
      }
      const start = Math.min(x(place(lane.spans[0][0])) + 6, width - RIGHT - 7 * lane.name.length);
      picture.append(svg("text", { class: "lane", x: Math.max(start, LEFT), y: i * LANE + LANE / 2 + 4 }, lane.name));
    });
    return picture;
  }

  function drawAxis(width, x, marks) {
    const picture = svg("svg", { class: "plot axis", width, height: BOTTOM, "aria-hidden": "true" });
    for (const mark of marks) picture.append(svg("text", { x: x(mark), y: 14, "text-anchor": "middle" }, short(mark)));
    picture.append(svg("text", { class: "unit", x: 2, y: 14 }, axis === "step" ? "step" : "seconds"));
    return picture;
  }

  /** The cursor and the mark in every plot, and the values under the cursor, or else the last ones, in the legends. */
  function showCursor(x) {
    body.querySelectorAll(".cursor, .mark").forEach((line) => line.remove());
    for (const plot of body.querySelectorAll("svg.plot:not(.axis)")) {
      const add = (name, at) => plot.append(svg("line", { class: name, x1: x(at), x2: x(at), y1: 0, y2: plot.getAttribute("height") }));
      if (mark !== null && grid.length) add("mark", place(mark));
      if (cursor !== null) add("cursor", grid[cursor]);
    }
    const texts = [];
    panels.forEach((panel, i) => panel.series.forEach((series, j) => {
      const at = cursor === null ? Infinity : grid[cursor];
      const last = series.points.findLast((p) => p[axis] <= at && p.value !== null);
      const text = last ? short(last.value) : "";
      body.querySelectorAll(".panel")[i].querySelectorAll(".term b")[j].textContent = text;
      if (text && isOn(panel, series)) texts.push(`${series.name} ${text}`);
    }));
    readout.textContent = cursor === null ? "" : `${axis === "step" ? "step" : "second"} ${short(grid[cursor])}`;
    body.setAttribute("aria-description", cursor === null ? "" : `${readout.textContent}: ${texts.join(", ")}`);
  }

  function point(i) {
    cursor = i;
    body.showCursor?.();
  }

  body.addEventListener("pointerleave", () => point(null));
  body.addEventListener("keydown", (event) => {
    if (event.target !== body || !grid.length) return;
    const last = grid.length - 1, now = cursor ?? last;
    const page = Math.max(1, Math.round(last / 20));
    const to = { ArrowLeft: now - 1, ArrowRight: now + 1, PageUp: now - page, PageDown: now + page, Home: 0, End: last, Escape: null }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    point(to === null ? null : Math.min(Math.max(to, 0), last));
  });
  new ResizeObserver(() => { if (body.clientWidth !== drawnWidth) draw(); }).observe(body);

  return {
    show(newPanels, newLanes = []) {
      const at = cursor === null ? null : grid[cursor];
      [panels, lanes, cursor] = [newPanels, newLanes, null];
      draw();
      if (at !== null && grid.length) point(nearest(grid, at));
    },
    mark(step) {
      mark = step;
      body.showCursor?.();
    },
  };
}

/** Panels of a run's lines, as the server sends them. */
export function panelsOf(lines) {
  const panels = new Map();
  for (const { step, seconds, groups } of lines) {
    for (const [group, values] of Object.entries(groups)) {
      if (!panels.has(group)) panels.set(group, new Map());
      const series = panels.get(group);
      for (const [name, value] of Object.entries(values)) {
        if (!series.has(name)) series.set(name, []);
        series.get(name).push({ step, seconds, value });
      }
    }
  }
  const first = { Codes: ["active_units", "dead_units"], Game: ["accuracy_real", "accuracy_fake"] };
  const order = ["Losses", "Samples", "Estimates", "Codes", "Game", "Schedule"];
  return [...panels].sort(([a], [b]) => order.indexOf(a) - order.indexOf(b)).map(([name, series]) => ({
    name,
    // figures of other units are there to be switched on
    series: [...series].map(([term, points], i) => ({
      name: term, points, off: name in first ? !first[name].includes(term) : name !== "Losses" && i > 0,
    })),
  }));
}
