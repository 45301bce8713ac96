// Draws the swarm: seeders in the middle, viewers on rings by their depth, a line for each
// parent and child coloured by the stripes between them, and pieces on their way.
"use strict";

class SwarmPicture {
  static STRANDS_MAX = 600;

  constructor(canvas) {
    this.canvas = canvas;
    this.pen = canvas.getContext("2d");
    this.peers = new Map();
    this.edges = [];
    this.stripes = 20;
    this.still = matchMedia("(prefers-reduced-motion: reduce)");
    this.dark = matchMedia("(prefers-color-scheme: dark)");
    this.seen = true;
    this.chosen = null;
    canvas.addEventListener("pointermove", (event) => this.choose(event));
    canvas.addEventListener("pointerdown", (event) => this.choose(event));
    canvas.addEventListener("pointerleave", () => (this.chosen = null));
    new IntersectionObserver(([entry]) => {
      this.seen = entry.isIntersecting;
    }).observe(canvas);
    this.last = 0;
    requestAnimationFrame((now) => this.frame(now));
  }

  // Takes the reply of /swarm.
  update(swarm) {
    this.stripes = swarm.n || this.stripes;
    const before = this.peers;
    this.peers = new Map();
    swarm.peers.forEach((peer, index) => {
      const old = before.get(peer.id);
      this.peers.set(peer.id, {
        ...peer,
        index,
        x: old?.x ?? 0,
        y: old?.y ?? 0,
        born: old?.born ?? performance.now(),
        children: 0,
      });
    });
    const all = [...this.peers.values()];
    const bundles = new Map();
    for (const child of all) {
      for (const [stripe, parent] of child.parents) {
        const from = all[parent];
        if (!from) continue;
        from.children += 1;
        const key = parent * all.length + child.index;
        if (!bundles.has(key)) bundles.set(key, { from, to: child, stripes: [] });
        bundles.get(key).stripes.push(stripe);
      }
    }
    this.edges = [...bundles.values()];
    this.place(all);
  }

  // A peer's ring is its mean depth over its stripes' trees; its angle keeps its name's
  // place, so that it does not jump when others come and go.
  place(all) {
    const seeders = all.filter((peer) => peer.role === "seeder");
    const viewers = all.filter((peer) => peer.role !== "seeder");
    seeders.forEach((peer, i) => {
      const angle = (i / seeders.length) * 2 * Math.PI;
      const r = seeders.length > 1 ? 0.07 : 0;
      peer.tx = r * Math.cos(angle);
      peer.ty = r * Math.sin(angle);
    });
    for (const peer of viewers) peer.depth = SwarmPicture.depth(peer, all);
    const depths = viewers.map((peer) => peer.depth);
    const [least, most] = [Math.min(...depths), Math.max(...depths)];
    const ordered = [...viewers].sort((a, b) => (a.id < b.id ? -1 : 1));
    ordered.forEach((peer, i) => {
      const angle = ((i + 0.5) / ordered.length) * 2 * Math.PI - Math.PI / 2;
      const spread = Math.min(1, most - least);
      const within = spread > 0.05 ? (peer.depth - least) / (most - least) : 0.5;
      const r = 0.74 + 0.2 * spread * (2 * within - 1);
      peer.tx = r * Math.cos(angle);
      peer.ty = r * Math.sin(angle);
    });
  }

  static depth(peer, all) {
    if (!peer.parents.length) return 2;
    let sum = 0;
    for (const [stripe] of peer.parents) {
      let at = peer;
      let steps = 0;
      while (at && at.role !== "seeder" && steps < 12) {
        const up = at.parents.find(([s]) => s === stripe);
        at = up ? all[up[1]] : null;
        steps += 1;
      }
      sum += steps;
    }
    return sum / peer.parents.length;
  }

  // The peer under the pointer: its lines are drawn, the others fade.
  choose(event) {
    const box = this.canvas.getBoundingClientRect();
    let nearest = 22;
    this.chosen = null;
    for (const peer of this.peers.values()) {
      const distance = Math.hypot(peer.px + box.left - event.clientX, peer.py + box.top - event.clientY);
      if (distance < nearest) [nearest, this.chosen] = [distance, peer.id];
    }
  }

  frame(now) {
    requestAnimationFrame((next) => this.frame(next));
    const gap = this.still.matches ? 500 : 33;
    if (document.hidden || !this.seen || now - this.last < gap) return;
    this.last = now;
    this.draw(now);
  }

  draw(now) {
    const { canvas, pen } = this;
    const scale = Math.min(2, devicePixelRatio || 1);
    const width = canvas.clientWidth;
    const height = canvas.clientHeight;
    if (canvas.width !== Math.round(width * scale) || canvas.height !== Math.round(height * scale)) {
      canvas.width = Math.round(width * scale);
      canvas.height = Math.round(height * scale);
    }
    pen.setTransform(scale, 0, 0, scale, 0, 0);
    pen.clearRect(0, 0, width, height);
    const rx = Math.max(40, Math.min(width / 2 - 26, height * 0.95));
    const ry = height / 2 - 26;
    const at = (peer) => [peer.px, peer.py];
    const ease = this.still.matches ? 1 : 0.12;
    for (const peer of this.peers.values()) {
      peer.x += (peer.tx - peer.x) * ease;
      peer.y += (peer.ty - peer.y) * ease;
      peer.px = width / 2 + peer.x * rx;
      peer.py = height / 2 + peer.y * ry;
    }
    this.rings(width / 2, height / 2, rx, ry);
    this.drawEdges(now, at);
    this.drawPeers(now, at);
    if (this.peers.size === 0) this.empty(width / 2, height / 2);
  }

  rings(x, y, rx, ry) {
    this.pen.strokeStyle = this.dark.matches ? "#ffffff10" : "#10162a12";
    this.pen.lineWidth = 1;
    for (const r of [0.38, 0.66, 0.94]) {
      this.pen.beginPath();
      this.pen.ellipse(x, y, rx * r, ry * r, 0, 0, 2 * Math.PI);
      this.pen.stroke();
    }
  }

  // Few lines: a strand for each stripe. Many: one for each parent and child, without pieces.
  drawEdges(now, at) {
    const near = ({ from, to }) => from.id === this.chosen || to.id === this.chosen;
    const edges = this.peers.has(this.chosen) ? this.edges.filter(near) : this.edges;
    const strands = edges.reduce((sum, edge) => sum + edge.stripes.length, 0);
    const crowd = strands > SwarmPicture.STRANDS_MAX;
    for (const { from, to, stripes } of edges) {
      const drawn = crowd ? stripes.slice(0, 1) : stripes;
      drawn.forEach((stripe, i) => {
        const bend = 0.1 + 0.055 * (i - (drawn.length - 1) / 2);
        this.strand(now, at(from), at(to), bend, stripe, crowd ? null : to.index);
      });
    }
  }

  strand(now, [x1, y1], [x2, y2], bend, stripe, shift) {
    const { pen } = this;
    const cx = (x1 + x2) / 2 + (y2 - y1) * bend;
    const cy = (y1 + y2) / 2 - (x2 - x1) * bend;
    pen.strokeStyle = this.colour(stripe, shift === null ? 0.18 : 0.34);
    pen.lineWidth = 1;
    pen.beginPath();
    pen.moveTo(x1, y1);
    pen.quadraticCurveTo(cx, cy, x2, y2);
    pen.stroke();
    if (shift === null || this.still.matches) return;
    const t = (now / 1300 + stripe * 0.137 + shift * 0.311) % 1;
    const u = 1 - t;
    pen.fillStyle = this.colour(stripe, 0.95);
    pen.beginPath();
    pen.arc(u * u * x1 + 2 * u * t * cx + t * t * x2, u * u * y1 + 2 * u * t * cy + t * t * y2, 1.8, 0, 7);
    pen.fill();
  }

  drawPeers(now, at) {
    const { pen } = this;
    const crowded = Math.min(1, 3.4 / Math.sqrt(this.peers.size + 1));
    const size = crowded * Math.min(1, 0.45 + this.canvas.clientWidth / 1200);
    const ink = this.dark.matches ? "#eef2ff" : "#10162a";
    for (const peer of this.peers.values()) {
      const [x, y] = at(peer);
      const seeder = peer.role === "seeder";
      const grown = Math.min(1, (now - peer.born) / 500);
      const r = Math.max(0, grown) * (seeder ? 12 : size * Math.min(10, 4.5 + 0.3 * peer.children));
      const beat = seeder && !this.still.matches ? 4 + 3 * Math.sin(now / 450) : 3;
      pen.fillStyle = seeder ? "#5eead433" : this.dark.matches ? "#ffffff14" : "#10162a10";
      pen.beginPath();
      pen.arc(x, y, r + beat, 0, 7);
      pen.fill();
      pen.fillStyle = seeder ? (this.dark.matches ? "#5eead4" : "#0d9488") : peer.playing ? ink : "#8f9bbb";
      pen.beginPath();
      pen.arc(x, y, r, 0, 7);
      pen.fill();
      if (peer.id === this.chosen && !seeder) this.label(peer, x, y - 16);
      if (seeder) {
        pen.fillStyle = this.dark.matches ? "#8f9bbb" : "#5c6580";
        pen.font = "600 11px system-ui, sans-serif";
        pen.textAlign = "center";
        pen.fillText("seeder", x, y + 30);
      }
    }
  }

  label(peer, x, y) {
    const { pen } = this;
    const text = `gets ${peer.parents.length} stripes, hands on ${peer.children}`;
    pen.font = "600 12px system-ui, sans-serif";
    const half = pen.measureText(text).width / 2;
    const middle = Math.min(Math.max(x, half + 10), this.canvas.clientWidth - half - 10);
    pen.textAlign = "center";
    pen.fillStyle = this.dark.matches ? "#080c18d9" : "#ffffffe6";
    pen.fillRect(middle - half - 8, y - 14, 2 * half + 16, 21);
    pen.fillStyle = this.dark.matches ? "#eef2ff" : "#10162a";
    pen.fillText(text, middle, y);
  }

  empty(x, y) {
    this.pen.fillStyle = this.dark.matches ? "#8f9bbb" : "#5c6580";
    this.pen.font = "15px system-ui, sans-serif";
    this.pen.textAlign = "center";
    this.pen.fillText("Nobody is here yet.", x, y);
  }

  colour(stripe, alpha) {
    const light = this.dark.matches ? 66 : 46;
    return `hsl(${Math.round((stripe * 360) / this.stripes)} 85% ${light}% / ${alpha})`;
  }
}
