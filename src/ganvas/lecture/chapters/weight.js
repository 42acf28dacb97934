"use strict";
{
  const names = ["draws", "rebuilt", "codes", "kl", "error", "distance", "total"];
  const canvases = Object.fromEntries(names.map((name) => [name, document.getElementById(name)]));
  let run = null;

  /** The KL of all dimensions, in nats. */
  const total = ({ kl }) => kl.values.reduce((a, b) => a + b, 0);

  function paintCodes() {
    const reach = Math.max(3.2, ...run.codes.values.map(Math.abs)) * 1.05;
    const at = draw.plane(canvases.codes, [-reach, reach, -reach, reach]);
    for (let i = 0; i < run.codes.shape[0]; i++) {
      const [r, g, b] = lecture.row(run.colours, i).values;
      at.points({ shape: [1, 2], values: lecture.row(run.codes, i).values }, `rgb(${r},${g},${b})`, 2.5, 0.8);
    }
    for (const radius of [1, 2]) at.ellipse([0, 0], [1, 0, 1], "real", radius, { width: 2 });
  }

  function paintKl() {
    const values = run.order.map((j) => run.kl.values[j]), top = Math.max(...lecture.recordings.flatMap((r) => [...r.kl.values]));
    const at = draw.plane(canvases.kl, [0, values.length, 0, 1], { ratio: 1.6 });
    const { context, width, height } = at, floor = height - 24, tall = height - 60;
    values.forEach((v, k) => {
      const h = tall * Math.sqrt(v / top), left = (k + 0.15) * (width / values.length), wide = 0.7 * (width / values.length);
      context.fillStyle = draw.colour("real");
      context.fillRect(left, floor - h, wide, h);
      context.fillStyle = draw.colour("ink");
      context.textAlign = "center";
      context.fillText(lecture.format(v < 0.005 ? 0 : Number(v.toFixed(2))), left + wide / 2, floor - h - 6);
      context.fillStyle = draw.colour("soft");
      context.fillText(`z${"₁₂₃₄₅₆₇₈"[run.order[k]]}`, left + wide / 2, height - 6);
    });
    context.strokeStyle = draw.colour("line");
    context.strokeRect(0, floor, width, 0);
  }

  /** A figure of all recordings over log10 of lambda, with the current one marked. */
  function paintCurve(canvas, figure) {
    const sorted = lecture.recordings.filter((r) => r.parameters.beta > 0).sort((a, b) => a.parameters.beta - b.parameters.beta);
    const xs = sorted.map((r) => Math.log10(r.parameters.beta)), ys = sorted.map(figure), high = 1.1 * Math.max(...ys);
    const at = draw.plane(canvas, [xs[0] - 0.1, xs[xs.length - 1] + 0.1, 0, high], { ratio: 1.5, axes: ["log₁₀ λ", ""] });
    at.line(xs, ys, "real");
    xs.forEach((u, k) => at.points({ shape: [1, 2], values: [u, ys[k]] }, sorted[k] === run ? "fake" : "real", sorted[k] === run ? 7 : 4, 1));
  }

  function paint() {
    draw.pictures(canvases.draws, run.draws, canvases.draws.clientWidth < 500 ? 6 : 8); // more rows on a phone
    const [n, ...shape] = run.examples.shape, half = n / 2, rows = [0, half].flatMap((from) => [
      [run.examples, from], [run.rebuilt, from],
    ]);
    const size = run.examples.values.length / 2, values = new Uint8Array(4 * size);
    rows.forEach(([pictures, from], k) => values.set(pictures.values.subarray(from && size, (from && size) + size), k * size));
    draw.pictures(canvases.rebuilt, { shape: [2 * n, ...shape], values }, half);
    paintCodes();
    paintKl();
    paintCurve(canvases.error, (r) => r.error);
    paintCurve(canvases.distance, (r) => r.distance);
    paintCurve(canvases.total, total);
  }

  lecture.choose((chosen) => {
    run = chosen;
    document.getElementById("summary").textContent =
      `Reconstructions are off by ${lecture.format(run.error)} grey levels of 255; samples are ${lecture.format(run.distance)} from the emoji. ` +
      `KL ${lecture.format(Number(total(run).toFixed(2)))} nats, ${run.active} of ${run.kl.shape[0]} dimensions active. ` +
      `E[−log p(x|z)] ${lecture.format(run.nll)} nats.`;
    paint();
  });
  draw.whenResized(Object.values(canvases), paint);
}
