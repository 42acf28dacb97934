// Samples of a run, drawn by the server.
import { element } from "./studio.js";

/** Show samples of a latent seed in an element, or why there are none. */
export async function showSamples(place, name, seed) {
  place.setAttribute("aria-busy", "true");
  try {
    const response = await fetch(`/explore/${encodeURIComponent(name)}/samples.png?seed=${encodeURIComponent(seed)}`, { headers: { accept: "application/json" } });
    if (!response.ok) throw new Error((await response.json()).error);
    const source = URL.createObjectURL(await response.blob());
    const image = element("img", { class: "samples", src: source, alt: `Samples of ${name}, latent seed ${seed}` });
    image.addEventListener("load", () => URL.revokeObjectURL(source));
    place.replaceChildren(image);
  } catch (error) {
    place.replaceChildren(element("p", { class: "error" }, error.message));
  }
  place.removeAttribute("aria-busy");
}
