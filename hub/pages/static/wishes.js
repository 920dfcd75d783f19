// Whether this device is told when something is urgent: by Web Push, where the browser has it.
(function () {
  "use strict";
  const place = document.querySelector("[data-device]");
  if (!place || !("serviceWorker" in navigator) || !("PushManager" in window)) return;
  const page = document.querySelector("[data-live], [data-worker]");

  function send(path, body) {
    return fetch(path, {
      method: "POST",
      headers: { "Content-Type": "application/json", "HX-Request": "true", "X-CSRF-Token": page.dataset.csrf },
      body: JSON.stringify(body),
    });
  }

  function show(state) {
    place.querySelectorAll("[data-push-state]").forEach(function (one) { one.hidden = one.dataset.pushState !== state; });
    place.hidden = false;
  }

  function bytes(text) {
    const plain = atob(text.replaceAll("-", "+").replaceAll("_", "/"));
    return Uint8Array.from(plain, function (one) { return one.charCodeAt(0); });
  }

  async function start() {
    const worker = await navigator.serviceWorker.register(page.dataset.worker, { scope: "/cases" });
    let subscription = await worker.pushManager.getSubscription();
    show(subscription ? "on" : "off");
    place.addEventListener("click", async function (event) {
      if (!event.target.closest("button")) return;
      try {
        if (subscription) {
          const gone = subscription;
          await send("/cases/devices/removals", { endpoint: gone.endpoint });
          await gone.unsubscribe();
          subscription = null;
        } else {
          const how = { userVisibleOnly: true, applicationServerKey: bytes(place.dataset.device) };
          const made = await worker.pushManager.subscribe(how);
          const answer = await send("/cases/devices", made.toJSON());
          if (!answer.ok) { await made.unsubscribe(); throw new Error("refused"); }
          subscription = made;
        }
        show(subscription ? "on" : "off");
      } catch {
        show("refused");
      }
    });
  }
  start().catch(function () { /* not over http */ });
})();
