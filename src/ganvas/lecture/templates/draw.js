"use strict";
// What chapters draw with, on canvases whose size on the screen the styles decide.
const draw = (() => {
  /** A colour of the styles, such as "real", "fake", "soft". */
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim() || name;

  /** Call paint() now, and again when any of these canvases changes its size, or the scheme of colours changes. */
  function whenResized(canvases, paint) {
    const observer = new ResizeObserver(() => requestAnimationFrame(paint));
    canvases.forEach((canvas) => observer.observe(canvas));
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", paint);
  }

  /** A cleared canvas for a width/height ratio, in pixels of CSS: its context, its width and its height. */
  function open(canvas, ratio) {
    const width = canvas.clientWidth || 300, dense = devicePixelRatio || 1;
    const height = Math.round(width / (width < 500 ? Math.min(ratio, 1.6) : ratio)); // on a phone none is flat
    canvas.width = Math.round(width * dense);
    canvas.height = Math.round(height * dense);
    canvas.style.height = `${height}px`;
    const context = canvas.getContext("2d");
    context.scale(dense, dense);
    context.font = "13px system-ui, sans-serif";
    context.lineJoin = "round";
    return { context, width, height };
  }

  /**
   * A part of the plane on a canvas: box = [left, right, bottom, top].  Returns functions that draw in its units;
   * axes are drawn where `axes` names them, as ["x", "density"], and then around the box there is room for numbers;
   * xTicks = [[x, text], ...] stand in place of round numbers.
   */
  function plane(canvas, box, { ratio = 1, axes = null, logY = false, xTicks = null } = {}) {
    const { context, width, height } = open(canvas, ratio);
    const pad = axes ? { left: 46, right: 18, top: 10, bottom: 38 } : { left: 0, right: 0, top: 0, bottom: 0 };
    const [left, right, bottom, top] = logY ? [box[0], box[1], Math.log10(box[2]), Math.log10(box[3])] : box;
    const x = (u) => pad.left + ((u - left) / (right - left)) * (width - pad.left - pad.right);
    const up = logY ? (v) => Math.log10(Math.max(v, 1e-30)) : (v) => v;
    const y = (v) => height - pad.bottom - ((up(v) - bottom) / (top - bottom)) * (height - pad.top - pad.bottom);
    const inverse = (px, py) => [
      left + ((px - pad.left) / (width - pad.left - pad.right)) * (right - left),
      bottom + ((height - pad.bottom - py) / (height - pad.top - pad.bottom)) * (top - bottom),
    ];
    const self = { context, width, height, x, y, inverse };

    /** A heat map: n x n bytes, the first row at the top; 0 is fake's colour, 255 real's, half of it no colour. */
    self.field = ({ shape, values }, opacity = 0.55) => {
      const [rows, columns] = shape, picture = new ImageData(columns, rows);
      const [low, high] = [rgb(colour("fake")), rgb(colour("real"))];
      values.forEach((value, i) => {
        const [r, g, b] = value < 127.5 ? low : high;
        picture.data.set([r, g, b, 255 * opacity * Math.abs(value / 127.5 - 1)], 4 * i);
      });
      const small = new OffscreenCanvas(columns, rows);
      small.getContext("2d").putImageData(picture, 0, 0);
      context.drawImage(small, x(left), y(top), x(right) - x(left), y(bottom) - y(top));
    };

    /** Points, n x 2. */
    self.points = ({ shape, values }, name, radius = 2.5, opacity = 0.8) => {
      context.fillStyle = colour(name);
      context.globalAlpha = opacity;
      for (let i = 0; i < shape[0]; i++) {
        context.beginPath();
        context.arc(x(values[2 * i]), y(values[2 * i + 1]), radius, 0, 2 * Math.PI);
        context.fill();
      }
      context.globalAlpha = 1;
    };

    /** An arrow from each of n points along its vector, both n x 2, `scale` units of the plane for one of the vector. */
    self.arrows = (points, vectors, name, scale) => {
      context.strokeStyle = colour(name);
      context.lineWidth = 1.3;
      context.beginPath();
      for (let i = 0; i < points.shape[0]; i++) {
        const [px, py] = [points.values[2 * i], points.values[2 * i + 1]];
        const [u, v] = [vectors.values[2 * i] * scale, vectors.values[2 * i + 1] * scale];
        const [fromX, fromY, toX, toY] = [x(px), y(py), x(px + u), y(py + v)];
        const angle = Math.atan2(toY - fromY, toX - fromX), head = Math.min(5, Math.hypot(toX - fromX, toY - fromY));
        context.moveTo(fromX, fromY);
        context.lineTo(toX, toY);
        for (const turn of [2.6, -2.6]) {
          context.moveTo(toX, toY);
          context.lineTo(toX + head * Math.cos(angle + turn), toY + head * Math.sin(angle + turn));
        }
      }
      context.stroke();
    };

    /** A line through (xs[i], ys[i]); NaN and null break it. */
    self.line = (xs, ys, name, { width: thickness = 2, dash = [] } = {}) => {
      context.strokeStyle = colour(name);
      context.lineWidth = thickness;
      context.setLineDash(dash);
      context.beginPath();
      let isDown = false;
      for (let i = 0; i < xs.length; i++) {
        const isNumber = Number.isFinite(ys[i]);
        if (isNumber) context[isDown ? "lineTo" : "moveTo"](x(xs[i]), y(ys[i]));
        isDown = isNumber;
      }
      context.stroke();
      context.setLineDash([]);
    };

    /** The area between a line and the horizontal at 0. */
    self.area = (xs, ys, name, opacity = 0.2) => {
      context.fillStyle = colour(name);
      context.globalAlpha = opacity;
      context.beginPath();
      context.moveTo(x(xs[0]), y(0));
      for (let i = 0; i < xs.length; i++) context.lineTo(x(xs[i]), y(ys[i]));
      context.lineTo(x(xs[xs.length - 1]), y(0));
      context.fill();
      context.globalAlpha = 1;
    };

    /** The ellipse at `radius` deviations of N(mean, covariance), covariance = [xx, xy, yy]. */
    self.ellipse = ([mx, my], [xx, xy, yy], name, radius = 1, options = {}) => {
      const a = Math.sqrt(xx), b = xy / a, c = Math.sqrt(Math.max(0, yy - b * b)); // the Cholesky factor
      const turns = Array.from({ length: 73 }, (_, i) => (i / 72) * 2 * Math.PI);
      const [us, vs] = [turns.map((t) => radius * Math.cos(t)), turns.map((t) => radius * Math.sin(t))];
      self.line(us.map((u) => mx + a * u), us.map((u, i) => my + b * u + c * vs[i]), name, options);
    };

    /** A text at a point. */
    self.text = (text, u, v, { name = "ink", align = "left", dx = 0, dy = 0 } = {}) => {
      context.fillStyle = colour(name);
      context.textAlign = align;
      context.fillText(text, x(u) + dx, y(v) + dy);
    };

    if (axes) drawAxes(self, { left, right, bottom, top, pad, axes, logY, xTicks });
    return self;
  }

  /** The frame of a plane, its ticks, and what its axes are. */
  function drawAxes({ context, width, height, x, y }, { left, right, bottom, top, pad, axes, logY, xTicks }) {
    context.strokeStyle = colour("line");
    context.lineWidth = 1;
    context.fillStyle = colour("soft");
    context.textAlign = "center";
    for (const [tick, text] of xTicks ?? ticks(left, right, width / 90).map((tick) => [tick, label(tick)])) {
      context.fillText(text, x(tick), height - pad.bottom + 16);
    }
    context.textAlign = "right";
    for (const tick of logY ? ticks(bottom, top, height / 50).filter(Number.isInteger) : ticks(bottom, top, height / 50)) {
      const at = y(logY ? 10 ** tick : tick);
      context.beginPath();
      context.moveTo(pad.left, at);
      context.lineTo(width - pad.right, at);
      context.stroke();
      context.fillText(label(logY ? 10 ** tick : tick), pad.left - 6, at + 4);
    }
    context.textAlign = "center";
    context.fillText(axes[0], (pad.left + width - pad.right) / 2, height - 4);
    context.save();
    context.translate(11, (height - pad.bottom + pad.top) / 2);
    context.rotate(-Math.PI / 2);
    context.fillText(axes[1], 0, 0);
    context.restore();
  }

  /** About n round numbers between two. */
  function ticks(low, high, n) {
    const rough = (high - low) / Math.max(1, n), power = 10 ** Math.floor(Math.log10(rough));
    const step = power * [1, 2, 5, 10].find((k) => k * power >= rough);
    const first = Math.ceil(low / step - 1e-9), last = Math.floor(high / step + 1e-9);
    return Array.from({ length: Math.max(0, last - first + 1) }, (_, i) => Number(((first + i) * step).toPrecision(6)));
  }

  const label = (x) => (Math.abs(x) >= 10000 || (x && Math.abs(x) < 0.001) ? x.toExponential(0) : String(x)).replace("-", "−");

  /** The red, green and blue of #rgb or #rrggbb. */
  function rgb(hex) {
    const digits = hex.length === 4 ? [...hex.slice(1)].map((d) => d + d).join("") : hex.slice(1);
    return [0, 2, 4].map((i) => parseInt(digits.slice(i, i + 2), 16));
  }

  /** A grid of pictures: bytes n x channels x height x width, grey or RGB. */
  function pictures(canvas, { shape, values }, columns = Math.ceil(Math.sqrt(shape[0])), gap = 1) {
    const [n, channels, h, w] = shape, rows = Math.ceil(n / columns);
    const sheet = new OffscreenCanvas(columns * (w + gap) - gap, rows * (h + gap) - gap);
    const target = sheet.getContext("2d");
    for (let i = 0; i < n; i++) {
      const picture = new ImageData(w, h), at = i * channels * h * w;
      for (let p = 0; p < h * w; p++) {
        for (let c = 0; c < 3; c++) picture.data[4 * p + c] = values[at + Math.min(c, channels - 1) * h * w + p];
        picture.data[4 * p + 3] = 255;
      }
      target.putImageData(picture, (i % columns) * (w + gap), Math.floor(i / columns) * (h + gap));
    }
    const { context, width, height } = open(canvas, sheet.width / sheet.height);
    context.imageSmoothingEnabled = false;
    context.drawImage(sheet, 0, 0, width, height);
  }

  /**
   * Lines over steps: series = [{name, xs, ys, colour, dash}], named in a legend below the canvas if it has
   * `legend`; `mark` is a step that a vertical line shows.
   */
  function chart(canvas, series, { axes, ratio = 1.6, logY = false, mark = null, range = null } = {}) {
    const all = series.flatMap((s) => [...s.ys]).filter((v) => Number.isFinite(v) && (!logY || v > 0));
    let [low, high] = range ?? [Math.min(...all), Math.max(...all)];
    if (!(high > low)) [low, high] = logY ? [low / 2, high * 2] : [low - 1, high + 1];
    const xs = series.flatMap((s) => [...s.xs]), [first, last] = [Math.min(...xs), Math.max(...xs)];
    const at = plane(canvas, [first, last > first ? last : first + 1, low, high], { ratio, axes, logY });
    if (mark !== null) at.line([mark, mark], [low, high], "soft", { width: 1, dash: [4, 3] });
    series.forEach((s) => at.line(s.xs, s.ys, s.colour, { dash: s.dash ?? [] }));
    return at;
  }

  /**
   * Points that a pointer can drag: handles() gives their places on the canvas in CSS pixels, moved(i, x, y) is told.
   * Whoever uses it gives keyboards another control, such as a slider.
   */
  function draggable(canvas, handles, moved) {
    let held = -1;
    const place = (event) => {
      const box = canvas.getBoundingClientRect();
      return [event.clientX - box.left, event.clientY - box.top];
    };
    canvas.style.touchAction = "pan-y";
    canvas.addEventListener("pointerdown", (event) => {
      const [px, py] = place(event), far = handles().map(([x, y]) => Math.hypot(x - px, y - py));
      held = far.indexOf(Math.min(...far));
      if (far[held] > 40) held = -1;
      else canvas.setPointerCapture(event.pointerId);
    });
    canvas.addEventListener("pointermove", (event) => held >= 0 && moved(held, ...place(event)));
    for (const end of ["pointerup", "pointercancel"]) canvas.addEventListener(end, () => (held = -1));
  }

  return { plane, chart, pictures, draggable, whenResized, colour };
})();
