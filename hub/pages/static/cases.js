// A case manager's page stays true by itself: by a stream of server-sent events, by asking where there is none, and
// with neither by what was kept. What is taken back goes from the screen at once, also while somebody paused it.
(function () {
  "use strict";
  const page = document.querySelector("[data-live]");
  if (!page) return;
  const TODAY = "/cases", ASK_MS = 15000, SILENCE_MS = 40000, AGAIN_MS_MAX = 30000, LOOKED_MS = 1000;
  const target = document.getElementById(page.dataset.live), here = location.pathname;
  const shell = page.dataset.session === undefined;  // the page without a network: nobody's, until what was kept is opened
  let source = null, heard = Date.now(), failed = 0, held = null, paused = false, leaving = false;
  let keeping = Promise.resolve(), newest = null, looking = null, brought = null;
  let mark = seen(target) || page.dataset.mark || "";

  function seen(where) {
    const one = where.querySelector("[data-mark]");
    return one ? one.dataset.mark : null;
  }

  function leave() {
    if (leaving) return;
    leaving = true;
    if (source) source.close();
    document.getElementById("main").replaceChildren();
    const gone = function () { location.replace("/signin?ended=1"); };
    kept.forget().then(gone, gone);
  }

  // Keep this page, and today's beside it, as both are now. What was kept before something changed goes.
  async function keepNow(html) {
    if (shell || leaving) return;
    const cursor = mark.split(".")[0], there = await kept.only(cursor, TODAY);
    await kept.save(page.dataset.session, here, html, cursor);
    if (here === TODAY || there) return;
    const answer = await fetch(TODAY + "/alerts", { headers: { "HX-Request": "true" }, credentials: "same-origin" });
    if (!answer.ok || leaving) return;
    const read = parsed(await answer.text());
    await kept.save(page.dataset.session, TODAY, read.innerHTML, seen(read.content).split(".")[0]);
  }

  // One after the other, so that the newest is what stays; those in between needn't be kept.
  function keep(html) {
    newest = html;
    keeping = keeping.then(function () { return newest === html ? keepNow(html) : null; }).catch(function () { /* no room */ });
  }

  function parsed(html) {
    const read = document.createElement("template");
    read.innerHTML = html;
    return read;
  }

  // A stream brings each card once, and then names it for as long as it stands as it was. Out: the picture with all
  // of its cards; null where one is named that was never brought.
  function whole(html) {
    const read = parsed(html), had = brought;
    brought = read.content;
    for (const one of brought.querySelectorAll("[data-same]")) {
      const card = had && had.getElementById(one.id);
      if (!card) return null;
      one.replaceWith(card);
    }
    return read.innerHTML;
  }

  // What is not in the newest picture any more goes, whether or not the page is paused.
  function take(html) {
    heard = Date.now();
    const asks = dialog(), next = parsed(html);
    mark = seen(next.content) || mark;
    keep(html);
    if (!paused && !asks) return shown(html);
    held = html;
    const now = hub.ids(next.content), before = hub.ids(target);
    before.filter(function (id) { return !now.includes(id); }).forEach(function (id) { document.getElementById(id).remove(); });
    if (asks && !now.includes(asks.dataset.about)) asks.close();
    const more = now.filter(function (id) { return !before.includes(id); }).length;
    said("[data-held]", more ? page.dataset.wordsHeld.replace("#", more.toLocaleString(document.documentElement.lang)) : "");
  }

  function dialog() {
    return target.querySelector("dialog[open]");
  }

  function shown(html) {
    const fresh = hub.swap(target, html);
    looked();
    document.dispatchEvent(new CustomEvent("hub:shown"));
    if (fresh.some(function (id) { return document.getElementById(id).classList.contains("urgent"); })) ring();
  }

  function said(where, text) {
    const place = document.querySelector(where);
    if (!place || place.textContent === text) return;
    place.textContent = text;
    place.hidden = !text;
    if (text) hub.say(text);
  }

  // ---- the stream

  function connect() {
    brought = null;
    source = new EventSource(page.dataset.stream + "&after=" + encodeURIComponent(mark));
    const on = function (name, act) {
      source.addEventListener(name, function (event) { heard = Date.now(); act(event); });
    };
    source.onopen = function () { heard = Date.now(); failed = 0; hub.show("live"); document.dispatchEvent(new CustomEvent("hub:connected")); };
    on("changed", function (event) {
      hub.show("live");
      mark = event.lastEventId;
      if (!event.data) return ask();
      const html = whole(event.data);
      if (html !== null) return take(html);
      source.close();
      mark = "";
      connect();
    });
    on("checked", function () { hub.show("live"); });
    on("here", function () { hub.show("live"); });
    on("behind", function () { hub.show("behind"); });
    on("ended", leave);
    source.onerror = function () {
      hub.show("joining");
      ask();
      if (source.readyState !== EventSource.CLOSED || leaving) return;  // else the browser connects again by itself
      failed += 1;
      setTimeout(connect, Math.min(AGAIN_MS_MAX, 1000 * 2 ** failed) * (0.5 + Math.random() / 2));
    };
  }

  // Ask once. Out: whether the hub answered.
  async function ask() {
    let answer;
    try {
      answer = await fetch(page.dataset.part, { headers: { "HX-Request": "true" }, credentials: "same-origin" });
    } catch {
      hub.show("offline");
      return false;
    }
    if (answer.status === 401) leave();
    else if (answer.status === 404) location.replace(TODAY);  // whom this page is about may not be seen any more
    else if (!answer.ok) hub.show("behind");
    else {
      const html = await answer.text();
      if (shell) {  // what was kept before something changed may not be allowed any more
        await kept.only(seen(parsed(html).content).split(".")[0], TODAY).catch(function () { /* none is kept */ });
        location.reload();
        return true;
      }
      if (leaving) return true;
      take(html);
      hub.show(open() ? "live" : "joining");
      return true;
    }
    return false;
  }

  function open() {
    return source !== null && source.readyState === EventSource.OPEN;
  }

  function due() {
    if (leaving || document.hidden) return;
    if (!open() || Date.now() - heard > SILENCE_MS) ask();
  }

  // ---- sound, for what is urgent, where somebody asked for it

  let audio = null;
  const loud = page.dataset.aloud !== undefined;
  function ring() {
    if (!loud) return;
    if (navigator.vibrate) navigator.vibrate([200, 100, 200]);
    page.dataset.rang = String(Number(page.dataset.rang || 0) + 1);
    if (!audio) return;
    const tone = audio.createOscillator(), volume = audio.createGain();
    tone.frequency.value = 880;
    volume.gain.setValueAtTime(0.2, audio.currentTime);
    volume.gain.exponentialRampToValueAtTime(0.001, audio.currentTime + 0.6);
    tone.connect(volume).connect(audio.destination);
    tone.start();
    tone.stop(audio.currentTime + 0.6);
  }
  function ready() {  // a browser lets a page sound only after somebody touched it
    if (loud && !audio && window.AudioContext) audio = new AudioContext();
  }

  document.addEventListener("pointerdown", ready);
  document.addEventListener("keydown", ready);
  function letGo() {
    said("[data-held]", "");
    if (!paused && held !== null) { shown(held); held = null; }
  }
  document.addEventListener("close", function (event) {  // a dialog's doesn't bubble
    if (!event.target.matches("#later")) return;
    event.target.querySelector(".says").textContent = "";
    setTimeout(letGo, 0);
  }, true);

  document.addEventListener("click", function (event) {
    const link = event.target.closest("a[data-later]"), asks = document.getElementById("later");
    if (link && asks) {
      event.preventDefault();
      const card = link.closest(".card");
      asks.dataset.about = card.id;
      asks.querySelector(".says").textContent = card.querySelector(".says").textContent;
      asks.querySelectorAll("form[data-path]").forEach(function (form) {
        form.action = link.getAttribute("href") + "/" + form.dataset.path;
        form.elements.version.value = card.querySelector("button[name=version]").value;
      });
      asks.showModal();
      return;
    }
    const button = event.target.closest("[data-pause]");
    if (!button) return;
    paused = !paused;
    button.setAttribute("aria-pressed", String(paused));
    letGo();
  });

  // ---- from the start to the end

  // It is in view: what it shows is not new any more.
  function looked() {
    clearTimeout(looking);
    looking = setTimeout(function () {
      if (shell || leaving || document.hidden || !navigator.onLine) return;
      const body = new URLSearchParams({ csrf: page.dataset.csrf });
      fetch("/cases/looks", { method: "POST", headers: { "HX-Request": "true" }, body: body, credentials: "same-origin" }).catch(function () { /* next time */ });
    }, LOOKED_MS);
  }

  async function start() {
    document.querySelectorAll("[data-pause]").forEach(function (one) { one.hidden = false; });
    setInterval(due, ASK_MS);
    document.addEventListener("visibilitychange", function () { if (!document.hidden) { due(); looked(); } });
    window.addEventListener("online", function () { setTimeout(ask, 0); });
    window.addEventListener("pageshow", function (event) { if (event.persisted) ask(); });
    if (!shell) {
      keep(target.innerHTML);
      if ("serviceWorker" in navigator) navigator.serviceWorker.register(page.dataset.worker, { scope: "/cases" }).catch(function () { /* not over http */ });
      return connect();
    }
    hub.show("offline");
    const found = await kept.read(here).catch(function () { return null; });
    if (!found) return;
    target.innerHTML = found.html;
    target.hidden = false;
    const at = new Date(found.at), time = document.querySelector("[data-kept-at]");
    time.dateTime = at.toISOString();
    time.textContent = at.toLocaleString(document.documentElement.lang, { weekday: "long", hour: "numeric", minute: "2-digit" });
    document.querySelectorAll("[data-when-kept]").forEach(function (one) { one.hidden = one.dataset.whenKept === "no"; });
  }

  window.cases = { take: take, leave: leave, open: open, shell: shell, page: page, target: target };
  start();
})();
