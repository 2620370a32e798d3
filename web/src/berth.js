// Small things that every page needs. Texts come from the page itself, in its language.
"use strict";
(() => {
  const say = (text) => {
    const status = document.getElementById("status");
    if (status) status.textContent = text;
  };

  // Buttons that copy the text of another element.
  document.addEventListener("click", async (event) => {
    const button = event.target.closest("[data-copy]");
    if (!button) return;
    const source = document.getElementById(button.dataset.copy);
    const label = button.dataset.label ?? button.textContent;
    button.dataset.label = label;
    let text = document.body.dataset.copied;
    try {
      await navigator.clipboard.writeText(source.textContent);
    } catch { // not a secure context, or not allowed: leave it selected, ready to be copied by hand
      const range = document.createRange();
      range.selectNodeContents(source);
      getSelection().removeAllRanges();
      getSelection().addRange(range);
      if (!document.execCommand("copy")) text = document.body.dataset.copyFailed;
    }
    button.textContent = text;
    say(text);
    clearTimeout(button.restore);
    button.restore = setTimeout(() => { button.textContent = label; }, 2000);
  });

  // Another language of the same place: of the address as it is by now.
  document.addEventListener("click", (event) => {
    const link = event.target.closest(".languages a");
    if (!link) return;
    const to = new URL(location.href);
    to.searchParams.set("lang", new URL(link.href).searchParams.get("lang"));
    link.href = to.href;
  });

  // The browser knows which zones there are, and its own.
  document.querySelector("details.zone")?.addEventListener("toggle", () => {
    const input = document.getElementById("zone"), zones = document.getElementById("zones");
    if (zones.options.length > 0) return;
    zones.append(...Intl.supportedValuesOf("timeZone").map((zone) => new Option(zone)));
    if (!input.value) input.value = Intl.DateTimeFormat().resolvedOptions().timeZone;
  });

  // What refreshes itself rests while nobody looks, and leaves alone what somebody works in.
  document.addEventListener("htmx:beforeRequest", (event) => {
    const element = event.detail.elt;
    const polls = (element.getAttribute("hx-trigger") ?? "").startsWith("every");
    if (polls && (document.hidden || element.contains(document.activeElement) && document.activeElement.matches("input"))) event.preventDefault();
  });

  // A replaced table keeps the keyboard's place, and how far it was pushed aside.
  let focused = null, aside = [];
  document.addEventListener("htmx:beforeSwap", (event) => {
    aside = [...event.detail.target.querySelectorAll(".scroll")].map((table) => table.scrollLeft);
    const active = document.activeElement;
    focused = active && event.detail.target.contains(active) ? active.getAttribute("href") : null;
  });
  document.addEventListener("htmx:afterSwap", (event) => {
    document.getElementById(event.detail.target.id)?.querySelectorAll(".scroll").forEach((table, i) => { table.scrollLeft = aside[i] ?? 0; });
  });
  document.addEventListener("htmx:afterSettle", (event) => {
    if (focused === null) return;
    for (const link of event.detail.target.querySelectorAll("a[href]")) {
      if (link.getAttribute("href") === focused) link.focus({ preventScroll: true });
    }
    focused = null;
  });
})();
