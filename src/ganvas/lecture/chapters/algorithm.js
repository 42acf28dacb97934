"use strict";
// Two runs side by side at the same step, and the line of the model's file that runs.
{
  const PACE = { line: 450, move: 450, step: 300 }; // milliseconds
  const PAIRS = {
    "Minimax beside non-saturating": ["D far ahead, non-saturating", "D far ahead, minimax"],
    "k = 1 and 3": ["non-saturating", "k = 3"],
    "Mode collapse, and packing": ["slow D", "slow D, packs of 4"],
    "Packing": ["non-saturating", "packs of 4"],
    "Relativistic loss": ["non-saturating", "relativistic"],
    "Gradient penalty": ["non-saturating", "penalty R1"],
    "Relativistic, R1 and R2": ["non-saturating", "relativistic, R1 and R2"],
  }; // the titles of two recordings each
  const at = (id) => document.getElementById(id);
  const planes = [at("plane-0"), at("plane-1")];
  const runs = lecture.recordings;
  runs.forEach(prepare);
  const shown = [runs[0], runs[Math.min(1, runs.length - 1)]];
  let place = 0; // index of the left run's event
  let timer = null;

  /** Events as objects, and the indices at which recorded steps begin. */
  function prepare(run) {
    run.steps = run.events.map(([step, line, field, points, pull, move], i) => ({ step, line, field, points, pull, move, i }));
    run.starts = run.steps.filter((e, i) => i === 0 || run.steps[i - 1].line === 0).map((e) => e.i);
    const norms = [];
    for (let i = 0; i < run.pulls.values.length; i += 2) norms.push(Math.hypot(run.pulls.values[i], run.pulls.values[i + 1]));
    run.pullScale = quantile(norms, 0.98) || 1;
  }

  function quantile(values, q) {
    const sorted = values.toSorted((a, b) => a - b);
    return sorted[Math.floor(q * (sorted.length - 1))];
  }

  /** The start of the recorded step to which event i belongs. */
  const startOf = (run, i) => run.starts.findLast((start) => start <= i);

  /** The event of another run that goes with an event of the left one: of the same step, at the same line. */
  function counterpart(run, event) {
    const left = shown[0], inStep = event.i - startOf(left, event.i);
    const step = left.steps[startOf(left, event.i)].step;
    const start = run.starts.findLast((s) => run.steps[s].step <= step) ?? 0;
    const end = run.steps.findIndex((e) => e.i >= start && e.line === 0);
    const group = run.steps.slice(start, end + 1);
    const before = left.steps.slice(startOf(left, event.i), event.i + 1).filter((e) => e.line === event.line).length;
    const same = group.filter((e) => e.line === event.line);
    return same[Math.min(before, same.length) - 1] ?? group[Math.min(inStep, group.length - 1)];
  }

  // ---- what is on the screen -------------------------------------------------------------------------------------

  function show() {
    const event = shown[0].steps[place];
    showLine(event);
    paint();
    const step = startOf(shown[0], place);
    at("position").value = shown[0].starts.indexOf(step);
    at("position").setAttribute("aria-valuetext", `step ${shown[0].steps[step].step + 1}`);
    shown.forEach((run, k) => (at(`numbers-${k}`).textContent = numbers(run, event)));
  }

  function showLine(event) {
    for (const line of at("source").children) {
      const isHere = Number(line.dataset.line) === event.line;
      line.classList.toggle("here", isHere);
      if (isHere) line.setAttribute("aria-current", "step");
      else line.removeAttribute("aria-current");
    }
    at("now").setAttribute("aria-live", timer ? "off" : "polite");
    at("now").textContent = describe(event);
  }

  function describe({ step, line, move }) {
    const total = shown[0].parameters.steps.toLocaleString("en");
    if (line === 0) return `Step ${step.toLocaleString("en")} of ${total} is done.`;
    const where = `Step ${(step + 1).toLocaleString("en")} of ${total}, line ${line}`;
    if (!move) return `${where} runs next.`;
    const terms = Object.entries(move.terms).map(([name, value]) => `${name} ${lecture.format(value)}`).join(" + ");
    return `${where} yields a move: ${move.network} descends ${terms}.`;
  }

  /** What the curves say of a run at a step. */
  function numbers(run, event) {
    const { curves } = run, i = Math.max(0, curves.step.findLastIndex((s) => s <= event.step));
    const gradient = `|∇G| ${lecture.format(curves.gradient[i])}`;
    const parts = [`${curves.modes[i]} of ${run.modes} modes`, gradient, `D's loss ${lecture.format(lossOf(curves)[i])}`];
    return parts.map((part) => part.replaceAll(" ", "\u00a0")).join(", "); // no line ends within a part
  }

  const lossOf = ({ pairs, real, fake }) => pairs ?? real.map((value, i) => value + fake[i]);

  function paint() {
    planes.forEach((canvas, k) => {
      const run = shown[k], event = k ? counterpart(run, shown[0].steps[place]) : shown[0].steps[place];
      const w = run.half_width, board = draw.plane(canvas, [-w, w, -w, w]);
      board.field(lecture.row(run.fields, event.field));
      const radius = Math.max(2, board.width / 130);
      board.points(run.real, "real", radius / 2, 0.45);
      const points = lecture.row(run.points, event.points);
      board.arrows(points, lecture.row(run.pulls, event.pull), "ink", (0.25 * w) / run.pullScale);
      board.points(points, "fake", radius, 0.95);
    });
  }

  function paintCurves() {
    const colours = ["mark", "fake"], step = shown[0].steps[place].step;
    const series = (values) => shown.map((run, k) => ({ xs: run.curves.step, ys: values(run.curves), colour: colours[k], dash: k ? [6, 4] : [] }));
    const options = (y, more = {}) => ({ axes: ["step", y], mark: step, ...more });
    draw.chart(at("gradient"), series((c) => c.gradient), options("norm", { logY: true }));
    draw.chart(at("loss"), series(lossOf), options("loss"));
    draw.chart(at("modes"), series((c) => c.modes), options("modes", { range: [0, Math.max(...shown.map((run) => run.modes))] }));
  }

  // ---- going on --------------------------------------------------------------------------------------------------

  /** Move to the next or the last line, move, or step; false at the end. */
  function go(unit, by) {
    const { steps, starts } = shown[0];
    if (unit === "start") place = 0;
    else if (unit === "line") place += by;
    else if (unit === "move") place = steps.findIndex((e) => e.i > place && steps[e.i - 1].move);
    else place = starts[starts.indexOf(startOf(shown[0], place)) + 1] ?? steps.length;
    const isEnd = place < 0 || place >= steps.length;
    place = isEnd ? (by > 0 ? steps.length - 1 : 0) : place;
    show();
    paintCurves();
    return !isEnd;
  }

  function play(isPlaying) {
    clearInterval(timer);
    const pace = at("pace").value;
    if (isPlaying && place >= shown[0].steps.length - 1) place = 0;
    timer = isPlaying ? setInterval(() => go(pace, 1) || play(false), PACE[pace]) : null;
    at("play").textContent = isPlaying ? "Pause" : "Play";
    at("play").setAttribute("aria-pressed", String(isPlaying));
    at("now").setAttribute("aria-live", isPlaying ? "off" : "polite");
  }

  function onKey(event) {
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    const isControl = event.target.matches("select, input");
    const action = {
      ArrowRight: () => go("line", 1), ArrowLeft: () => go("line", -1), m: () => go("move", 1), s: () => go("step", 1),
      " ": () => play(timer === null),
    }[event.key];
    if (!action || isControl || (event.key === " " && event.target.matches("button"))) return;
    event.preventDefault();
    if (event.key !== " ") play(false);
    action();
  }

  // ---- which runs ------------------------------------------------------------------------------------------------

  function setRuns(left, right) {
    const step = shown[0].steps[startOf(shown[0], place)].step;
    [left, right].forEach((run, k) => run && (shown[k] = run));
    const run = shown[0];
    place = run.starts.findLast((start) => run.steps[start].step <= step) ?? 0;
    shown.forEach((one, k) => (at(`run-${k}`).value = String(runs.indexOf(one))));
    for (const button of at("pairs").children) {
      button.setAttribute("aria-pressed", String(PAIRS[button.textContent].every((title, k) => title === shown[k].title)));
    }
    at("position").max = run.starts.length - 1;
    const { file, first, lines } = run.source;
    at("file").textContent = `src/ganvas/${file}`;
    at("source").replaceChildren(...lines.map((text, i) => sourceLine(first + i, text)));
    at("modes-caption").textContent = `Modes of ${run.modes} that have one of 512 of G's points within ${run.near}`;
    lecture.showCommand([...new Set(shown.map((one) => one.command))].join("\n"));
    show();
    paintCurves();
  }

  function sourceLine(number, text) {
    const line = lecture.element("span", {}, lecture.element("i", {}, String(number)), text.slice(4) + "\n");
    line.dataset.line = number;
    return line;
  }

  function addRun(run) {
    prepare(run);
    [0, 1].forEach((k) => at(`run-${k}`).append(new Option(run.title, String(runs.indexOf(run)))));
    setRuns(null, run);
  }

  for (const [name, titles] of Object.entries(PAIRS)) {
    const pair = titles.map((title) => runs.find((run) => run.title === title));
    if (!pair.every(Boolean)) continue;
    const button = lecture.element("button", { type: "button" }, name);
    button.addEventListener("click", () => setRuns(...pair));
    at("pairs").append(button);
  }
  for (const k of [0, 1]) {
    runs.forEach((run, i) => at(`run-${k}`).append(new Option(run.title, String(i))));
    at(`run-${k}`).addEventListener("change", (event) => setRuns(...[0, 1].map((j) => (j === k ? runs[event.target.value] : null))));
  }
  for (const button of document.querySelectorAll("[data-go]")) {
    button.addEventListener("click", () => (play(false), go(button.dataset.go, Number(button.dataset.by))));
  }
  at("play").addEventListener("click", () => play(timer === null));
  at("pace").addEventListener("change", () => timer && play(true));
  at("position").addEventListener("input", (event) => {
    play(false);
    place = shown[0].starts[event.target.value];
    show();
    paintCurves();
  });
  at("player").addEventListener("keydown", onKey);
  lecture.whenRecorded(addRun);
  setRuns(...shown);
  draw.whenResized([...planes, at("gradient")], () => (paint(), paintCurves()));
}
