// The whole way of a broadcaster, in a real browser with the real program and ffmpeg: sign up,
// follow the link, be let in, make a channel, broadcast with the very command that is shown, be
// seen, replace the key, delete the account.
// Usage: node walk.mjs LIVESTATION CHROMIUM [FOLDER for pictures of the pages]

import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { canLook, faults } from './access.mjs';
import { Browser } from './browser.mjs';

const [program, chromium, pictures] = process.argv.slice(2);
const PASSWORD = 'a long enough sentence';
const EMAIL = 'ann@mail.example';
const folder = mkdtempSync(join(tmpdir(), 'livestation-walk-'));
const data = join(folder, 'data');
if (pictures) mkdirSync(pictures, { recursive: true });
const children = [];
const sleep = (ms) => new Promise((done) => setTimeout(done, ms));

function start(name, args, options = {}) {
  const child = spawn(name, args, { stdio: 'ignore', cwd: folder, ...options });
  child.ended = new Promise((done) => child.on('exit', done));
  children.push(child);
  return child;
}

async function soon(look) {
  for (let tries = 0; tries < 200; tries += 1) {
    const found = look();
    if (found) return found;
    await sleep(100);
  }
  throw new Error(`never: ${look}`);
}

function letters() {
  const mail = join(data, 'mail');
  if (!existsSync(mail)) return [];
  return readdirSync(mail).filter((name) => name.endsWith('.eml')).sort()
    .map((name) => readFileSync(join(mail, name), 'utf8').replaceAll('=\r\n', '').replaceAll('=3D', '='));
}

const link = (letter) => letter.match(/https?:\/\/\S+link=\S+/)?.[0];
const admin = (...args) => execFileSync(program, ['admin', ...args, '--data-dir', data], { encoding: 'utf8' });

const SHAPES = [
  ['desktop-light', { width: 1280, height: 860, dark: false }],
  ['desktop-dark', { width: 1280, height: 860, dark: true }],
  ['phone-light', { width: 390, height: 844, dark: false }],
  ['phone-dark', { width: 390, height: 844, dark: true }],
];

// The page as it is, in every shape; nothing may reach beyond its edge, or keep anybody out.
async function show(browser, name) {
  for (const [shape, how] of SHAPES) {
    await browser.emulate(how);
    await sleep(pictures ? 400 : 50);
    const wide = await browser.evaluate('document.documentElement.scrollWidth - innerWidth');
    assert.ok(wide <= 0, `${name}, ${shape}: ${wide} pixels too wide`);
    if (canLook) assert.deepEqual(await faults(browser), [], `${name}, ${shape}: accessibility`);
    if (pictures) writeFileSync(join(pictures, `${name}-${shape}.png`), await browser.picture());
  }
  await browser.emulate(SHAPES[0][1]);
}

async function walk(browser, site) {
  await browser.go(`${site}/`);
  await show(browser, 'front-off-air');
  await browser.go(`${site}/signup`);
  await browser.send('/signup$/', { email: 'ann@mail', password: 'short' });
  assert.equal(await browser.evaluate('document.querySelectorAll(".fault").length'), 2);
  assert.equal(await browser.evaluate('document.querySelector("[name=email]").value'), 'ann@mail');
  await show(browser, 'signup');
  await browser.send('/signup$/', { email: EMAIL, password: PASSWORD });
  await show(browser, 'sent');
  const letter = await soon(() => letters()[0]);
  await browser.go(link(letter));
  await show(browser, 'confirm');
  await browser.send('/confirm$/', { password: PASSWORD });
  assert.equal(await browser.evaluate('location.pathname'), '/dashboard');
  await browser.until('document.body.innerText.includes("You are next.")');
  await show(browser, 'waiting');

  admin('approve', '--next', '1');
  assert.match(admin('list'), /in +ann@mail\.example/);
  await soon(() => letters()[1]);
  await browser.go(`${site}/dashboard`);
  await browser.send('/logout$/', {});
  await browser.go(`${site}/dashboard`);
  await show(browser, 'login');
  await browser.go(`${site}/login/forgot`);
  await show(browser, 'forgot');
  await browser.send('/forgot$/', { email: EMAIL });
  await browser.go(link(await soon(() => letters()[2])));
  await show(browser, 'reset');
  await browser.go(`${site}/dashboard`);
  await browser.send('/login$/', { email: EMAIL, password: PASSWORD });
  await browser.send('/dashboard$/', { name: 'my-show', title: 'An evening with Ann' });
  await browser.send('/my-show\\/keys$/', { name: 'laptop' });
  await show(browser, 'new-key');
  const command = await browser.evaluate('document.getElementById("push").textContent');
  const key = command.match(/ls_[\w-]+/)[0];

  execFileSync('ffmpeg', ['-v', 'error', '-f', 'lavfi', '-i', 'testsrc2=size=1280x720:rate=30',
    '-f', 'lavfi', '-i', 'sine=frequency=330:sample_rate=48000', '-t', '90', '-preset', 'ultrafast',
    'show.mp4'], { cwd: folder });
  const caster = start('sh', ['-c', `exec ${command}`]);
  await browser.go(`${site}/dashboard/my-show`);
  await browser.until('document.getElementById("badge").textContent === "live"');
  await browser.until('document.getElementById("video").currentTime > 2');
  await show(browser, 'channel');
  await browser.go(`${site}/`);
  await browser.until('document.querySelector("#live [data-channel=my-show]")');
  await show(browser, 'front');
  await browser.go(`${site}/my-show`);
  const at = await browser.until('document.getElementById("video").currentTime');
  await browser.until(`document.getElementById("video").currentTime > ${at} + 2`);
  await show(browser, 'watch');

  await browser.go(`${site}/dashboard/my-show`);
  await browser.send('/rotate$/', {});
  await show(browser, 'revoked-key');
  const next = await browser.evaluate('document.querySelector(".shown code").textContent');
  assert.notEqual(next, key);
  const end = await Promise.race([caster.ended, sleep(8000).then(() => 'still on air')]);
  assert.notEqual(end, 'still on air', 'the broadcast with the old key ends by itself');
  const refused = start('sh', ['-c', `exec ${command}`]);
  assert.notEqual(await refused.ended, 0, 'the old key is refused');
  await browser.go(`${site}/dashboard`);
  await show(browser, 'dashboard');

  await browser.go(`${site}/account`);
  await browser.send('/tokens$/', { name: 'my script', read: true });
  await browser.until('document.querySelector(".shown code").textContent.startsWith("lsa_")');
  await show(browser, 'account');
  admin('promote', EMAIL);
  admin('invite', '--note', 'readers of the newsletter', '--uses', '20');
  await browser.go(`${site}/admin`);
  await show(browser, 'admin');
  await browser.go(`${site}/nothing-here`);
  await show(browser, 'nothing');
  // The one complaint that is due: nothing is there.
  const complaints = browser.complaints.filter((text) => !/nothing-here|ERR_ABORTED|status of (404|422)/.test(text));
  assert.deepEqual(complaints, []);

  await browser.go(`${site}/account`);
  await browser.send('/account\\/delete$/', { old: PASSWORD });
  assert.equal(await browser.evaluate('location.pathname'), '/');
  assert.match(admin('list'), /^0 wait, 0 are in/);
}

let browser;
try {
  const ready = join(folder, 'ready.json');
  start(program, ['standalone', '--data-dir', data, '--ready-json', ready, '--http', '127.0.0.1:0',
    '--rtmp', '127.0.0.1:0', '--srt', '127.0.0.1:0', '--udp', '127.0.0.1:0'], {
    stdio: ['ignore', 'ignore', process.env.WALK_LOG ? 'inherit' : 'ignore'],
  });
  await soon(() => existsSync(ready));
  browser = await Browser.start(chromium, join(folder, 'profile'));
  await walk(browser, JSON.parse(readFileSync(ready)).http);
} finally {
  await browser?.stop();
  for (const child of children) child.kill();
  await Promise.all(children.map((child) => child.ended));
  rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
}
