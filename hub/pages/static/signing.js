// Signing: a pad to draw on, a picture of paper made small enough to send, and a form that is kept, sealed, where there is
// no network. Nothing is kept before it is signed whole: a device that dies in between has signed nothing.
(function () {
  "use strict";
  const form = document.querySelector("form[data-signing]");
  if (!form) return;
  const told = document.querySelector("[data-told]"), pad = form.querySelector("canvas"), at = form.elements;
  const WIDE_MAX = 1600, QUALITY = 0.7, LINE = 3, SCAN_BYTES_MAX = 600 * 1024;
  const pen = pad.getContext("2d");
  let down = false, drawn = false, busy = false;

  // ---- the pad

  function wipe() {
    pen.fillStyle = "white";
    pen.fillRect(0, 0, pad.width, pad.height);
    pen.strokeStyle = "black";
    pen.lineWidth = LINE;
    pen.lineCap = pen.lineJoin = "round";
    drawn = false;
    at.drawing.value = "";
  }

  function where(event) {
    const box = pad.getBoundingClientRect();
    return [(event.clientX - box.left) * pad.width / box.width, (event.clientY - box.top) * pad.height / box.height];
  }

  pad.addEventListener("pointerdown", function (event) {
    event.preventDefault();
    pad.setPointerCapture(event.pointerId);
    down = drawn = true;
    form.querySelector("[name=method][value=drawn]").checked = true;
    pen.beginPath();
    pen.moveTo(...where(event));
    pen.lineTo(...where(event));
    pen.stroke();
  });
  pad.addEventListener("pointermove", function (event) {
    if (!down) return;
    pen.lineTo(...where(event));
    pen.stroke();
  });
  ["pointerup", "pointercancel"].forEach(function (name) {
    pad.addEventListener(name, function () {
      down = false;
      if (drawn) at.drawing.value = pad.toDataURL("image/png");
    });
  });
  form.querySelector("[data-wipe]").addEventListener("click", wipe);

  // ---- a picture of paper

  function readAs(file) {
    return new Promise(function (done, failed) {
      const reader = new FileReader();
      reader.onload = function () { done(reader.result); };
      reader.onerror = function () { failed(reader.error); };
      reader.readAsDataURL(file);
    });
  }

  async function small(file) {
    if (!file.type.startsWith("image/") || file.size <= SCAN_BYTES_MAX) return readAs(file);
    const image = await createImageBitmap(file), shrink = Math.min(1, WIDE_MAX / Math.max(image.width, image.height));
    const sheet = document.createElement("canvas");
    sheet.width = Math.round(image.width * shrink);
    sheet.height = Math.round(image.height * shrink);
    sheet.getContext("2d").drawImage(image, 0, 0, sheet.width, sheet.height);
    return sheet.toDataURL("image/jpeg", QUALITY);
  }

  // ---- sending, or keeping

  function say(text) {
    told.hidden = false;
    told.replaceChildren(Object.assign(document.createElement("p"), { textContent: text }));
    told.scrollIntoView({ block: "center" });
  }

  async function fields(act) {
    if (at.form.hasAttribute("data-fresh")) at.form.value = crypto.randomUUID();
    at.form.removeAttribute("data-fresh");
    at.signed_at.value = new Date().toISOString();
    if (at.scan.files.length) {
      at.scanned.value = await small(at.scan.files[0]);
      at.scan.value = "";
    }
    const found = [["act", act]];
    for (const pair of new FormData(form)) if (pair[0] !== "csrf" && typeof pair[1] === "string") found.push(pair);
    return found;
  }

  async function keep(made) {
    const account = form.dataset.account === undefined ? null : form.dataset.account;
    const act = { path: new URL(form.action).pathname, fields: made.concat([["late", "yes"]]) };
    if (!(await kept.later(account, act).catch(function () { return false; }))) return say(form.dataset.wordsFull);
    form.querySelectorAll("fieldset, .row button").forEach(function (one) { one.disabled = true; });
    form.dataset.kept = "yes";
    say(form.dataset.wordsKept);
  }

  // What is missing is shown by the page that the hub draws; without a network the browser has to look itself.
  function whole() {
    const ticked = function (name) { return form.querySelector("[name=" + name + "]:checked") !== null; };
    const method = (form.querySelector("[name=method]:checked") || {}).value;
    const signed = { drawn: at.drawing.value, typed: at.typed.value.trim(), paper: at.scanned.value }[method];
    const number = at.local_id === undefined || at.local_id.value.trim();
    return Boolean(ticked("share") && ticked("until") && ticked("since") && ticked("adult") && ticked("witness") && at.name.value.trim() && signed && number);
  }

  async function sign() {
    const made = await fields("sign"), body = new URLSearchParams(made);
    if (form.querySelector("[name=adult][value=no]").checked) return plainly();
    body.set("csrf", at.csrf ? at.csrf.value : "");
    let answer = null;
    if (at.csrf && navigator.onLine) {
      try {
        answer = await fetch(form.action, { method: "POST", headers: { "HX-Request": "true" }, body: body, credentials: "same-origin" });
      } catch { /* no network: as below */ }
    }
    if (answer === null || [502, 503, 504].includes(answer.status)) return whole() ? keep(made) : say(form.dataset.wordsMissing);
    if (answer.status === 201) return location.assign(answer.headers.get("Location"));
    if (answer.status === 401) return location.assign("/signin?ended=1");
    if (![409, 422].includes(answer.status)) return say(form.dataset.wordsFailed);
    return plainly();
  }

  // The form goes as it would without script, so that the hub draws what is missing.
  function plainly() {
    form.append(Object.assign(document.createElement("input"), { type: "hidden", name: "act", value: "sign" }));
    HTMLFormElement.prototype.submit.call(form);
  }

  form.addEventListener("submit", function (event) {
    if (!event.submitter || event.submitter.value !== "sign") return;
    event.preventDefault();
    if (busy) return;
    busy = true;
    sign().finally(function () { busy = false; });
  });
  window.addEventListener("online", function () { if (form.dataset.kept) location.assign("/cases"); });

  const before = at.drawing.value;
  wipe();
  if (before) {
    const image = new Image();
    image.onload = function () { pen.drawImage(image, 0, 0); };
    image.src = at.drawing.value = before;
    drawn = true;
  }
  form.querySelector("[data-pad]").hidden = false;
})();
