"use strict";
{
  const at = (id) => document.getElementById(id);
  const PLACE = { A: -1.6, B: 1.6 }; // where a domain's circle has its centre
  const runs = [...lecture.recordings];
  let way = "AB";

  /** The colour of mode i of n, which is told from its neighbours in either scheme. */
  const hue = (i, n) => `hsl(${Math.round((360 * i) / n)} 70% ${matchMedia("(prefers-color-scheme: dark)").matches ? 62 : 42}%)`;

  const centre = (i, n) => [Math.cos((2 * Math.PI * i) / n), Math.sin((2 * Math.PI * i) / n)];

  /** The mode whose centre is nearest to a point. */
  const modeOf = (x, y, n) => ((Math.round((Math.atan2(y, x) / (2 * Math.PI)) * n) % n) + n) % n;

  /** The points of an array that come from mode i of n, moved to a domain's place. */
  function part({ values }, i, n, domain) {
    const chosen = [];
    for (let k = i; 2 * k < values.length; k += n) chosen.push(values[2 * k] + PLACE[domain], values[2 * k + 1]);
    return { shape: [chosen.length / 2, 2], values: chosen };
  }

  // ---- what is on the screen -------------------------------------------------------------------------------------

  function paintBoard(canvas, run, look) {
    const board = draw.plane(canvas, [-3, 3, -1.5, 1.5], { ratio: 2 });
    const [source, target] = way, n = run.modes[source], m = run.modes[target], there = run.ways[way];
    for (const domain of ["A", "B"]) board.text(domain, PLACE[domain], 0, { align: "center", name: "soft", dy: 4 });
    board.points(part(run.known[target], 0, 1, target), "soft", 2, 0.35);
    for (let i = 0; i < n; i++) board.points(part(run.known[source], i, n, source), hue(i, n), 2.5, 0.8);
    if (!there) {
      board.text(`Nothing translates from ${source} to ${target}.`, 0, -1.4, { align: "center", name: "ink" });
      return;
    }
    const points = lecture.row(there.points, look);
    for (let i = 0; i < n; i++) {
      const landed = part(points, i, n, target), [count] = landed.shape, [x, y] = centre(i, n);
      const groups = Array.from({ length: m }, () => ({ size: 0, u: 0, v: 0 }));
      for (let k = 0; k < count; k++) {
        const [u, v] = landed.values.slice(2 * k, 2 * k + 2), group = groups[modeOf(u - PLACE[target], v, m)];
        Object.assign(group, { size: group.size + 1, u: group.u + u, v: group.v + v });
      }
      for (const { size, u, v } of groups.filter((group) => group.size >= 0.1 * count)) {
        board.line([x + PLACE[source], u / size], [y, v / size], hue(i, n), { width: (3 * size) / count + 0.5 });
      }
      board.points(landed, hue(i, n), 3.2, 0.95);
    }
  }

  /** A recorded number of the way that is shown, or a dash. */
  const cell = (run, key, look) => {
    const value = run.ways[way]?.[key][look];
    if (value === undefined) return "–";
    return key === "errors" ? value.toFixed(3) : `${value} of ${run.modes[way[1]]}`;
  };

  function show() {
    const step = longest().steps[looks.index()];
    at("caption").textContent = `${way[0]} to ${way[1]}, after step ${step.toLocaleString("en")}`;
    for (const button of at("ways").children) button.setAttribute("aria-pressed", String(button.value === way));
    runs.forEach((run, k) => {
      const here = run.steps.findLastIndex((s) => s <= step), row = at("table").tBodies[0].rows[k];
      paintBoard(at(`board-${k}`), run, here);
      ["reached", "shared", "errors"].forEach((key, i) => (row.cells[i + 1].textContent = cell(run, key, here)));
    });
  }

  function addRun(run, k) {
    const title = run.title;
    const canvas = lecture.element("canvas", { id: `board-${k}` });
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", `Where points land: ${title}`);
    at("boards").append(lecture.element("figure", {}, lecture.element("figcaption", {}, lecture.element("b", {}, title)), canvas));
    const cells = [0, 1, 2].map(() => lecture.element("td"));
    const head = lecture.element("th", { scope: "row" }, title);
    at("table").tBodies[0].append(lecture.element("tr", {}, head, ...cells));
    draw.whenResized([canvas], show);
  }

  /** The run with the most steps, whose looks the slider has; the others are shown as they were then. */
  const longest = () => runs.reduce((best, run) => (run.parameters.steps > best.parameters.steps ? run : best));

  /** The commands of all runs; what writes their points stands once. */
  const showCommands = () => lecture.showCommand([...new Set(runs.flatMap((run) => run.command.split("\n")))].join("\n"));

  runs.forEach(addRun);
  const looks = lecture.looks(show);
  looks.setSteps(longest().steps);
  for (const button of at("ways").children) button.addEventListener("click", () => ((way = button.value), show()));
  lecture.whenRecorded((run) => {
    runs.push(run);
    addRun(run, runs.length - 1);
    looks.setSteps(longest().steps);
    showCommands();
    show();
  });
  showCommands();
  show();
}
