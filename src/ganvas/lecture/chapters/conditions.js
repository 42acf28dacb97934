"use strict";
{
  const at = (id) => document.getElementById(id);
  let run = lecture.recordings[0];
  let asked = 0;

  // ---- classes ---------------------------------------------------------------------------------------------------

  /** The points of one class of a player, of all its classes at this look. */
  const pointsOf = (player, look, c) => lecture.row(lecture.row(player.points, look), c);

  /** The centre nearest to a point, and whether the point is near it. */
  function nearest(x, y) {
    const { shape, values } = run.centres;
    let [best, least] = [0, Infinity];
    for (let i = 0; i < shape[0]; i++) {
      const far = Math.hypot(values[2 * i] - x, values[2 * i + 1] - y);
      if (far < least) [best, least] = [i, far];
    }
    return { mode: best, isNear: least < run.near };
  }

  /** For each mode the number of points near it. */
  function count({ values }) {
    const counts = new Array(run.centres.shape[0]).fill(0);
    for (let i = 0; i < values.length; i += 2) {
      const { mode, isNear } = nearest(values[i], values[i + 1]);
      if (isNear) counts[mode] += 1;
    }
    return counts;
  }

  function showPlayers() {
    const look = looks.index(), classes = run.centres.shape[0];
    run.players.forEach((player, k) => {
      const w = 1.3 * Math.max(...run.centres.values), board = draw.plane(at(`player-${k}`), [-1.5 * w, 1.5 * w, -w, w], { ratio: 1.5 });
      board.points(run.centres, "real", 9, 0.4);
      for (let c = 0; c < classes; c++) board.points(pointsOf(player, look, c), "fake", 3, k || c === asked ? 0.9 : 0.15);
      const [x, y] = run.centres.values.slice(2 * asked, 2 * asked + 2);
      const ring = Array.from({ length: 49 }, (_, i) => (i / 48) * 2 * Math.PI);
      board.line(ring.map((t) => x + 0.1 * w * Math.cos(t)), ring.map((t) => y + 0.1 * w * Math.sin(t)), "mark", { width: 2.5 });
      const all = lecture.row(player.points, look), shown = k ? all : pointsOf(player, look, asked);
      const counts = count(shown), n = shown.values.length / 2, reached = count(all).filter(Boolean).length;
      const near = Math.round((100 * counts[asked]) / n);
      at(`said-${k}`).textContent = `${near}% of ${k ? "all its" : "the"} points are in class ${asked}; ${reached} of ${classes} modes are reached`;
    });
    for (const button of at("classes").children) button.setAttribute("aria-pressed", String(Number(button.value) === asked));
  }

  function makeClasses() {
    at("classes").replaceChildren(...Array.from({ length: run.centres.shape[0] }, (_, c) => {
      const button = lecture.element("button", { type: "button", value: c }, String(c));
      button.setAttribute("aria-label", `class ${c}`);
      button.addEventListener("click", () => ((asked = c), showPlayers()));
      return button;
    }));
  }

  // ---- distances -------------------------------------------------------------------------------------------------

  const normal = (x, mean) => Math.exp(-0.5 * ((x - mean) / run.deviation) ** 2) / (run.deviation * Math.sqrt(2 * Math.PI));
  const STEP = 0.02, AXIS = Array.from({ length: 401 }, (_, i) => -4 + i * STEP);

  /** The Jensen-Shannon divergence of the two densities at distance d, in nats. */
  function jsd(d) {
    let sum = 0;
    for (const x of AXIS) {
      const p = normal(x, -d / 2), q = normal(x, d / 2), m = (p + q) / 2;
      if (p > 0) sum += 0.5 * STEP * p * Math.log(p / m);
      if (q > 0) sum += 0.5 * STEP * q * Math.log(q / m);
    }
    return sum;
  }

  const jsdGradient = (d) => (d === 0 ? 0 : 2 * (jsd(d + 0.01) - jsd(d - 0.01)) / 0.02); // of the minimax loss

  /** The index of the recorded distance nearest to d. */
  const nearestDistance = (d) => run.distances.reduce((best, e, i) => (Math.abs(e - d) < Math.abs(run.distances[best] - d) ? i : best), 0);

  const FEW = Array.from({ length: 81 }, (_, i) => i / 20), EXACT = { jsd: FEW.map(jsd), gradient: FEW.map(jsdGradient) };
  const digits = (x) => (Math.abs(x) < 5e-4 ? 0 : x).toFixed(3).replace("-", "−");
  let surface = null;

  function paintPair(d, i) {
    const low = (surface = draw.plane(at("densities"), [-4, 4, 0, 1], { ratio: 2.5, axes: ["x", "density"] }));
    for (const [name, mean, text] of [["real", -d / 2, "p"], ["fake", d / 2, "q"]]) {
      const ys = AXIS.map((x) => normal(x, mean));
      low.area(AXIS, ys, name);
      low.line(AXIS, ys, name);
      low.points({ shape: [1, 2], values: [mean, normal(0, 0)] }, name, 7, 1);
      low.text(text, mean, normal(0, 0), { name, align: "center", dy: -10, dx: text === "p" ? -8 : 8 });
    }
    const high = draw.plane(at("judges"), [-4, 4, -8, 8], { ratio: 2.5, axes: ["x", "output"] });
    const middle = ({ values }) => Array.from(values, (v) => Math.max(-8, Math.min(8, v - values[(values.length - 1) / 2])));
    high.line([-4, 4], [4, -4], "ink", { width: 1.5 });
    high.line(run.grid.values, middle(run.judges.gan[i].values), "mark", { width: 3 });
    high.line(run.grid.values, middle(run.judges.wgangp[i].values), "third", { width: 3, dash: [7, 4] });
  }

  function paintCurves(d) {
    const figures = [["distances", EXACT.jsd, FEW, "estimate", "distance", 4.5], ["gradients", EXACT.gradient, FEW.map(() => 1), "gradient", "gradient", 1.6]];
    for (const [id, js, w, key, axis, top] of figures) {
      const chart = draw.plane(at(id), [0, 4.1, key === "gradient" ? -0.2 : 0, top], { ratio: 1.5, axes: ["d", axis] });
      chart.line([d, d], [0, top], "soft", { width: 1, dash: [4, 3] });
      chart.line(FEW, js, "mark", { width: 2.5 });
      chart.line(FEW, w, "third", { width: 2.5, dash: [7, 4] });
      for (const [name, colour] of [["gan", "mark"], ["wgangp", "third"]]) {
        run.judges[name].forEach((judge, i) => chart.points({ shape: [1, 2], values: [run.distances[i], judge[key]] }, colour, 5, 1));
      }
    }
  }

  function showDistance() {
    const d = Number(at("distance").value), i = nearestDistance(d), near = run.distances[i];
    at("d").textContent = d.toFixed(1);
    at("caption").textContent = `Exact at d = ${d.toFixed(1)}, trained at d = ${near}`;
    const exact = { jsd: [jsd(d), jsdGradient(d)], w: [d, 1] };
    for (const [name, [distance, gradient]] of Object.entries(exact)) {
      at(name).textContent = digits(distance);
      at(`${name}-gradient`).textContent = name === "w" && d === 0 ? "–" : digits(gradient);
    }
    for (const name of Object.keys(run.judges)) {
      const judge = run.judges[name][i];
      at(name).textContent = digits(judge.estimate);
      at(`${name}-gradient`).textContent = digits(judge.gradient);
    }
    const clipped = run.judges.wgan[i];
    at("verdict").textContent = `WGAN's critic is at most ${lecture.format(clipped.slope)} steep: its estimate over that, ${digits(clipped.estimate / clipped.slope)}, is at most W₁.`;
    paintPair(d, i);
    paintCurves(d);
    const draws = `np.random.default_rng(0).normal(${-near / 2}, ${run.deviation}, (${run.examples}, 1)).astype('float32')`;
    const commands = Object.values(run.judges).map((judges) => judges[i].command);
    lecture.showCommand([run.command, `python -c "import numpy as np; np.save('p.npy', ${draws})"`, ...commands].join("\n"));
  }

  const looks = lecture.looks(showPlayers);

  // ---- controls --------------------------------------------------------------------------------------------------

  function setRun(chosen) {
    run = chosen;
    asked = 0;
    looks.setSteps(run.players[0].steps);
    makeClasses();
    paint();
  }

  function paint() {
    showPlayers();
    showDistance();
  }

  at("distance").addEventListener("input", showDistance);
  draw.draggable(at("densities"), () => [-1, 1].map((side) => [surface.x((side * at("distance").value) / 2), surface.y(normal(0, 0))]), (i, px) => {
    const [x] = surface.inverse(px, 0);
    at("distance").value = Math.max(0, (i ? 2 : -2) * x);
    showDistance();
  });
  lecture.whenRecorded(setRun);
  setRun(run);
  draw.whenResized([at("player-0"), at("densities"), at("distances")], paint);
}
