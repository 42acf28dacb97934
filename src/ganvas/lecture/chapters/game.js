"use strict";
{
  const canvas = document.getElementById("densities");
  let run = null;

  function paint() {
    const at = draw.plane(canvas, [-6, 6, 0, 1], { ratio: 2.4, axes: ["x", "D(x)"] });
    const last = lecture.row(run.logits, run.logits.shape[0] - 1).values;
    at.line(run.grid.values, last.map((v) => 1 / (1 + Math.exp(-v))), "real");
  }

  lecture.choose((chosen) => {
    run = chosen;
    document.getElementById("caption").textContent = `Distance ${lecture.format(run.parameters.gap)}.`;
    paint();
  });
  draw.whenResized([canvas], paint);
}
