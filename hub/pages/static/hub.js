// The live part of pages that work without it: says how the page is connected, keeps the focus where it was when
// something is swapped in, and announces what changed.
(function () {
  "use strict";
  const root = document.documentElement;

  function show(state) {
    if (!navigator.onLine) state = "offline";
    document.querySelectorAll("[data-link-state] [data-state]").forEach(function (span) {
      span.hidden = span.dataset.state !== state;
    });
    root.dataset.link = state;
  }

  let source = null;
  document.addEventListener("htmx:sseOpen", function (event) { source = event.detail.source; show("live"); });
  document.addEventListener("htmx:sseMessage", function () { show("live"); });
  document.addEventListener("htmx:sseError", function () { show("joining"); });
  document.addEventListener("htmx:sendError", function () { show("joining"); });
  window.addEventListener("offline", function () { show("offline"); });
  window.addEventListener("online", function () {
    show(source && source.readyState === EventSource.OPEN ? "live" : "joining");
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
    if (event.detail.successful && !document.querySelector("[sse-connect]")) show("live");
  });

  // The button that was pressed is disabled while its request runs, and so loses the focus before the swap. What
  // the page asks for by itself meanwhile doesn't make it forget the button.
  let pressed = null, focused = null;
  document.addEventListener("htmx:beforeRequest", function () {
    if (document.activeElement !== document.body) pressed = document.activeElement.id;
  });
  document.addEventListener("htmx:beforeSwap", function (event) {
    const target = event.detail.target, active = document.activeElement;
    const lost = active === document.body && pressed && target.querySelector("#" + CSS.escape(pressed));
    focused = lost ? pressed : target.contains(active) ? active.id : null;
  });
  document.addEventListener("htmx:afterSwap", function (event) {
    const target = event.detail.target;
    const known = (target.dataset.known || "").split(" ");
    const ids = Array.from(target.querySelectorAll("[id^='alert-'], tr[id]"), function (item) { return item.id; });
    if (target.dataset.known !== undefined) {
      ids.forEach(function (id) {
        if (!known.includes(id)) document.getElementById(id).classList.add("fresh");
      });
    }
    target.dataset.known = ids.join(" ");
    if (focused !== null && document.activeElement === document.body) {
      const home = document.getElementById(focused) || document.getElementById(target.dataset.keepsFocus || "main");
      if (home) home.focus({ preventScroll: true });
    }
    focused = pressed = null;
    const said = target.querySelector("[data-says]");
    const aloud = document.querySelector("[data-announce]");
    if (said && aloud && aloud.textContent !== said.dataset.says) aloud.textContent = said.dataset.says;
  });

  document.addEventListener("DOMContentLoaded", function () {
    document.querySelectorAll("[data-keeps-focus]").forEach(function (target) {
      target.dataset.known = Array.from(
        target.querySelectorAll("[id^='alert-'], tr[id]"), function (item) { return item.id; }
      ).join(" ");
    });
  });
})();
