// Tells of each channel on the page whether it is live, while the page is seen. The page is
// whole without it: it was made with what was known then.
"use strict";

const EVERY_MS = 5000;

async function look() {
  if (document.hidden) return;
  let channels;
  try {
    const reply = await fetch("/api/v1/live");
    if (!reply.ok) return;
    ({ channels } = await reply.json());
  } catch {
    return;
  }
  const viewers = new Map(channels.map((channel) => [channel.name, channel.viewers]));
  const on = document.getElementById("live");
  const off = document.getElementById("off-air");
  for (const card of document.querySelectorAll("[data-channel]")) {
    const count = viewers.get(card.dataset.channel);
    const live = count !== undefined;
    const text = live ? `live · ${count} ${count === 1 ? "viewer" : "viewers"}` : "off air";
    const state = card.querySelector(".state");
    if (state.textContent !== text) state.textContent = text;
    card.classList.toggle("live", live);
    const list = live ? on : off;
    if (list && card.closest("ul") !== list) list.append(card.closest("li"));
  }
  const nothing = document.getElementById("nothing");
  if (nothing) nothing.hidden = on.children.length > 0;
}

async function lookOn() {
  await look();
  setTimeout(lookOn, EVERY_MS);
}

lookOn();
