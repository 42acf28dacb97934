// Exploring a model: every control asks the server for a picture; of several requests only the last is shown.
import { ask, element, say } from "./studio.js";
import { $, address, all, base, code, place, show, start, state, turn } from "./code.js";

function fail(place, error) {
  place.textContent = error.message;
  place.hidden = false;
}

/** Show the picture at an address; an Error holds the sentence that the server answers in its place. */
async function draw(image, source) {
  const next = new Image();
  next.src = source;
  try {
    await next.decode();
  } catch {
    await ask(source);
    throw new Error("The picture could not be drawn.");
  }
  image.src = source;
}

if ($("#picture")) turn(async (values) => {
  const source = address("picture.png", values);
  await draw($("#picture"), source);
  $("#save-picture").href = source;
});

// ---- the map

const map = $("#map");
if (map) {
  const dimensions = () => [$("#across").value, $("#up").value];
  const drawMap = () => {
    const [across, up] = dimensions();
    move(0, 0);
    draw($("#map-picture"), address("map.png", { ...code(), z: undefined, across, up })).catch((error) => say(error.message));
  };
  const move = (u, v) => {
    const limit = (x) => Math.max(-3, Math.min(3, x));
    [map.u, map.v] = [limit(u), limit(v)];
    $("#point").style.left = `${((map.u + 3) / 6) * 100}%`;
    $("#point").style.top = `${((3 - map.v) / 6) * 100}%`;
  };
  const go = (u, v) => {
    move(u, v);
    const [across, up] = dimensions();
    place(across, map.u.toFixed(2));
    place(up, map.v.toFixed(2));
    show();
  };
  map.addEventListener("pointermove", (event) => {
    if (event.pointerType === "mouse" || event.buttons) {
      const box = map.getBoundingClientRect();
      go(((event.clientX - box.left) / box.width) * 6 - 3, 3 - ((event.clientY - box.top) / box.height) * 6);
    }
  });
  map.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }[event.key];
    if (!step) return;
    event.preventDefault();
    go(map.u + step[0] * 0.25, map.v + step[1] * 0.25);
  });
  $("#draw-map").addEventListener("click", drawMap);
  for (const select of [$("#across"), $("#up")]) select.addEventListener("change", drawMap);
  drawMap();
}

// ---- walks

$("#walk")?.addEventListener("click", async () => {
  const ends = { first: $("#first").value.trim(), last: $("#last").value.trim(), label: state.label };
  try {
    await draw($("#strip"), address("walk.png", { ...ends, columns: 12 }));
  } catch (error) {
    return say(error.message);
  }
  say("");
  $("#strip").hidden = $("#walk-files").hidden = false;
  $("#walk-png").href = address("walk.png", { ...ends, columns: 12 });
  $("#walk-webp").href = address("walk.webp", { ...ends, columns: 60 });
});

// ---- pictures that are sent

$("#upload")?.addEventListener("change", async (event) => {
  const file = event.target.files[0], fault = $("#upload-error");
  if (!file) return;
  fault.hidden = true;
  try {
    const answer = await ask(`${base}/upload`, file);
    const end = (id) => element("button", { type: "button", class: "quiet", onclick: () => { $(id).value = answer.upload; } }, id === "#first" ? "Walk from it" : "Walk to it");
    $("#uploads").prepend(element("div", { class: "card" },
      element("img", { src: answer.picture, alt: `${file.name}, and what the model makes of it` }), element("p", {}, file.name),
      element("p", { class: "actions" }, element("button", { type: "button", onclick: () => start(state.seed, answer.upload) }, "Turn it by hand"), end("#first"), end("#last"))));
  } catch (error) {
    fail(fault, error);
  }
});

// ---- samples, neighbours, strange examples

let draws = 0;
for (const button of all(".show")) button.addEventListener("click", async () => {
  const image = $(`#${button.dataset.into}`), fault = $("#samples-error");
  const source = address(button.dataset.image, { seed: draws++, label: button.dataset.image === "samples.png" ? state.label : "" });
  $("#strange").replaceChildren();
  fault.hidden = true;
  try {
    await draw(image, source);
  } catch (error) {
    return fail(fault, error);
  }
  image.alt = button.textContent;
  $("#save-samples").href = source;
  image.hidden = $("#save-samples").hidden = false;
});

$("#strangest")?.addEventListener("click", async () => {
  const fault = $("#samples-error");
  fault.hidden = true;
  say("Scoring the data …");
  try {
    const result = await ask(`${base}/strangest`);
    $("#samples").hidden = true;
    $("#strange").replaceChildren(...Object.entries(result.pictures).map(([end, picture]) => element("figure", {},
      element("img", { src: picture, alt: `The ${end} examples`, class: "large" }), element("figcaption", {}, `${end}, by ${result.score}`))));
  } catch (error) {
    fail(fault, error);
  }
  say("");
});

// ---- translation

async function translate(blob) {
  const after = $("#after"), old = after.src, translation = await ask(`${base}/translate?to=${$("#to").value}`, blob);
  after.src = $("#save-after").href = URL.createObjectURL(translation);
  after.hidden = $("#save-after").hidden = false;
  if (old.startsWith("blob:")) URL.revokeObjectURL(old);
}

$("#translated")?.addEventListener("change", async (event) => {
  const file = event.target.files[0], fault = $("#translate-error");
  if (!file) return;
  fault.hidden = true;
  $("#before").src = URL.createObjectURL(file);
  $("#before").hidden = false;
  try {
    await translate(file);
  } catch (error) {
    fail(fault, error);
  }
});

let stream = null;
function stopCamera() {
  for (const track of stream?.getTracks() ?? []) track.stop();
  stream = null;
  $("#camera").setAttribute("aria-pressed", "false");
}
$("#camera")?.addEventListener("click", async (event) => {
  const button = event.currentTarget, fault = $("#translate-error");
  fault.hidden = true;
  if (stream) return stopCamera();
  try {
    stream = await navigator.mediaDevices.getUserMedia({ video: { width: 256, height: 256 } });
  } catch {
    return fail(fault, new Error("There is no camera, or the browser may not use it."));
  }
  button.setAttribute("aria-pressed", "true");
  const video = document.createElement("video"), canvas = document.createElement("canvas");
  video.srcObject = stream;
  await video.play();
  while (stream) {
    const side = Math.min(video.videoWidth, video.videoHeight), [left, top] = [(video.videoWidth - side) / 2, (video.videoHeight - side) / 2];
    canvas.width = canvas.height = 256;
    canvas.getContext("2d").drawImage(video, left, top, side, side, 0, 0, 256, 256);
    $("#before").src = canvas.toDataURL();
    $("#before").hidden = false;
    try {
      await translate(await new Promise((resolve) => canvas.toBlob(resolve)));
    } catch (error) {
      fail(fault, error);
      stopCamera();
    }
  }
});
