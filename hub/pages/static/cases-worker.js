// Keeps the case manager's pages openable without a network. What it stores is the same for everybody: files, and a
// page with nothing on it. What is about people is in kept.js's hands, sealed.
"use strict";
let formed = 0;

// The blank form for somebody new, which has nothing of anybody on it; anew after an hour.
async function keepForm() {
  if (Date.now() - formed < FORM_MS_MAX) return;
  const answer = await fetch(FORM + "?blank=1", { cache: "reload" });
  if (!answer.ok || answer.redirected) return;
  const cache = await caches.open(NAME), text = await answer.clone().text();
  await cache.addAll(Array.from(text.matchAll(/src="(\/static\/[^"]+)"/g), function (found) { return found[1].replaceAll("&amp;", "&"); }));
  await cache.put(FORM, answer);
  formed = Date.now();
}
const SHELL = "/cases/offline", FORM = "/cases/people/new/consent", FORM_MS_MAX = 3600000, MARK = new URL(location.href).searchParams.get("v"), NAME = "hub-" + MARK;

self.addEventListener("install", function (event) {
  event.waitUntil((async function () {
    const cache = await caches.open(NAME), shell = await fetch(SHELL, { cache: "reload" });
    if (!shell.ok) throw new Error("no page to keep");
    const text = await shell.clone().text();
    const files = Array.from(text.matchAll(/(?:src|href)="(\/static\/[^"]+)"/g), function (found) { return found[1].replaceAll("&amp;", "&"); });
    await cache.addAll(files);
    await cache.put(SHELL, shell);
    await keepForm().catch(function () { /* next time */ });
    await self.skipWaiting();
  })());
});

self.addEventListener("activate", function (event) {
  event.waitUntil((async function () {
    for (const name of await caches.keys()) if (name !== NAME) await caches.delete(name);
    await self.clients.claim();
  })());
});

async function opened(request) {
  try {
    const answer = await fetch(request);
    if (![502, 503, 504].includes(answer.status)) return answer;
  } catch { /* no network: as below */ }
  const kept = new URL(request.url).pathname === FORM && (await caches.match(FORM, { ignoreVary: true }));
  return kept || (await caches.match(SHELL, { ignoreVary: true })) || Response.error();
}

self.addEventListener("fetch", function (event) {
  const request = event.request, at = new URL(request.url);
  if (at.origin !== location.origin || request.method !== "GET") return;
  if (request.mode === "navigate") {
    event.respondWith(opened(request));
    if (at.pathname === "/cases") event.waitUntil(keepForm().catch(function () { /* next time */ }));
  }
  else if (at.pathname.startsWith("/static/")) {
    event.respondWith(caches.match(request, { ignoreVary: true }).then(function (found) { return found || fetch(request); }));
  }
});

// A push says that there is something, and nothing else: neither here nor on a locked screen does anybody's name stand.
self.addEventListener("push", function (event) {
  event.waitUntil((async function () {
    let kind = "urgent";
    try { kind = event.data.json().kind; } catch { /* somebody else's words are not shown */ }
    const shell = await caches.match(SHELL, { ignoreVary: true }), text = shell ? await shell.text() : "";
    const found = text.match(kind === "digest" ? /data-push-digest="([^"&<]*)"/ : /data-push="([^"&<]*)"/);
    const lang = (text.match(/<html lang="([a-z]+)"/) || [])[1] || "en";
    await self.registration.showNotification(found ? found[1] : "Diversion hub", { tag: kind, lang: lang, renotify: kind === "urgent", requireInteraction: false });
  })());
});

self.addEventListener("notificationclick", function (event) {
  event.notification.close();
  event.waitUntil((async function () {
    for (const one of await self.clients.matchAll({ type: "window" })) {
      if (new URL(one.url).pathname.startsWith("/cases")) return one.focus();
    }
    return self.clients.openWindow("/cases");
  })());
});
