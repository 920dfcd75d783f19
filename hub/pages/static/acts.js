// What a case manager does: told to the hub at once, or kept and told when there is a network. It names the version of
// the alert that she saw, so that telling it twice does it once, and that she is told where somebody was quicker.
// What can be undone can be for ten seconds here, and longer in the list, without taking the focus.
(function () {
  "use strict";
  if (!window.cases) return;
  const UNDO_MS = 10000, page = cases.page, toast = document.querySelector("[data-toast]");
  const said = toast && toast.querySelector("p"), undo = toast && toast.querySelector("form");
  let until = 0, timer = null, sending = null;

  function tell(text, path, version) {
    if (!toast) return;
    toast.hidden = false;
    said.textContent = text;
    hub.say(text);
    undo.hidden = !path;
    if (path) { undo.action = path; undo.elements.version.value = version; }
    until = Date.now() + UNDO_MS;
    clearTimeout(timer);
    timer = setTimeout(hide, UNDO_MS);
  }

  // Not from under somebody's finger or focus.
  function hide() {
    if (toast.matches(":hover") || toast.contains(document.activeElement)) { timer = setTimeout(hide, 1000); return; }
    toast.hidden = true;
    said.textContent = "";
  }

  function lost(text) {
    const place = document.querySelector("[data-lost]");
    const line = document.createElement("li");
    line.textContent = text;
    hub.say(text);
    place.querySelector("ul").append(line);
    place.hidden = false;
  }

  async function send(act) {
    const body = new URLSearchParams(act.fields);
    body.set("csrf", page.dataset.csrf || "");
    return fetch(act.path, { method: "POST", headers: { "HX-Request": "true" }, body: body, credentials: "same-origin" });
  }

  // Out: whether the hub has answered it, whatever it said.
  async function answered(act, answer, late) {
    if (answer.status === 401) { cases.leave(); return false; }
    if ([408, 429, 502, 503, 504].includes(answer.status)) return false;
    const html = await answer.text(), read = document.createElement("template");
    read.innerHTML = html;
    const first = read.content.querySelector("[data-mark]"), done = first && first.dataset.done;
    if (answer.ok || answer.status === 409) {
      if (first) cases.take(html);
      if (answer.ok && done && !late) tell(done, first.dataset.undo, first.dataset.undoVersion);
      else if (!answer.ok) (late ? lost : tell)(done || page.dataset.wordsLost);
    } else (late ? lost : tell)(page.dataset.wordsLost);
    // What somebody signed is never thrown away: it is tried again, and whoever took it is told each time.
    return answer.ok || !act.path.endsWith("/consent") || "kept";
  }

  async function act(form, button) {
    const path = new URL((button && button.hasAttribute("formaction")) ? button.formAction : form.action).pathname;
    const made = { path: path, fields: [] };
    for (const pair of new FormData(form, button)) if (pair[0] !== "csrf") made.fields.push(pair);
    hub.press();
    if (button) button.disabled = true;
    const asks = form.closest("dialog");
    if (asks) asks.close();
    try {
      if (cases.shell || !navigator.onLine || !(await answered(made, await send(made), false))) await later(made);
    } catch {
      await later(made);
    }
    if (button) button.disabled = false;
  }

  async function later(made) {
    const room = await kept.later(cases.shell ? null : page.dataset.account, made).catch(function () { return false; });
    tell(room ? page.dataset.wordsLater : page.dataset.wordsFull);
    const card = document.getElementById("alert-" + made.path.split("/")[3]);
    if (room && card) card.classList.add("later");
  }

  async function replay() {
    const waits = await kept.waiting(page.dataset.account);
    let sent = 0;
    for (const one of waits) {
      let whole = false;
      try { whole = await answered(one[1], await send(one[1]), true); } catch { return; }
      if (!whole) return;
      if (whole === "kept") continue;
      await kept.told(one[0]);
      sent += 1;
    }
    if (sent) tell(page.dataset.wordsSent.replace("#", sent.toLocaleString(document.documentElement.lang)));
  }

  // One at a time, also among several tabs.
  function connected() {
    if (sending) return;
    const alone = function () { return replay().catch(function () { /* next time */ }); };
    sending = navigator.locks ? navigator.locks.request("hub-acts", alone) : alone();
    sending.finally(function () { sending = null; });
  }
  document.addEventListener("hub:connected", connected);
  if (cases.open()) connected();

  document.addEventListener("submit", function (event) {
    if (!event.target.matches("form[data-act]")) return;
    event.preventDefault();
    if (event.target === undo) {  // it goes, and the focus with it
      toast.hidden = true;
      document.getElementById(cases.target.dataset.keepsFocus).focus({ preventScroll: true });
    }
    act(event.target, event.submitter);
  });
})();
