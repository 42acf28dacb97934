// What every page needs: asking the server, and saying what it answered.

const MAX_UPLOAD = 100 * 2 ** 20; // bytes, as the server has it

/** Ask the studio for JSON or a picture, or send it a value; an Error holds the one sentence that the server answers. */
export async function ask(address, value, method = value === undefined ? "GET" : "POST") {
  const options = { method, headers: { accept: "application/json" } };
  if (method !== "GET") options.headers["x-ganvas-studio"] = "1";
  if (value instanceof Blob && value.size > MAX_UPLOAD) {
    throw new Error(`${value.name ?? "the file"} is larger than 100 MB: name its path on this machine in place of it`);
  }
  if (value instanceof Blob) options.body = value;
  else if (value !== undefined) {
    options.headers["content-type"] = "application/json";
    options.body = JSON.stringify(value);
  }
  let response;
  try {
    response = await fetch(address, options);
  } catch {
    throw new Error("the studio does not answer: is `ganvas studio` still running?");
  }
  const isJson = (response.headers.get("content-type") ?? "").includes("json");
  const answer = isJson ? await response.json() : await response.blob();
  if (!response.ok) throw new Error(answer?.error ?? `the studio answers ${response.status}`);
  return answer;
}

/** Say a sentence to everyone, screen readers too. */
export function say(sentence) {
  document.getElementById("status").textContent = sentence;
}

/** An element with attributes and children; strings become text, never HTML. */
export function element(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value === true) node.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) node.setAttribute(name, value);
  }
  node.append(...children);
  return node;
}
