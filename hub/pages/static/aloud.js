// Reads what is marked on a page to somebody, in the page's language, when they ask. It uses the device's own voice.
(function () {
  "use strict";
  const place = document.querySelector("[data-aloud]");
  if (!place || !window.speechSynthesis || !window.SpeechSynthesisUtterance) return;
  const speech = window.speechSynthesis;

  function show(state) {
    place.querySelectorAll("[data-aloud-state]").forEach(function (one) { one.hidden = one.dataset.aloudState !== state; });
  }

  function stop() {
    speech.cancel();
    show("start");
  }

  function read() {
    const texts = Array.from(document.querySelectorAll("[data-read] :is(h1, h2, p, li, label)"), function (one) { return one.textContent.trim(); });
    texts.filter(Boolean).forEach(function (text, at, all) {
      const said = new SpeechSynthesisUtterance(text);
      said.lang = document.documentElement.lang;
      if (at === all.length - 1) said.onend = function () { show("start"); };
      speech.speak(said);
    });
    show("stop");
  }

  place.hidden = false;
  place.querySelector("button").addEventListener("click", function () {
    if (place.querySelector("[data-aloud-state=start]").hidden) stop();
    else read();
  });
  window.addEventListener("pagehide", stop);
})();
