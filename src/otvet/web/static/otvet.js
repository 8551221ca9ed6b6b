// Keys, scroll, title and the pill of a lost connection. Everything works without this file too, only less comfortably.
"use strict";
(() => {
  const title = document.title;
  const one = (selector, within = document) => within.querySelector(selector);
  const all = (selector) => [...document.querySelectorAll(selector)];

  // The count of what waits, in the window's title; when it grows while nobody looks, a notice and a sound if wished.
  const wished = (what) => localStorage.getItem(`notices-${what}`) === "on";
  let before = null;
  const count = () => {
    const place = one("[data-waiting]");
    const waiting = Number(place?.dataset.waiting || 0);
    document.title = waiting ? `(${waiting}) ${title}` : title;
    if (before !== null && waiting > before && document.hidden) {
      if (wished("show") && Notification.permission === "granted") new Notification("Otvet", { body: place.dataset.notice, tag: "waiting" });
      if (wished("sound")) beep();
    }
    before = place ? waiting : before;
  };
  const beep = () => {
    const audio = new AudioContext(), tone = audio.createOscillator(), volume = audio.createGain();
    tone.connect(volume).connect(audio.destination);
    volume.gain.setValueAtTime(0.15, audio.currentTime);
    volume.gain.exponentialRampToValueAtTime(0.001, audio.currentTime + 0.4);
    tone.start();
    tone.stop(audio.currentTime + 0.4);
  };
  if ("Notification" in window && one("#browser-notices")) {
    one("#browser-notices").hidden = false;
    for (const button of all("[data-notices]")) {
      const what = button.dataset.notices;
      button.setAttribute("aria-pressed", wished(what));
      button.addEventListener("click", async () => {
        const on = !wished(what);
        if (on && what === "show" && (await Notification.requestPermission()) !== "granted") { one("#browser-denied").hidden = false; return; }
        localStorage.setItem(`notices-${what}`, on ? "on" : "off");
        button.setAttribute("aria-pressed", on);
      });
    }
  }

  // A chat opens at its end, and follows what is new only while its end is in view.
  const log = one("#scroll");
  let following = true;
  const atEnd = () => log.scrollHeight - log.scrollTop - log.clientHeight < 100;
  const toEnd = () => { log.scrollTop = log.scrollHeight; };
  const sought = log && location.hash.startsWith("#message-") && one(`[id="${CSS.escape(location.hash.slice(1))}"]`, log);
  if (log) {
    if (sought) { sought.scrollIntoView({ block: "center" }); following = false; } else toEnd();
    log.addEventListener("scroll", () => { following = atEnd(); }, { passive: true });
  }
  one(".row[aria-current]")?.scrollIntoView({ block: "nearest" });

  // A page that says why something was not done stands at the address of the chat, so that it can be loaded anew.
  const shown = one("[data-address]")?.dataset.address;
  if (shown && /^\/turns\/|\/say$/.test(location.pathname)) history.replaceState(null, "", shown);

  // What was typed into a draft that waits no more is kept, and so is the place in it.
  let typed = null;
  const remember = () => {
    const area = all(".draft-form:not(.kept) textarea").find((one) => one.value !== one.defaultValue);
    typed = area && { area, value: area.value, from: area.selectionStart, to: area.selectionEnd, here: document.activeElement === area };
  };
  const keep = () => {
    if (!typed || typed.area.isConnected) return;
    const kept = one("#kept"), area = one("#kept-text");
    if (!kept) return;
    kept.hidden = false;
    area.value = area.value ? `${area.value}\n\n${typed.value}` : typed.value;
    if (typed.here) { area.focus(); area.setSelectionRange(typed.from, typed.to); }
    typed = null;
  };

  // Older messages are put above without moving those that are read.
  let height = 0;
  document.addEventListener("htmx:before:swap", () => { remember(); if (log) height = log.scrollHeight - log.scrollTop; });
  document.addEventListener("htmx:after:swap", () => {
    count();
    keep();
    if (log && following) toEnd();
    else if (log && one("#earlier") && log.scrollTop < 50) log.scrollTop = log.scrollHeight - height;
  });
  count();

  // The pill: only when the stream has been gone for five seconds.
  const pill = one("#lost");
  let gone = null;
  document.addEventListener("htmx:sse:error", (event) => {
    if (event.detail?.status === 401) location.reload();
    gone ??= setTimeout(() => { pill.hidden = false; }, 5000);
  });
  document.addEventListener("htmx:sse:after:connection", () => {
    clearTimeout(gone);
    gone = null;
    if (pill) pill.hidden = true;
  });

  // Keys, by their place on the keyboard, so that they hold in every layout.
  const letters = Object.fromEntries([..."abcdefghijklmnopqrstuvwxyz"].map((letter) => [`Key${letter.toUpperCase()}`, letter]));
  const inField = (target) => target.closest("input, textarea, select, [contenteditable]");
  const press = (key) => {
    const found = all(`[data-key="${key}"]`).find((element) => element.offsetParent !== null);
    if (!found) return false;
    if (found.matches("textarea, input")) found.focus();
    else found.click();
    return true;
  };
  const move = (step) => {
    const rows = all(".row");
    if (!rows.length) return;
    const at = rows.findIndex((row) => row === document.activeElement);
    const open = rows.findIndex((row) => row.ariaCurrent);
    const from = at >= 0 ? at : open >= 0 ? open : step > 0 ? -1 : rows.length;
    rows[Math.min(rows.length - 1, Math.max(0, from + step))].focus();
  };
  let first = null;
  document.addEventListener("keydown", (event) => {
    if ((event.ctrlKey || event.metaKey) && event.code === "Enter") {
      const form = event.target.closest("form");
      if (form && event.target.matches("textarea")) { event.preventDefault(); form.requestSubmit(one("button", form)); }
      return;
    }
    if (document.body.dataset.keys !== "on" || event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
    if (event.code === "Escape" && inField(event.target)) { event.target.blur(); return; }
    if (inField(event.target) || one("dialog[open]")) return;
    const key = event.code === "Slash" ? (event.shiftKey ? "?" : "/") : letters[event.code];
    if (!key || (event.shiftKey && key !== "?")) return;
    let done = true;
    if (first) done = press(`${first} ${key}`);
    else if (key === "?") one("#keys")?.showModal();
    else if (key === "/") one("#q")?.focus();
    else if (key === "j" || key === "k") move(key === "j" ? 1 : -1);
    else if (key === "u") location.assign(`/next?after=${one(".row[aria-current]")?.id.slice(4) || ""}`);
    else if (key !== "g") done = press(key);
    first = key === "g" && !first ? "g" : null;
    if (done) event.preventDefault();
  });
})();
