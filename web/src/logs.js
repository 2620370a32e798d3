// A log that is followed: lines come as server-sent events and are added at the end. Texts come from the page itself.
"use strict";
(() => {
  const log = document.getElementById("log"), live = document.getElementById("live"), button = document.getElementById("pause");
  if (!log) return;
  const most = Number(log.dataset.most);
  let after = log.dataset.after, source = null, retry = 0, paused = false;

  const atEnd = () => log.scrollTop + log.clientHeight >= log.scrollHeight - 40;
  // What comes is shown once in a frame, however many lines it is; whoever has scrolled back is left there.
  let waiting = [];
  function show() {
    const follow = atEnd();
    const lines = waiting.slice(-most);
    waiting = [];
    log.append(...lines.map(([text, level]) => {
      const line = document.createElement("span");
      line.className = level;
      line.textContent = `${text}\n`;
      return line;
    }));
    while (log.childElementCount > most) log.firstElementChild.remove();
    if (follow) log.scrollTop = log.scrollHeight;
  }
  function put(text, level) {
    if (waiting.push([text, level]) === 1) requestAnimationFrame(show);
    if (waiting.length > 2 * most) waiting = waiting.slice(-most);
  }

  function say(state) {
    live.textContent = live.dataset[state];
    live.className = `live ${state === "live" ? "on" : state}`;
  }

  function deafen() {
    clearTimeout(retry);
    source?.close();
    source = null;
  }

  function listen() {
    deafen();
    source = new EventSource(`${log.dataset.stream}&after=${encodeURIComponent(after)}`);
    source.addEventListener("open", () => say("live"));
    source.addEventListener("gap", () => put(log.dataset.gap, "gap"));
    source.addEventListener("line", (event) => {
      after = event.lastEventId;
      put(event.data, { ERROR: "error", WARN: "warn" }[event.data.split(" ", 3)[2]] ?? "");
    });
    source.addEventListener("error", () => {
      say("lost");
      if (source?.readyState === EventSource.CLOSED) retry = setTimeout(listen, 3000); // it does not try again by itself
    });
  }

  button.hidden = false;
  button.addEventListener("click", () => {
    paused = !paused;
    button.textContent = paused ? button.dataset.resume : button.dataset.pause;
    if (paused) { deafen(); say("paused"); } else listen();
  });
  log.scrollTop = log.scrollHeight;
  if (!document.hidden) listen();
  // A page that nobody looks at holds no connection: it goes on behind the last line that it has.
  document.addEventListener("visibilitychange", () => { if (document.hidden) deafen(); else if (!paused) listen(); });
  window.addEventListener("pagehide", deafen);
  window.addEventListener("pageshow", (event) => { if (event.persisted && !paused && !source) listen(); });
})();
