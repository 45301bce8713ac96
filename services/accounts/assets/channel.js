// Plays a channel and shows its figures. The picture comes as one endless fragmented MP4
// from the seeder and is played through Media Source Extensions.
"use strict";

const channel = document.body.dataset.channel;
const api = `/api/v1/channels/${channel}`;
const $ = (id) => document.getElementById(id);
const video = $("video");
const sleep = (ms) => new Promise((done) => setTimeout(done, ms));

const RETRY_MS = 1000;
const RETRY_MAX_MS = 10000;
const SILENCE_MS = 12000;
const TOLD_FOR_MS = 15000;
// Behind the end of what has come: more is jumped over, less is caught up with or kept.
const FAR_S = 4;
const NEAR_S = 1.5;
const EDGE_S = 0.7;
const KEEP_S = 12;

class Unsupported extends Error {}

let live = false;
let toldAt = 0;
let wake = () => {};

// ---- picture

async function watch() {
  let pause = RETRY_MS;
  for (;;) {
    // The figures tell when it goes live; without them one looks for oneself.
    if (!live) await woken(RETRY_MS);
    while (!live && Date.now() - toldAt < TOLD_FOR_MS) {
      sayWaiting();
      await woken(RETRY_MAX_MS);
    }
    try {
      await playOnce();
      pause = RETRY_MS;
    } catch (error) {
      if (error instanceof Unsupported) {
        say("This browser cannot play the broadcast", error.message);
        return;
      }
    }
    if (live) say("Reconnecting…", "");
    else sayWaiting();
    await woken(pause);
    pause = Math.min(RETRY_MAX_MS, pause * 1.6);
  }
}

function woken(ms) {
  return Promise.race([sleep(ms), new Promise((done) => (wake = done))]);
}

async function playOnce() {
  const reply = await fetch(`${api}/ticket`, { method: "POST" });
  if (!reply.ok) throw new Error("no ticket");
  const { ticket } = await reply.json();
  const stop = new AbortController();
  const stream = await fetch(`/live/${channel}.mp4?ticket=${encodeURIComponent(ticket)}`, { signal: stop.signal });
  if (!stream.ok || !stream.body) throw new Error("not live");
  try {
    await feed(stream.body.getReader(), mime(stream.headers.get("X-Codecs")));
  } finally {
    stop.abort();
    video.removeAttribute("src");
    video.load();
  }
}

function mime(codecs) {
  const type = `video/mp4; codecs="${codecs || "avc1.64001f,mp4a.40.2"}"`;
  const Source = window.ManagedMediaSource || window.MediaSource;
  if (!Source) throw new Unsupported("It has no Media Source Extensions.");
  if (!Source.isTypeSupported(type)) throw new Unsupported(`It does not know ${type}.`);
  return type;
}

async function feed(reader, type) {
  const source = new (window.ManagedMediaSource || window.MediaSource)();
  const url = URL.createObjectURL(source);
  video.disableRemotePlayback = true;
  video.src = url;
  await once(source, "sourceopen", 5000);
  URL.revokeObjectURL(url);
  const buffer = source.addSourceBuffer(type);
  for (;;) {
    const { done, value } = await within(reader.read(), SILENCE_MS);
    if (done) return;
    if (video.error) throw new Error(video.error.message);
    await append(buffer, value);
    await keepUp(buffer);
  }
}

async function append(buffer, bytes) {
  try {
    buffer.appendBuffer(bytes);
  } catch (error) {
    if (error.name !== "QuotaExceededError") throw error;
    await trim(buffer, Math.max(0, video.currentTime - 1));
    buffer.appendBuffer(bytes);
  }
  if (buffer.updating) await once(buffer, "updateend", 5000);
}

async function keepUp(buffer) {
  const ranges = buffer.buffered;
  if (!ranges.length) return;
  const last = ranges.length - 1;
  const [start, end] = [ranges.start(last), ranges.end(last)];
  const behind = end - video.currentTime;
  if (video.currentTime < start || behind > FAR_S) video.currentTime = Math.max(start, end - EDGE_S);
  video.playbackRate = behind > NEAR_S ? 1.06 : 1;
  if (video.paused && end - start > 0.3 && !video.dataset.held) begin();
  if (video.currentTime - ranges.start(0) > 2 * KEEP_S) await trim(buffer, video.currentTime - KEEP_S);
}

async function trim(buffer, until) {
  if (until <= 0) return;
  buffer.remove(0, until);
  if (buffer.updating) await once(buffer, "updateend", 5000);
}

function begin() {
  video.play().catch(() => {
    video.muted = true;
    video.play().catch(() => {});
  });
}

function once(target, name, ms) {
  return within(new Promise((done) => target.addEventListener(name, done, { once: true })), ms);
}

function within(promise, ms) {
  let timer;
  const late = new Promise((_, fail) => {
    timer = setTimeout(() => fail(new Error("too late")), ms);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

function sayWaiting() {
  say("Waiting for the broadcast", "It starts here by itself as soon as the channel goes live.");
}

function say(text, hint) {
  $("says").textContent = text;
  $("hint").textContent = hint;
  $("cover").classList.remove("away");
  $("unmute").hidden = true;
  $("full").hidden = true;
}

video.addEventListener("playing", () => {
  $("cover").classList.add("away");
  $("unmute").hidden = !video.muted;
  $("full").hidden = !document.fullscreenEnabled;
});
video.addEventListener("volumechange", () => {
  $("unmute").hidden = !video.muted;
});
$("unmute").addEventListener("click", () => {
  video.muted = false;
  video.volume = 1;
  begin();
});
$("full").addEventListener("click", () => {
  if (document.fullscreenElement) document.exitFullscreen();
  else document.querySelector(".stage").requestFullscreen().catch(() => {});
});

// ---- figures

const swarm = new SwarmPicture($("picture"));

function show(stats) {
  const was = live;
  live = stats.live;
  toldAt = Date.now();
  if (live && !was) wake();
  $("badge").textContent = live ? "live" : "off air";
  $("badge").classList.toggle("live", live);
  $("viewers").textContent = stats.viewers.toLocaleString();
  const saved = stats.saved_ratio_60s ?? stats.saved_ratio;
  $("saved").textContent = saved == null ? "–" : `${(100 * Math.max(0, saved)).toFixed(1)} %`;
  $("meter").style.transform = `scaleX(${Math.min(1, Math.max(0, saved ?? 0))})`;
  $("lag").textContent = stats.lag_ms.p50 == null ? "–" : `${(stats.lag_ms.p50 / 1000).toFixed(1)} s`;
  $("stalls").textContent = stats.stalls.toLocaleString();
  $("rate").textContent = stats.rate_bps ? `${(stats.rate_bps / 1e6).toFixed(1)} Mbit/s` : "–";
}

async function ask(what) {
  const reply = await within(fetch(`${api}/${what}`), 3000);
  if (!reply.ok) throw new Error(reply.statusText);
  return reply.json();
}

async function figures() {
  let pause = 1000;
  for (;;) {
    if (!document.hidden) {
      try {
        const [stats, picture] = await Promise.all([ask("stats"), ask("swarm")]);
        show(stats);
        swarm.update(picture);
        pause = 1000;
      } catch {
        pause = Math.min(RETRY_MAX_MS, pause * 2);
      }
    }
    await sleep(pause);
  }
}

if ($("command")) $("command").textContent = `livestation watch ${location.origin}/${channel} --http 127.0.0.1:0`;
watch();
figures();
