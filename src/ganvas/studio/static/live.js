// Server-sent events.  A page that nobody sees asks for none: browsers keep six connections to a host, for all tabs.
import { say } from "./studio.js";

/** Call handlers[event](value, identity) for each event; `address()` names what the page has seen already. */
export function follow(address, handlers) {
  let source = null;
  const problem = (sentence) => say(sentence);
  function open() {
    if (source || document.hidden) return;
    source = new EventSource(address());
    for (const [name, handle] of Object.entries({ problem, ...handlers })) {
      source.addEventListener(name, (event) => handle(JSON.parse(event.data), event.lastEventId));
    }
    source.addEventListener("error", () => {
      const isClosed = source.readyState === EventSource.CLOSED;
      say("The studio does not answer. Runs go on; this page follows them again when it does.");
      if (isClosed) { // the browser has given up, as after an answer that is no stream
        close();
        setTimeout(open, 5000);
      }
    });
    source.addEventListener("open", () => say(""));
  }
  function close() {
    source?.close();
    source = null;
  }
  document.addEventListener("visibilitychange", () => (document.hidden ? close() : open()));
  addEventListener("pagehide", close);
  addEventListener("pageshow", open);
  open();
}
