// Tells of each channel on the front page whether it is live, while the page is seen.
"use strict";

const EVERY_MS = 5000;

async function look(card) {
  const state = card.querySelector(".state");
  try {
    const reply = await fetch(`/api/v1/channels/${card.dataset.channel}/stats`);
    if (!reply.ok) throw new Error(reply.statusText);
    const stats = await reply.json();
    card.classList.toggle("live", stats.live);
    state.textContent = stats.live
      ? `live · ${stats.viewers} ${stats.viewers === 1 ? "viewer" : "viewers"}`
      : "off air";
  } catch {
    card.classList.remove("live");
    state.textContent = "unknown";
  }
}

async function lookAtAll() {
  if (!document.hidden) {
    for (const card of document.querySelectorAll(".card")) await look(card);
  }
  setTimeout(lookAtAll, EVERY_MS);
}

lookAtAll();
