// Finding somebody among one's own people, as one types: nothing of it goes to the hub, or into an address.
(function () {
  "use strict";
  const field = document.getElementById("who"), place = document.getElementById("people");
  if (!field || !place) return;

  function look() {
    const wanted = field.value.trim().toLocaleLowerCase();
    let found = 0;
    place.querySelectorAll(".card").forEach(function (card) {
      card.hidden = !card.querySelector("[data-find]").textContent.toLocaleLowerCase().includes(wanted);
      if (!card.hidden) found += 1;
    });
    const none = place.querySelector("[data-none]");
    if (none) none.hidden = found > 0;
  }

  field.addEventListener("input", look);
  field.form.addEventListener("submit", function (event) { event.preventDefault(); look(); });
  document.addEventListener("hub:shown", look);
  look();
})();
