"use strict";
// What every chapter's page does: equations, the question, the command, and which run is shown.
const lecture = (() => {
  const page = JSON.parse(document.getElementById("data").textContent);
  const recordings = page.recordings.map(unpackAll);
  const LOOK_PACE = 350; // milliseconds
  const listeners = [];
  let takeNew = select;
  let current = recordings[0];

  // ---- recordings ----------------------------------------------------------------------------------------------

  /** {dtype, shape, base64} as {shape, values}: a Float32Array, or a Uint8Array where bytes were recorded. */
  function unpack({ dtype, shape, base64 }) {
    const bytes = Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
    if (dtype === "uint8") return { shape, values: bytes };
    if (dtype === "float32") return { shape, values: new Float32Array(bytes.buffer) };
    return { shape, values: Float32Array.from(new Uint16Array(bytes.buffer), halfToFloat) };
  }

  /** The number whose 16 bits, as IEEE 754 has them, are those of h. */
  function halfToFloat(h) {
    const sign = h & 0x8000 ? -1 : 1, exponent = (h >> 10) & 31, fraction = h & 1023;
    if (exponent === 31) return fraction ? NaN : sign * Infinity;
    return sign * (exponent ? 2 ** (exponent - 15) * (1 + fraction / 1024) : 2 ** -24 * fraction);
  }

  /** The value with every packed array in it unpacked. */
  function unpackAll(value) {
    if (Array.isArray(value)) return value.map(unpackAll);
    if (value === null || typeof value !== "object") return value;
    if ("base64" in value) return unpack(value);
    return Object.fromEntries(Object.entries(value).map(([name, part]) => [name, unpackAll(part)]));
  }

  /** Part i of an array along its first axis: {shape, values}, without a copy. */
  function row({ shape, values }, i) {
    const size = shape.slice(1).reduce((a, b) => a * b, 1);
    return { shape: shape.slice(1), values: values.subarray(i * size, (i + 1) * size) };
  }

  // ---- which run is shown --------------------------------------------------------------------------------------

  /** Call listener(recording) now, and again whenever another one is chosen; makes the controls in #choices. */
  function choose(listener) {
    listeners.push(listener);
    makeChoices();
    listener(current);
    showCommand(current.command);
  }

  /** Show this recording. */
  function select(recording) {
    current = recording;
    makeChoices();
    showCommand(recording.command);
    listeners.forEach((listener) => listener(recording));
  }

  /** Call listener(recording) with each run that a reader has asked for, in place of `select`. */
  function whenRecorded(listener) {
    takeNew = listener;
  }

  /** The values that a parameter has among the recordings, in order. */
  function valuesOf(name) {
    const values = [...new Set(recordings.map((r) => r.parameters[name]))];
    return values.every((v) => typeof v === "number") ? values.sort((a, b) => a - b) : values;
  }

  /** Of the recordings where a parameter has this value the one that is most like the current one. */
  function nearest(name, value) {
    const likeness = (r) => Object.keys(r.parameters).filter((k) => r.parameters[k] === current.parameters[k]).length;
    const candidates = recordings.filter((r) => r.parameters[name] === value);
    return candidates.reduce((best, r) => (likeness(r) > likeness(best) ? r : best));
  }

  /** In #choices a control for each parameter that differs among the recordings: a slider for numbers, else a list. */
  function makeChoices() {
    const place = document.getElementById("choices");
    if (!place) return;
    const focused = document.activeElement?.name;
    place.replaceChildren();
    for (const [name, schema] of Object.entries(page.schema)) {
      const values = valuesOf(name), index = values.indexOf(current.parameters[name]);
      if (values.length < 2) continue;
      const isNumber = typeof values[0] === "number";
      const control = element(isNumber ? "input" : "select", { name });
      const shown = element("span", {}, `${schema.title ?? name}${isNumber ? ` = ${format(values[index])}` : ""}`);
      if (isNumber) {
        Object.assign(control, { type: "range", min: 0, max: values.length - 1, step: 1, value: index });
        control.setAttribute("aria-valuetext", format(values[index]));
      } else {
        values.forEach((v, i) => control.append(new Option(String(v), i, i === index, i === index)));
      }
      control.addEventListener(isNumber ? "input" : "change", () => select(nearest(name, values[Number(control.value)])));
      place.append(element("label", {}, shown, control));
      if (name === focused) control.focus();
    }
  }

  // ---- what a server adds --------------------------------------------------------------------------------------

  /** Ask the server for a run with these parameters; resolves to its recording, and rejects with a sentence. */
  async function record(parameters) {
    const body = JSON.stringify(parameters), headers = { "Content-Type": "application/json", "x-ganvas-studio": "1" };
    const answer = await fetch(`${page.name}/record`, { method: "POST", headers, body });
    const content = await answer.json();
    if (!answer.ok) throw new Error([content.detail, content.error, answer.statusText].find((text) => typeof text === "string"));
    return unpackAll(content);
  }

  /** The form by which a reader asks for other runs, on pages of a server. */
  function makeLiveForm() {
    const place = document.getElementById("live");
    if (!place) return;
    const [form, status] = [place.querySelector("form"), place.querySelector("p")];
    const button = element("button", { type: "submit" }, "Run");
    for (const [name, schema] of Object.entries(page.schema)) {
      const isNumber = !schema.enum && ["integer", "number"].includes(schema.type);
      const control = element(isNumber ? "input" : "select", { name });
      if (isNumber) {
        const low = schema.minimum ?? schema.exclusiveMinimum ?? "", high = schema.maximum ?? schema.exclusiveMaximum ?? "";
        Object.assign(control, { type: "number", min: low, max: high, step: schema.type === "integer" ? 1 : "any" });
      } else {
        (schema.enum ?? [false, true]).forEach((v) => control.append(new Option(String(v), JSON.stringify(v))));
      }
      control.value = isNumber ? schema.default : JSON.stringify(schema.default);
      form.append(element("label", {}, schema.title ?? name, control));
    }
    form.append(button);
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      const parameters = Object.fromEntries([...new FormData(form)].map(([k, v]) => [k, JSON.parse(v)]));
      button.disabled = true;
      status.textContent = "It is being trained …";
      try {
        const recording = { title: "Your own run", ...(await record(parameters)) };
        recordings.push(recording);
        takeNew(recording);
        status.textContent = "Done: the page shows your run.";
      } catch (error) {
        status.textContent = error.message;
      }
      button.disabled = false;
    });
  }

  /**
   * The slider and the button of looks.html: show() is called whenever another of the recorded steps is chosen, and
   * asks index() which.  setSteps(steps) tells their numbers, and chooses the last without a call.
   */
  function looks(show) {
    const [slider, button, output] = ["look", "play", "step"].map((id) => document.getElementById(id));
    let steps = [], timer = null;

    function go(i) {
      const [step, last] = [steps[i], steps[steps.length - 1]].map((n) => n.toLocaleString("en"));
      slider.value = i;
      slider.setAttribute("aria-valuetext", `step ${step}`);
      output.textContent = `${step} of ${last}`;
    }

    function play(isPlaying) {
      clearInterval(timer);
      timer = isPlaying ? setInterval(next, LOOK_PACE) : null;
      button.textContent = isPlaying ? "Pause" : "Play";
      button.setAttribute("aria-pressed", String(isPlaying));
    }

    function next() {
      go((index() + 1) % steps.length);
      show();
      if (index() === steps.length - 1) play(false);
    }

    function setSteps(given) {
      play(false);
      steps = given;
      slider.max = steps.length - 1;
      go(steps.length - 1);
    }

    const index = () => Number(slider.value);
    slider.addEventListener("input", () => (play(false), go(index()), show()));
    button.addEventListener("click", () => play(timer === null));
    return { index, setSteps };
  }

  // ---- the rest of the page ------------------------------------------------------------------------------------

  /** An element with these properties and children. */
  function element(name, properties = {}, ...children) {
    const made = Object.assign(document.createElement(name), properties);
    made.append(...children);
    return made;
  }

  /** A number with three digits. */
  function format(x) {
    if (x === null || x === undefined) return "–";
    const text = Math.abs(x) >= 1000 || Number.isInteger(x) ? String(Math.round(x)) : String(Number(x.toPrecision(3)));
    return text.replace("-", "−");
  }

  /** Show this command as that of what is on the screen. */
  function showCommand(command) {
    document.getElementById("command").textContent = command;
    document.getElementById("copied").textContent = "";
  }

  /** Typeset the elements of class tex in a part of the page; their text is in KaTeX's notation. */
  function typeset(part = document) {
    for (const place of part.querySelectorAll(".tex:not(.typeset)")) {
      katex.render(place.textContent, place, { displayMode: place.classList.contains("display") });
      place.classList.add("typeset");
      if (place.classList.contains("display")) place.tabIndex = 0; // it may be wider than a phone
    }
  }

  async function copyCommand() {
    const status = document.getElementById("copied"), text = document.getElementById("command");
    try {
      await navigator.clipboard.writeText(text.textContent);
      status.textContent = "Copied.";
    } catch {
      getSelection().selectAllChildren(text); // where the page may not write to the clipboard
      status.textContent = "Selected: copy it with Ctrl-C.";
    }
  }

  function answerQuestion(event) {
    const form = event.currentTarget, place = form.querySelector("[role=status] p");
    const isRight = form.dataset.right === event.target.value;
    place.className = isRight ? "right" : "wrong";
    place.querySelector("b").textContent = isRight ? "Right." : "Not so.";
    place.hidden = false;
  }

  /** Whether the reader prefers that nothing moves by itself. */
  const isStill = () => matchMedia("(prefers-reduced-motion: reduce)").matches;

  typeset();
  makeLiveForm();
  document.getElementById("question").addEventListener("change", answerQuestion);
  document.getElementById("copy").addEventListener("click", copyCommand);
  return { recordings, choose, select, whenRecorded, row, record, element, format, looks, showCommand, typeset, isStill, isLive: page.live };
})();
