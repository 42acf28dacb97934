"use strict";
{
  const maps = [...document.querySelectorAll(".map")].map((figure) => ({
    plane: figure.querySelector(".plane"), decoded: figure.querySelector(".decoded"), nearest: figure.querySelector(".nearest"),
    sliders: [...figure.querySelectorAll("input")], outputs: [...figure.querySelectorAll("output")],
    status: figure.querySelector("[role=status]"), code: [0, 0], model: null, sheet: null, canvas: null,
  }));
  const behind = document.getElementById("behind");
  let run = null;

  /** One picture of several, as draw.pictures takes them. */
  const one = (pictures, i) => ({ shape: [1, ...pictures.shape.slice(1)], values: lecture.row(pictures, i).values });

  /** The decoded places as one picture, row by row. */
  function makeSheet({ decoded, side }) {
    const [, , h, w] = decoded.shape, sheet = new OffscreenCanvas(side * w, side * h), context = sheet.getContext("2d");
    for (let i = 0; i < side * side; i++) {
      const picture = new ImageData(w, h), values = lecture.row(decoded, i).values;
      for (let p = 0; p < h * w; p++) {
        for (let c = 0; c < 3; c++) picture.data[4 * p + c] = values[c * h * w + p];
        picture.data[4 * p + 3] = 255;
      }
      context.putImageData(picture, (i % side) * w, Math.floor(i / side) * h);
    }
    return sheet;
  }

  /** The place of the lattice that is nearest to a code, by row and column from the top left. */
  function place({ reach, side }, [x, y]) {
    const index = (u) => Math.max(0, Math.min(side - 1, Math.round(((u + reach) / (2 * reach)) * (side - 1))));
    return (side - 1 - index(y)) * side + index(x);
  }

  /** The example whose code is nearest to this one. */
  function nearest({ codes }, [x, y]) {
    let best = 0, least = Infinity;
    for (let i = 0; i < codes.shape[0]; i++) {
      const far = Math.hypot(codes.values[2 * i] - x, codes.values[2 * i + 1] - y);
      if (far < least) [best, least] = [i, far];
    }
    return best;
  }

  function paintMap(map) {
    const { model, code } = map, reach = model.reach * (1 + 1 / (model.side - 1)); // half a picture around the lattice
    const at = draw.plane(map.plane, [-reach, reach, -reach, reach]);
    const { context } = at;
    if (behind.checked) context.drawImage(map.sheet, 0, 0, at.width, at.height);
    for (const radius of [1, 2]) {
      at.ellipse([0, 0], [1, 0, 1], "#ffffff", radius, { width: 5 });
      at.ellipse([0, 0], [1, 0, 1], "#1f6fb2", radius, { width: 2.5 });
    }
    for (let i = 0; i < model.codes.shape[0]; i++) {
      const [r, g, b] = lecture.row(run.colours, i).values;
      context.beginPath();
      context.arc(at.x(model.codes.values[2 * i]), at.y(model.codes.values[2 * i + 1]), 4, 0, 2 * Math.PI);
      context.fillStyle = `rgb(${r},${g},${b})`;
      context.fill();
      context.strokeStyle = behind.checked ? "#000" : draw.colour("ink");
      context.lineWidth = 1;
      context.stroke();
    }
    const [x, y] = [at.x(code[0]), at.y(code[1])];
    for (const [style, width] of [["#fff", 6], ["#000", 2.5]]) {
      context.strokeStyle = style;
      context.lineWidth = width;
      context.beginPath();
      for (const [dx, dy] of [[11, 0], [0, 11]]) {
        context.moveTo(x - dx, y - dy);
        context.lineTo(x + dx, y + dy);
      }
      context.stroke();
    }
    map.canvas = at;
    draw.pictures(map.decoded, one(model.decoded, place(model, code)));
    draw.pictures(map.nearest, one(run.examples, nearest(model, code)));
    map.sliders.forEach((slider, j) => {
      slider.value = code[j];
      map.outputs[j].textContent = lecture.format(code[j]);
    });
  }

  const paint = () => {
    maps.forEach(paintMap);
    document.querySelectorAll(".draws canvas").forEach((canvas, i) => {
      draw.pictures(canvas, run.models[i].draws, canvas.clientWidth < 500 ? 4 : 8); // more rows on a phone
    });
  };

  function move(map, code) {
    map.code = code.map((u) => Math.max(-map.model.reach, Math.min(map.model.reach, u)));
    paintMap(map);
  }

  /** A number from N(0, 1), by Box and Muller. */
  const normal = () => Math.sqrt(-2 * Math.log(1 - Math.random())) * Math.cos(2 * Math.PI * Math.random());

  function describe({ mean, std, error }) {
    const [m, s] = [mean, std].map(({ values }) => [...values].map(lecture.format).join(", "));
    return `Codes have the mean (${m}) and the deviations (${s}); N(0, I) has (0, 0) and (1, 1). ` +
      `Reconstructions are off by ${lecture.format(error)} grey levels of 255.`;
  }

  lecture.choose((chosen) => {
    run = chosen;
    maps.forEach((map, i) => {
      map.model = run.models[i];
      map.sheet = makeSheet(map.model);
      map.sliders.forEach((slider) => Object.assign(slider, { min: -map.model.reach, max: map.model.reach }));
      map.status.textContent = describe(map.model);
      map.code = [0, 0];
    });
    document.querySelectorAll(".draws span").forEach((caption, i) => {
      caption.textContent = `Distance of such pictures to the emoji: ${lecture.format(run.models[i].distance)} (sliced Wasserstein; 0 is best).`;
    });
    paint();
  });
  maps.forEach((map) => {
    map.sliders.forEach((slider, j) => slider.addEventListener("input", () => {
      move(map, map.code.map((u, k) => (k === j ? Number(slider.value) : u)));
    }));
    map.plane.addEventListener("click", (event) => {
      const box = map.plane.getBoundingClientRect();
      move(map, map.canvas.inverse(event.clientX - box.left, event.clientY - box.top));
    });
    const handle = () => [[map.canvas.x(map.code[0]), map.canvas.y(map.code[1])]];
    draw.draggable(map.plane, handle, (_, x, y) => move(map, map.canvas.inverse(x, y)));
  });
  document.getElementById("draw").addEventListener("click", () => {
    const code = [normal(), normal()];
    maps.forEach((map) => move(map, code));
  });
  behind.addEventListener("change", paint);
  draw.whenResized(maps.map((map) => map.plane), paint);
}
