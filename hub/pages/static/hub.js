// The live part of pages that work without it: says how the page is connected, keeps the focus where it was when
// something is swapped in, and announces what changed.
(function () {
  "use strict";
  const root = document.documentElement;
  let contact = Date.now();

  // One of live, joining, behind and offline; all but the first say when the hub was last heard of.
  function show(state) {
    if (!navigator.onLine) state = "offline";
    if (state === "live") contact = Date.now();
    if (root.dataset.link === state) return;
    const at = new Date(contact);
    document.querySelectorAll("[data-link-state] time").forEach(function (time) {
      time.dateTime = at.toISOString();
      time.textContent = at.toLocaleTimeString(root.lang, { hour: "numeric", minute: "2-digit" });
    });
    document.querySelectorAll("[data-link-state] [data-state]").forEach(function (span) {
      span.hidden = span.dataset.state !== state;
    });
    root.dataset.link = state;
  }

  function ids(where) {
    return Array.from(where.querySelectorAll("[id^='alert-'], [data-item], tr[id]"), function (item) { return item.id; });
  }

  // The button that was pressed is disabled while its request runs, and so loses the focus before the swap. What
  // the page asks for by itself meanwhile doesn't make it forget the button.
  let pressed = null, focused = null, opened = [], typed = [];
  function before(target) {
    const active = document.activeElement;
    const lost = active === document.body && pressed && target.querySelector("#" + CSS.escape(pressed));
    focused = lost ? pressed : target.contains(active) ? active.id || target.dataset.keepsFocus : null;
    opened = Array.from(target.querySelectorAll("details[id][open]"), function (one) { return one.id; });
    typed = Array.from(target.querySelectorAll("select[id], input[id]"), function (one) { return [one.id, one.value]; });
  }

  function after(target) {
    opened.forEach(function (id) { const one = document.getElementById(id); if (one) one.open = true; });
    typed.forEach(function (pair) {
      const one = document.getElementById(pair[0]);
      const offered = one && (!one.options || Array.from(one.options).some(function (choice) { return choice.value === pair[1]; }));
      if (offered) one.value = pair[1];
    });
    const known = (target.dataset.known || "").split(" ");
    const fresh = target.dataset.known === undefined ? [] : ids(target).filter(function (id) { return !known.includes(id); });
    fresh.forEach(function (id) { document.getElementById(id).classList.add("fresh"); });
    target.dataset.known = ids(target).join(" ");
    if (focused !== null && document.activeElement === document.body) {
      const home = document.getElementById(focused) || document.getElementById(target.dataset.keepsFocus || "main");
      if (home) home.focus({ preventScroll: true });
    }
    focused = pressed = null;
    const said = target.querySelector("[data-says]");
    const aloud = document.querySelector("[data-announce]");
    if (said && aloud && aloud.textContent !== said.dataset.says) aloud.textContent = said.dataset.says;
    return fresh;
  }

  // Say it to screen readers without taking the focus: each in a line of its own, so that none drowns another.
  const SPOKEN_MAX = 5;
  function say(text) {
    const place = document.querySelector("[data-spoken]");
    if (!place) return;
    const line = document.createElement("p");
    line.textContent = text;
    place.append(line);
    while (place.children.length > SPOKEN_MAX) place.firstChild.remove();
  }

  window.hub = {
    show: show,
    ids: ids,
    say: say,
    // Remember the button that a request comes from.
    press: function () { if (document.activeElement !== document.body) pressed = document.activeElement.id; },
    // Put `html` into `target`. Out: the ids of what had not been there.
    swap: function (target, html) {
      before(target);
      target.innerHTML = html;
      return after(target);
    },
  };

  document.addEventListener("htmx:sendError", function () { show("offline"); });
  window.addEventListener("offline", function () { show("offline"); });
  window.addEventListener("online", function () {
    show("joining");
    document.querySelectorAll("[data-keeps-focus][hx-get]").forEach(function (target) {
      htmx.trigger(target, "refresh");
    });
  });

  // A session that ended answers 401: leave the page, for what it shows is somebody's.
  document.addEventListener("htmx:responseError", function (event) {
    if (event.detail.xhr.status === 401) window.location.assign("/signin?ended=1");
    else show("joining");
  });

  // Without a stream the page asks by itself: an answer is as good as a connection.
  document.addEventListener("htmx:afterRequest", function (event) {
    if (event.detail.successful) show("live");
  });
  document.addEventListener("htmx:beforeRequest", function () { window.hub.press(); });
  document.addEventListener("htmx:beforeSwap", function (event) { before(event.detail.target); });
  document.addEventListener("htmx:afterSwap", function (event) {
    if (event.detail.target) after(event.detail.target);  // not ours: `swap` does this by itself
  });

  document.addEventListener("DOMContentLoaded", function () {
    document.querySelectorAll("[data-keeps-focus]").forEach(function (target) {
      target.dataset.known = ids(target).join(" ");
    });
  });
})();
