"use strict";
{
  const DRAWS = 4000, LINES = [1, 2, 3, 4, 5], LOG_2PI = Math.log(2 * Math.PI);
  const byId = (id) => document.getElementById(id);
  const canvases = ["plane", "densities", "losses"].map(byId);
  const sliders = { x0: byId("slider-x0"), x1: byId("slider-x1"), mu: byId("slider-mu"), sigma: byId("slider-sigma") };
  const state = { i: 0, j: 0, mu: 0, sigma: 1, seed: 1 };
  let run = null, zs = null, step = 0, canvas = null, posterior = null;

  // ---- densities, in nats --------------------------------------------------------------------------------------

  const logNormal = (z, mu = 0, sigma = 1) => -0.5 * (((z - mu) / sigma) ** 2 + LOG_2PI) - Math.log(sigma);
  const closedKl = (mu, sigma) => 0.5 * (mu * mu + sigma * sigma - 1) - Math.log(sigma);
  const coordinate = (i) => -run.plane + (2 * run.plane * i) / (run.side - 1);
  const x = () => [coordinate(state.i), coordinate(state.j)];

  /** |x - g|^2 at a place of the curve, or between two of them. */
  function squaredError(z) {
    const at = Math.max(0, Math.min(zs.length - 1.001, (z + run.reach) / step)), k = Math.floor(at), part = at - k;
    return x().reduce((sum, u, d) => {
      const g = run.curve.values[2 * k + d] * (1 - part) + run.curve.values[2 * k + 2 + d] * part;
      return sum + (u - g) ** 2;
    }, 0);
  }

  const logLikelihood = (error) => -error / (2 * run.parameters.sigma ** 2) - 2 * Math.log(run.parameters.sigma) - LOG_2PI;

  /** log p(x|z) at all places, log p(x), and log p(z|x), for the x that is chosen. */
  function computePosterior() {
    const errors = zs.map(squaredError), joint = errors.map((e, k) => logLikelihood(e) + logNormal(zs[k]));
    const top = Math.max(...joint), logEvidence = top + Math.log(step * joint.reduce((sum, v) => sum + Math.exp(v - top), 0));
    posterior = { errors, logEvidence, logDensity: joint.map((v) => v - logEvidence) };
  }

  // ---- the lines -----------------------------------------------------------------------------------------------

  /**
   * What stands under E_q in a line, at z: `error` is |x - g(z)|^2, `logDensity` log p(z|x).  The terms that are no
   * mean over q are in it as well.
   */
  function integrand(line, z, error, logDensity, mu, sigma) {
    const logQ = logNormal(z, mu, sigma), logP = logNormal(z), { logEvidence } = posterior, s = run.parameters.sigma;
    switch (line) {
      case 1: return logQ - logDensity;
      case 2: return logQ - logLikelihood(error) - logP + logEvidence;
      case 3: return -logLikelihood(error) + (logQ - logP) + logEvidence;
      case 4: return -logLikelihood(error) + closedKl(mu, sigma) + logEvidence;
      default: return error / (2 * s * s) + 2 * Math.log(s) + LOG_2PI + closedKl(mu, sigma) + logEvidence;
    }
  }

  /** The line as a sum over the places of z. */
  function quadrature(line, mu, sigma) {
    const { errors, logDensity } = posterior;
    return zs.reduce((sum, z, k) => {
      const q = Math.exp(logNormal(z, mu, sigma));
      return q > 0 ? sum + q * step * integrand(line, z, errors[k], logDensity[k], mu, sigma) : sum;
    }, 0);
  }

  /** The line as the mean over samples of q, and its standard error. */
  function monteCarlo(line, mu, sigma) {
    const random = generator(1000 * state.seed + line);
    let sum = 0, squares = 0;
    for (let n = 0; n < DRAWS; n++) {
      const z = mu + sigma * Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
      const error = squaredError(z), logDensity = logLikelihood(error) + logNormal(z) - posterior.logEvidence;
      const value = integrand(line, z, error, logDensity, mu, sigma);
      sum += value;
      squares += value * value;
    }
    const mean = sum / DRAWS;
    return { mean, error: Math.sqrt(Math.max(0, squares / DRAWS - mean * mean) / DRAWS) };
  }

  /** Numbers between 0 and 1 that follow from a seed (mulberry32). */
  function generator(seed) {
    let a = seed >>> 0;
    return () => {
      a = (a + 0x6d2b79f5) | 0;
      let t = Math.imul(a ^ (a >>> 15), 1 | a);
      t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
      return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
    };
  }

  /** The q of the least KL(q || p(z|x)): the best of a coarse lattice, then ever smaller steps from there. */
  function bestQ() {
    const value = (mu, sigma) => quadrature(4, mu, sigma);
    let best = { mu: 0, sigma: 1, kl: Infinity };
    const attempt = (mu, sigma) => {
      if (sigma < 0.05 || sigma > 1.2 || Math.abs(mu) > 3) return;
      const kl = value(mu, sigma);
      if (kl < best.kl) best = { mu, sigma, kl };
    };
    for (let mu = -3; mu <= 3; mu += 0.25) for (const sigma of [0.1, 0.2, 0.4, 0.8]) attempt(mu, sigma);
    for (let size = 0.16; size > 0.004; size /= 2) {
      for (let before = Infinity; best.kl < before; ) {
        before = best.kl;
        for (const [a, b] of [[1, 0], [-1, 0], [0, 1], [0, -1]]) attempt(best.mu + a * size, best.sigma + b * size);
      }
    }
    return best;
  }

  // ---- what is shown -------------------------------------------------------------------------------------------

  const digits = (v, n = 4) => v.toFixed(n).replace("-", "−");

  function fillTable() {
    const { mu, sigma } = state, sums = LINES.map((line) => quadrature(line, mu, sigma));
    const draws = LINES.map((line) => monteCarlo(line, mu, sigma));
    LINES.forEach((line, k) => {
      byId(`sum${line}`).textContent = digits(sums[k]);
      byId(`draw${line}`).textContent = `${digits(draws[k].mean, 3)} ± ${digits(draws[k].error, 3)}`;
    });
    const spread = Math.max(...sums) - Math.min(...sums);
    const far = Math.max(...draws.map(({ mean, error }) => Math.abs(mean - sums[0]) / Math.max(error, 1e-12)));
    const agree = spread < 1e-6 && far < 5; // by chance so far once in a million draws
    const power = String(Math.max(-16, Math.ceil(Math.log10(spread)))).replace(/./g, (c) => "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"["-0123456789".indexOf(c)]);
    byId("verdict").textContent = `${agree ? "All five lines agree" : "The lines do not agree"}: ` +
      `the sums differ by less than 10${power}, and the means of samples are at most ${far.toFixed(1)} standard errors from ` +
      `them. Here log p(x) = ${digits(posterior.logEvidence)}.`;
  }

  function fillOwn() {
    const at = state.i * run.side + state.j, [mu, sigma] = [run.mean.values[at], run.scale.values[at]];
    const own = run.nll.values[at] + run.kl.values[at], error = run.nll_error.values[at];
    const here = quadrature(4, mu, sigma) - posterior.logEvidence;
    byId("own").textContent = `The encoder answers this x with μ = ${digits(mu, 2)}, σ = ${digits(sigma, 2)}. There Ganvas's own loss, from ` +
      `${run.draws} samples, is ${digits(own, 3)} ± ${digits(error, 3)} (KL ${digits(run.kl.values[at], 3)}); the sum over z gives ` +
      `${digits(here, 3)} (KL ${digits(closedKl(mu, sigma), 3)}).`;
  }

  function paintPlane() {
    const reach = run.plane * 1.03;
    canvas = draw.plane(canvases[0], [-reach, reach, -reach, reach]);
    canvas.points(run.examples, "soft", 2.5, 0.6);
    const column = (d) => zs.map((_, k) => run.curve.values[2 * k + d]);
    canvas.line(column(0), column(1), "real", { width: 1.5 });
    const isNear = zs.map((z) => Math.abs(z - state.mu) < 2 * state.sigma);
    canvas.line(column(0), column(1).map((v, k) => (isNear[k] ? v : NaN)), "fake", { width: 6 });
    const [a, b] = x(), { context } = canvas;
    context.strokeStyle = draw.colour("ink");
    context.lineWidth = 3;
    context.beginPath();
    context.arc(canvas.x(a), canvas.y(b), 9, 0, 2 * Math.PI);
    context.stroke();
  }

  function paintDensities() {
    const shown = zs.map((z, k) => k).filter((k) => Math.abs(zs[k]) <= 4), axis = shown.map((k) => zs[k]);
    const p = axis.map((z) => Math.exp(logNormal(z))), q = axis.map((z) => Math.exp(logNormal(z, state.mu, state.sigma)));
    const after = shown.map((k) => Math.exp(posterior.logDensity[k])), top = 1.08 * Math.max(...p, ...q, ...after);
    const at = draw.plane(canvases[1], [-4, 4, 0, top], { ratio: 1.5, axes: ["z", "density"] });
    at.area(axis, after, "real");
    at.line(axis, p, "soft", { dash: [5, 4] });
    at.line(axis, after, "real");
    at.line(axis, q, "fake");
  }

  function paintLosses() {
    const mus = Array.from({ length: 61 }, (_, k) => -3 + k / 10), { logEvidence } = posterior;
    const kl = mus.map((mu) => quadrature(4, mu, state.sigma)), loss = kl.map((v) => v - logEvidence);
    const low = Math.min(0, -logEvidence, ...kl, ...loss), high = Math.min(Math.max(...kl, ...loss), low + 40);
    const at = draw.plane(canvases[2], [-3, 3, low - 1, high + 1], { ratio: 2.2, axes: ["μ", "nats"] });
    const cut = (v) => (v > high + 1 ? NaN : v);
    at.line([-3, 3], [-logEvidence, -logEvidence], "soft", { dash: [5, 4], width: 1.5 });
    at.line(mus, loss.map(cut), "fake");
    at.line(mus, kl.map(cut), "real");
    const now = quadrature(4, state.mu, state.sigma), point = (v) => ({ shape: [1, 2], values: [state.mu, v] });
    if (now - logEvidence < high + 1) at.points(point(now - logEvidence), "fake", 5, 1);
    if (now < high + 1) at.points(point(now), "real", 5, 1);
    byId("distance").textContent = `At this q: loss ${digits(now - logEvidence, 3)}, KL(q ‖ p(z|x)) ${digits(now, 3)}, ` +
      `loss − KL = ${digits(-logEvidence, 3)} = −log p(x).`;
  }

  function paint() {
    paintPlane();
    paintDensities();
    paintLosses();
  }

  function show() {
    const [a, b] = x(), { i, j, mu, sigma } = state;
    for (const [name, value] of Object.entries({ x0: i, x1: j, mu, sigma })) sliders[name].value = value;
    for (const [name, value] of Object.entries({ x0: a, x1: b, mu, sigma })) byId(name).textContent = digits(value, 2);
    sliders.x0.setAttribute("aria-valuetext", digits(a, 2));
    sliders.x1.setAttribute("aria-valuetext", digits(b, 2));
    computePosterior();
    fillTable();
    fillOwn();
    paint();
  }

  const change = (values) => {
    Object.assign(state, values);
    show();
  };

  /** The q that the encoder returns for the x that is chosen. */
  const encoded = () => {
    const at = state.i * run.side + state.j;
    return { mu: run.mean.values[at], sigma: Math.max(0.05, run.scale.values[at]) };
  };

  lecture.choose((chosen) => {
    run = chosen;
    const n = run.curve.shape[0];
    step = (2 * run.reach) / (n - 1);
    zs = Array.from({ length: n }, (_, k) => -run.reach + k * step);
    for (const name of ["x0", "x1"]) sliders[name].max = run.side - 1;
    if (!state.i) Object.assign(state, { i: 9, j: 23 }); // a cluster
    change(encoded());
  });
  sliders.x0.addEventListener("input", () => change({ i: Number(sliders.x0.value) }));
  sliders.x1.addEventListener("input", () => change({ j: Number(sliders.x1.value) }));
  for (const name of ["mu", "sigma"]) sliders[name].addEventListener("input", () => change({ [name]: Number(sliders[name].value) }));
  byId("encoder").addEventListener("click", () => change(encoded()));
  byId("best").addEventListener("click", () => change(bestQ()));
  byId("again").addEventListener("click", () => change({ seed: state.seed + 1 }));
  draw.draggable(canvases[0], () => { const [a, b] = x(); return [[canvas.x(a), canvas.y(b)]]; }, (_, px, py) => {
    const index = (u) => Math.max(0, Math.min(run.side - 1, Math.round(((u + run.plane) / (2 * run.plane)) * (run.side - 1))));
    const [a, b] = canvas.inverse(px, py).map(index);
    change({ i: a, j: b });
  });
  draw.whenResized(canvases, paint);
}
