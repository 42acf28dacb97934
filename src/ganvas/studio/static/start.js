// A run that has no folder yet, or that did not start.
import { ask, say } from "./studio.js";

const { name, lives } = document.getElementById("start").dataset;
const address = encodeURIComponent(name);

async function look() {
  try {
    const { lines, waits, is_run } = await ask(`/runs/${address}/said`);
    document.getElementById("said").textContent = lines.join("\n");
    if (is_run || !waits) location.reload();
  } catch (error) {
    say(error.message);
  }
}

if (lives === "true") setInterval(look, 1000);
for (const button of document.querySelectorAll("[data-do]")) {
  button.addEventListener("click", async () => {
    button.disabled = true;
    try {
      say((await ask(`/starts/${address}/${button.dataset.do}`, {})).said);
      if (button.dataset.do === "forget") location.assign("/runs");
    } catch (error) {
      say(error.message);
      button.disabled = false;
    }
  });
}
