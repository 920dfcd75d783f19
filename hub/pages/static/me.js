// A participant's own page on somebody else's computer: leaves at once when asked, also by pressing Escape twice, without
// a way back in the history; and signs out by itself when nobody has touched it for a while.
(function () {
  "use strict";
  const exit = document.querySelector("form[data-exit]"), mine = document.querySelector("[data-mine]");
  const ALONE_MS = 5 * 60000, TWICE_MS = 1000;
  let touched = Date.now(), escaped = -Infinity;

  function leave() {
    document.body.replaceChildren();
    document.title = "";
    // It counts at once, whether or not the word of it arrives: nobody who comes next may find the page open.
    document.cookie = "hub_left=1; path=/me; samesite=strict" + (location.protocol === "https:" ? "; secure" : "");
    fetch(exit.action, { method: "POST", keepalive: true, credentials: "same-origin" }).catch(function () { /* it ends by itself */ });
    location.replace(exit.dataset.exit);
  }

  exit.addEventListener("submit", function (event) {
    event.preventDefault();
    leave();
  });
  document.addEventListener("keydown", function (event) {
    if (event.key !== "Escape") return;
    if (event.timeStamp - escaped < TWICE_MS) {  // when they were pressed, however busy the phone is
      event.preventDefault();  // a third would stop the browser on its way
      leave();
    }
    escaped = event.timeStamp;
  });
  // A page that comes back from the browser's memory may be somebody's who has left.
  window.addEventListener("pageshow", function (event) { if (event.persisted) location.reload(); });
  if (!mine) return;
  ["pointerdown", "keydown", "scroll"].forEach(function (name) {
    document.addEventListener(name, function () { touched = Date.now(); }, { passive: true });
  });
  setInterval(function () {
    if (Date.now() - touched < ALONE_MS) return;
    const gone = function () { location.replace("/me?ended=1"); };
    fetch(exit.action, { method: "POST", credentials: "same-origin" }).then(gone, gone);
  }, 5000);
})();
