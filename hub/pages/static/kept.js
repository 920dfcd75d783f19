// What stays on this device while the hub can't be reached: the last pages, and what was done meanwhile. All of it
// is sealed with AES-GCM under keys that can't be taken out of the browser. Pages are sealed for one session and go
// with it; what was done belongs to the account, so that it isn't lost when a session ends on the road.
(function () {
  "use strict";
  const HOURS_MAX = 8, PAGES_MAX = 30, ACTS_MAX = 200;
  const words = { in: new TextEncoder(), out: new TextDecoder() };
  const can = Boolean(window.indexedDB && window.crypto && crypto.subtle);
  const OUT_MS_MAX = 2000;
  let opening = null, over = false;

  function asked(request) {
    return new Promise(function (done, failed) {
      request.onsuccess = function () { done(request.result); };
      request.onerror = function () { failed(request.error); };
    });
  }

  function database() {
    if (opening) return opening;
    const request = indexedDB.open("hub", 1);
    request.onupgradeneeded = function () {
      request.result.createObjectStore("keys");
      request.result.createObjectStore("pages");
      request.result.createObjectStore("acts", { autoIncrement: true });
    };
    opening = asked(request).then(function (found) {
      found.onversionchange = function () { found.close(); opening = null; };  // another tab signs out
      return found;
    });
    return opening;
  }

  async function store(name, mode) {
    return (await database()).transaction(name, mode || "readonly").objectStore(name);
  }

  // The key of a kind, made for `tag`. One that was made for another tag is destroyed with all that it sealed.
  async function key(kind, tag) {
    const found = await asked((await store("keys")).get(kind));
    if (found && (tag === null || found.tag === tag)) return found;
    if (tag === null) return null;
    const made = { tag: tag, key: await crypto.subtle.generateKey({ name: "AES-GCM", length: 256 }, false, ["encrypt", "decrypt"]) };
    await asked((await store(kind, "readwrite")).clear());
    await asked((await store("keys", "readwrite")).put(made, kind));
    return made;
  }

  function bound(held, kind) {
    return words.in.encode(kind + "\0" + held.tag);
  }

  async function seal(held, kind, value) {
    const iv = crypto.getRandomValues(new Uint8Array(12));
    const how = { name: "AES-GCM", iv: iv, additionalData: bound(held, kind) };
    const sealed = await crypto.subtle.encrypt(how, held.key, words.in.encode(JSON.stringify(value)));
    return { iv: iv, sealed: sealed, at: Date.now() };
  }

  async function unseal(held, kind, row) {
    const how = { name: "AES-GCM", iv: row.iv, additionalData: bound(held, kind) };
    return JSON.parse(words.out.decode(await crypto.subtle.decrypt(how, held.key, row.sealed)));
  }

  async function entries(kind) {
    const all = await store(kind);
    const [names, rows] = await Promise.all([asked(all.getAllKeys()), asked(all.getAll())]);
    return rows.map(function (row, at) { return [names[at], row]; });
  }

  async function drop(kind, name) {
    await asked((await store(kind, "readwrite")).delete(name));
  }

  async function wipe() {
    await asked((await store("keys", "readwrite")).delete("pages"));
    await asked((await store("pages", "readwrite")).clear());
  }

  const kept = {
    can: can,

    // Keep the page at this path as it was when the hub's alerts had come to `cursor`; too many or too old ones go.
    async save(session, path, html, cursor) {
      if (!can || over) return;
      const row = Object.assign(await seal(await key("pages", session), "pages", html), { cursor: cursor });
      await asked((await store("pages", "readwrite")).put(row, path));
      const rest = (await entries("pages")).sort(function (one, other) { return other[1].at - one[1].at; });
      for (const one of rest.slice(PAGES_MAX)) await drop("pages", one[0]);
      if (over) await wipe();  // the session ended meanwhile
    },

    // The page at this path as {html, at}; null where there is none, or none young enough.
    async read(path) {
      if (!can) return null;
      for (const one of await entries("pages")) {
        if (Date.now() - one[1].at > HOURS_MAX * 3600000) await drop("pages", one[0]);
      }
      const held = await key("pages", null), row = await asked((await store("pages")).get(path));
      return held && row ? { html: await unseal(held, "pages", row), at: row.at } : null;
    },

    // The hub was reached, and its alerts have come to `cursor`: what was kept before may not be allowed any more.
    // Out: whether the page at `path` stays.
    async only(cursor, path) {
      if (!can || over) return true;  // nothing is opened anew once it is destroyed
      const rows = await entries("pages"), stay = rows.filter(function (one) { return one[1].cursor === cursor; });
      for (const one of rows) if (!stay.includes(one)) await drop("pages", one[0]);
      return stay.some(function (one) { return one[0] === path; });
    },

    // A session is over: its key, and so every page.
    async forget() {
      if (!can) return;
      over = true;
      await wipe();
    },

    // Somebody signed out: everything.
    async destroy() {
      if (!can) return;
      over = true;
      (await database()).close();
      opening = null;
      await asked(indexedDB.deleteDatabase("hub"));
    },

    // Remember what was done; false where too much waits already. `account` is null for whoever it was last.
    async later(account, act) {
      if (!can || over) return false;
      const held = await key("acts", account);
      if (!held || (await asked((await store("acts")).count())) >= ACTS_MAX) return false;
      const row = await seal(held, "acts", act);
      await asked((await store("acts", "readwrite")).add(row));
      return true;
    },

    // What waits to be told to the hub, oldest first, as [name, act].
    async waiting(account) {
      if (!can || over) return [];
      const held = await key("acts", account), found = [];
      if (held) for (const one of await entries("acts")) found.push([one[0], await unseal(held, "acts", one[1])]);
      return found;
    },

    // It was told, or never will be.
    async told(name) { await drop("acts", name); },
  };
  window.kept = kept;

  document.addEventListener("submit", function (event) {
    if (!event.target.matches("form[action='/signout']") || over) return;
    event.preventDefault();
    const late = new Promise(function (done) { setTimeout(done, OUT_MS_MAX); });  // another tab may hold on to it
    const form = event.target, out = function () { form.submit(); };
    Promise.race([kept.destroy(), late]).then(out, out);
  });
})();
