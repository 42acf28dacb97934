"use strict";
// Two Gaussians that can be dragged, the best D for them, one that Ganvas trained, and one of the reader's own.
{
  const at = (id) => document.getElementById(id);
  const VIEW = [-8, 8], LOG4 = Math.log(4);
  const GRID = lecture.recordings[0].grid.values, DX = GRID[1] - GRID[0];
  const SLIDERS = {
    mean_p: ["mean of p", -4, 4], std_p: ["deviation of p", 0.3, 2.5], mean_q: ["mean of q", -4, 4],
    std_q: ["deviation of q", 0.3, 2.5], slope: ["slope of your D", -4, 4], place: ["place of your D", -6, 6],
    look: ["moves of the trained D", 0, 0],
  };
  const values = { slope: -1, place: 0.5, ...lecture.recordings[0].parameters };
  const inputs = {};
  let run = lecture.recordings[0];

  // ---- mathematics -----------------------------------------------------------------------------------------------

  const logDensity = (x, mean, std) => -0.5 * ((x - mean) / std) ** 2 - Math.log(std) - 0.5 * Math.log(2 * Math.PI);
  const softplus = (d) => Math.max(d, 0) + Math.log1p(Math.exp(-Math.abs(d)));
  const sigmoid = (d) => 1 / (1 + Math.exp(-d));
  const p = (x) => Math.exp(logDensity(x, values.mean_p, values.std_p));
  const q = (x) => Math.exp(logDensity(x, values.mean_q, values.std_q));
  const best = (x) => logDensity(x, values.mean_p, values.std_p) - logDensity(x, values.mean_q, values.std_q);
  const yours = (x) => values.slope * (x - values.place);

  /** V of the D with these logits on the grid: the integral of p log D + q log(1 - D). */
  function value(logits) {
    let sum = 0;
    GRID.forEach((x, i) => (sum -= DX * (p(x) * softplus(-logits[i]) + q(x) * softplus(logits[i]))));
    return sum;
  }

  const logitsOf = (D) => Array.from(GRID, D);
  const trained = (look) => lecture.row(run.logits, look).values;

  // ---- drawing ---------------------------------------------------------------------------------------------------

  function paint() {
    const top = 1.15 * Math.max(p(values.mean_p), q(values.mean_q));
    const low = draw.plane(at("densities"), [...VIEW, 0, top], { ratio: 2.5, axes: ["x", "density"] });
    for (const [name, density] of [["real", p], ["fake", q]]) {
      const ys = GRID.map(density);
      low.area(GRID.subarray(80, 241), ys.subarray(80, 241), name);
      low.line(GRID.subarray(80, 241), ys.subarray(80, 241), name);
    }
    for (const [px, py, name] of handles(low)) {
      Object.assign(low.context, { fillStyle: draw.colour(name), strokeStyle: draw.colour("card"), lineWidth: 2 });
      low.context.beginPath();
      low.context.arc(px, py, 7, 0, 2 * Math.PI);
      low.context.fill();
      low.context.stroke();
    }
    low.text("p", values.mean_p, p(values.mean_p), { name: "real", align: "center", dy: -12 });
    low.text("q", values.mean_q, q(values.mean_q), { name: "fake", align: "center", dy: -12 });
    surface = low;
    const high = draw.plane(at("discriminators"), [...VIEW, 0, 1], { ratio: 2.5, axes: ["x", "D(x)"] });
    const view = GRID.subarray(80, 241);
    high.line(view, Array.from(view, (x) => sigmoid(yours(x))), "third", { dash: [3, 4] });
    if (run) high.line(view, Array.from(trained(values.look).subarray(80, 241), sigmoid), "mark", { width: 3 });
    high.line(view, Array.from(view, (x) => sigmoid(best(x))), "ink", { width: 1.5 });
    paintLearning();
  }

  function paintLearning() {
    const top = value(logitsOf(best));
    const steps = lecture.recordings[0].steps, places = steps.map((_, i) => i);
    const learnt = run ? places.map((look) => value(trained(look))) : places.map(() => NaN);
    const lows = learnt.filter(Number.isFinite), low = Math.min(-LOG4, ...lows) - 0.1;
    const chart = draw.plane(at("learning"), [0, steps.length - 1, low, Math.max(top, -LOG4) + 0.15], {
      ratio: 3, axes: ["moves of D", "V"], xTicks: steps.map((step, i) => [i, String(step)]),
    });
    chart.line([0, steps.length - 1], [top, top], "ink", { width: 1.5, dash: [6, 4] });
    chart.line(places, learnt, "mark", { width: 3 });
    if (run) chart.line([values.look, values.look], [low, top + 0.15], "soft", { width: 1, dash: [4, 3] });
  }

  let surface = null;

  /** The peak and the side of each density, in CSS pixels. */
  function handles(plane) {
    const side = (mean, std) => mean + std;
    return [
      [plane.x(values.mean_p), plane.y(p(values.mean_p)), "real"],
      [plane.x(side(values.mean_p, values.std_p)), plane.y(p(side(values.mean_p, values.std_p))), "real"],
      [plane.x(values.mean_q), plane.y(q(values.mean_q)), "fake"],
      [plane.x(side(values.mean_q, values.std_q)), plane.y(q(side(values.mean_q, values.std_q))), "fake"],
    ];
  }

  function moved(i, px) {
    const name = i < 2 ? "p" : "q", [x] = surface.inverse(px, 0);
    if (i % 2 === 0) set(`mean_${name}`, x);
    else set(`std_${name}`, x - values[`mean_${name}`]);
  }

  // ---- values ----------------------------------------------------------------------------------------------------

  /** Give a slider's quantity this value, rounded and within its bounds. */
  function set(name, x) {
    const [, low, high] = SLIDERS[name];
    values[name] = Math.min(high, Math.max(low, Math.round(10 * x) / 10));
    update();
  }

  /** Of the recorded runs the one whose densities are those on the screen, if there is one. */
  const matching = () => lecture.recordings.find((r) => Object.entries(r.parameters).every(([k, v]) => values[k] === v));

  function update() {
    run = matching() ?? null;
    for (const [name, { input, output }] of Object.entries(inputs)) {
      input.value = values[name];
      const shown = name === "look" ? lecture.recordings[0].steps[values.look] : values[name];
      output.textContent = lecture.format(shown);
      input.setAttribute("aria-valuetext", lecture.format(shown));
    }
    inputs.look.input.disabled = !run;
    const top = value(logitsOf(best));
    at("jsd").textContent = digits(Math.max(0, top + LOG4) / 2);
    at("best").textContent = digits(top);
    at("yours").textContent = digits(value(logitsOf(yours)));
    at("trained").textContent = run ? digits(value(trained(values.look))) : "–";
    at("moves").textContent = run ? `${run.steps[values.look]} moves` : "for pairs that were recorded";
    const mean = values.mean_p, command = (run ?? lecture.recordings[0]).command;
    const draws = `np.random.default_rng(0).normal(${mean}, ${values.std_p}, (20000, 1)).astype('float32')`;
    lecture.showCommand(`python -c "import numpy as np; np.save('p.npy', ${draws})"\n${command}`);
    for (const button of at("presets").children) button.setAttribute("aria-pressed", String(button.value === run?.title));
    at("train")?.toggleAttribute("disabled", Boolean(run));
    paint();
  }

  const digits = (x) => (Math.abs(x) < 5e-5 ? 0 : x).toFixed(4).replace("-", "−");

  // ---- controls --------------------------------------------------------------------------------------------------

  for (const [name, [label, low, high]] of Object.entries(SLIDERS)) {
    const isLook = name === "look", last = lecture.recordings[0].steps.length - 1;
    const input = lecture.element("input", { type: "range", min: low, max: isLook ? last : high, step: isLook ? 1 : 0.1 });
    const output = lecture.element("b"); // an <output> would take the label from the slider
    input.addEventListener("input", () => ((values[name] = Number(input.value)), update()));
    at("sliders").append(lecture.element("label", {}, lecture.element("span", {}, `${label} `, output), input));
    inputs[name] = { input, output };
  }
  values.look = Math.min(4, run.steps.length - 1);

  function addPreset(recording) {
    const button = lecture.element("button", { type: "button", value: recording.title }, recording.title);
    button.addEventListener("click", () => (Object.assign(values, recording.parameters), update()));
    at("presets").append(button);
  }

  lecture.recordings.forEach(addPreset);
  if (lecture.isLive) {
    const button = lecture.element("button", { type: "button", id: "train" }, "Train D on these");
    button.addEventListener("click", async () => {
      const { mean_p, std_p, mean_q, std_q } = values;
      at("say").textContent = "D is being trained …";
      try {
        const recording = await lecture.record({ mean_p, std_p, mean_q, std_q });
        lecture.recordings.push({ title: `p ${mean_p}, ${std_p}; q ${mean_q}, ${std_q}`, ...recording });
        at("say").textContent = "D is trained.";
      } catch (error) {
        at("say").textContent = error.message;
      }
      update();
    });
    at("say").before(button);
    at("live").remove(); // the sliders choose the values
  }
  draw.draggable(at("densities"), () => handles(surface), moved);
  update();
  draw.whenResized([at("densities"), at("learning")], paint);
}
