// Runs the WebAssembly build in node: a generation is coded, signed, checked and decoded;
// node's own Ed25519 signs the certificate and checks the header, so that two libraries
// must agree. Usage: node check.mjs FILE.wasm

import assert from 'node:assert/strict';
import { createPrivateKey, createPublicKey, generateKeyPairSync, randomBytes, sign, verify }
  from 'node:crypto';
import { readFileSync } from 'node:fs';

const K = 16;
const N = 20;
const EPOCH = 7n;
// 200 ms of 4 Mbit/s.
const MEDIA_LEN = 100_000;
const ROUNDS = 50;

const module = new WebAssembly.Module(readFileSync(process.argv[2]));
assert.deepEqual(WebAssembly.Module.imports(module), [], 'a pure build imports nothing');
const wasm = new WebAssembly.Instance(module).exports;

/** Copies bytes in; the number of their buffer. */
function give(bytes) {
  const buffer = wasm.take(bytes.length);
  assert.notEqual(buffer, 0);
  new Uint8Array(wasm.memory.buffer, wasm.address(buffer), bytes.length).set(bytes);
  return buffer;
}

/** Copies a buffer out and frees it. */
function receive(buffer) {
  assert.notEqual(buffer, 0);
  const view = new Uint8Array(wasm.memory.buffer, wasm.address(buffer), wasm.length(buffer));
  const bytes = Buffer.from(view);
  wasm.forget(buffer);
  return bytes;
}

/** Calls with buffers of these bytes and frees them. */
function call(name, bytes, ...rest) {
  const buffers = bytes.map(give);
  const answer = wasm[name](...buffers, ...rest);
  buffers.forEach((buffer) => wasm.forget(buffer));
  return answer;
}

const u64 = (value) => {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64BE(value);
  return bytes;
};
const raw = (key) => Buffer.from(key.export({ format: 'jwk' }).x, 'base64url');

function altered(bytes, at = bytes.length >> 1) {
  const copy = Buffer.from(bytes);
  copy[at] ^= 1;
  return copy;
}

// The channel's key is node's; the epoch's secret is known to both.
const channel = randomBytes(16);
const owner = generateKeyPairSync('ed25519');
const secret = randomBytes(32);
const pkcs8 = Buffer.concat([Buffer.from('302e020100300506032b657004220420', 'hex'), secret]);
const epochKey = createPublicKey(createPrivateKey({ key: pkcs8, format: 'der', type: 'pkcs8' }));
const vouched = Buffer.concat([channel, u64(EPOCH), raw(epochKey)]);
const signed = Buffer.concat([Buffer.from('livestation epoch v1'), vouched]);
const certificate = Buffer.concat([vouched, sign(null, signed, owner.privateKey)]);

const openEpoch = (...bytes) => call('epoch', bytes);
const epoch = openEpoch(channel, raw(owner.publicKey), certificate);
assert.notEqual(epoch, 0, 'a certificate of node is good here');
assert.equal(openEpoch(channel, raw(owner.publicKey), altered(certificate)), 0);
assert.equal(openEpoch(altered(channel), raw(owner.publicKey), certificate), 0);
assert.equal(openEpoch(channel, altered(raw(owner.publicKey)), certificate), 0);
assert.equal(openEpoch(channel, raw(owner.publicKey), certificate.subarray(1)), 0);

const spent = { seal: 0, header: 0, pieces: 0, decode: 0 };
function timed(what, run) {
  const began = process.hrtime.bigint();
  const answer = run();
  spent[what] += Number(process.hrtime.bigint() - began) / 1e3;
  return answer;
}

function seal(sequence) {
  const body = Buffer.concat([Buffer.from([0, 0, 0, 4]), Buffer.from('init'),
    randomBytes(MEDIA_LEN)]);
  const whole = receive(timed('seal', () =>
    call('seal', [secret, channel, body], EPOCH, BigInt(sequence))));
  const start = 4 + whole.readUInt32BE();
  const header = whole.subarray(4, start);
  const len = (whole.length - start) / N;
  assert(Number.isInteger(len));
  const pieces = Array.from({ length: N }, (_, stripe) =>
    whole.subarray(start + stripe * len, start + (stripe + 1) * len));
  return { body, header, pieces };
}

function openGeneration(header) {
  const buffer = give(header);
  const generation = wasm.generation(epoch, buffer);
  wasm.forget(buffer);
  return generation;
}

/** Everything a viewer does with a generation of which it never got the pieces `lost`. */
function watch({ body, header, pieces }, lost) {
  const generation = timed('header', () => openGeneration(header));
  assert.notEqual(generation, 0, 'a true header passes');
  const add = (stripe, bytes) => {
    const buffer = give(bytes);
    const taken = wasm.piece(generation, stripe, buffer);
    wasm.forget(buffer);
    return taken;
  };
  const held = pieces.map((_, stripe) => stripe).filter((stripe) => !lost.includes(stripe));
  for (const stripe of held.slice(0, 2)) {
    assert.equal(add(stripe, altered(pieces[stripe])), 0, 'an altered piece is rejected');
    assert.equal(add(stripe, pieces[(stripe + 1) % N]), 0, 'so is one of another stripe');
  }
  assert.equal(add(N, pieces[0]), 0, 'and one of no stripe');
  const last = held.pop();
  timed('pieces', () => held.forEach((stripe) => assert.equal(add(stripe, pieces[stripe]), 1)));
  if (held.length < K) {
    assert.equal(wasm.decode(generation), 0, 'too few pieces are none');
  }
  assert.equal(add(last, pieces[last]), 1);
  const decoded = receive(timed('decode', () => wasm.decode(generation)));
  assert(decoded.equals(body), 'what comes out is what went in');
  wasm.forget(generation);
}

for (let round = 0; round < ROUNDS; round += 1) {
  const sealed = seal(round);
  const { header } = sealed;
  const unsigned = Buffer.concat([Buffer.from('livestation generation v1'),
    header.subarray(0, -64)]);
  assert(verify(null, unsigned, epochKey, header.subarray(-64)), 'node agrees on the header');
  for (const at of [0, 20, 30, 80, header.length - 1]) {
    assert.equal(openGeneration(altered(header, at)), 0, 'an altered header is rejected');
  }
  // Four pieces lost: of the data as many as can be, or any.
  watch(sealed, round % 2 ? [0, 5, 10, 15] : [round % N, (round + 3) % N, (round + 7) % N, 19]
    .filter((stripe, at, all) => all.indexOf(stripe) === at));
}

const each = Object.entries(spent).map(([what, us]) => `${what} ${(us / ROUNDS).toFixed(0)} µs`);
const viewer = (spent.header + spent.pieces + spent.decode) / ROUNDS;
console.log(`wasm in node ${process.versions.node}: ${ROUNDS} generations of ${MEDIA_LEN} bytes, `
  + `${N - K} of ${N} pieces lost: ${each.join(', ')}; `
  + `a viewer at 4 Mbit/s: ${(viewer * 5 / 1e4).toFixed(2)} % of a core`);
