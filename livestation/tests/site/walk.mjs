// The whole way of a broadcaster, in a real browser with the real program and ffmpeg: sign up,
// follow the link, be let in, make a channel, broadcast with the very command that is shown, be
// seen, replace the key, delete the account.
// Usage: node walk.mjs LIVESTATION CHROMIUM [FOLDER for pictures of the pages]
// With LIVESTATION_DATABASE in the environment: through a station of several programs on that.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { canLook, faults } from './access.mjs';
import { Browser } from './browser.mjs';
import { Station, sleep, soon } from './station.mjs';

const [program, chromium, pictures] = process.argv.slice(2);
const PASSWORD = 'a long enough sentence';
const EMAIL = 'ann@mail.example';
const folder = mkdtempSync(join(tmpdir(), 'livestation-walk-'));
if (pictures) mkdirSync(pictures, { recursive: true });

const link = (letter) => letter.match(/https?:\/\/\S+link=\S+/)?.[0];

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

async function walk(browser, station) {
  const { site } = station;
  await browser.go(`${site}/`);
  await show(browser, 'front-off-air');
  await browser.go(`${site}/signup`);
  await browser.send('/signup$/', { email: 'ann@mail', password: 'short' });
  assert.equal(await browser.evaluate('document.querySelectorAll(".fault").length'), 2);
  assert.equal(await browser.evaluate('document.querySelector("[name=email]").value'), 'ann@mail');
  await show(browser, 'signup');
  await browser.send('/signup$/', { email: EMAIL, password: PASSWORD });
  await show(browser, 'sent');
  const letter = await soon(() => station.letters()[0]);
  await browser.go(link(letter));
  await show(browser, 'confirm');
  await browser.send('/confirm$/', { password: PASSWORD });
  assert.equal(await browser.evaluate('location.pathname'), '/dashboard');
  await browser.until('document.body.innerText.includes("You are next.")');
  await show(browser, 'waiting');

  station.admin('approve', '--next', '1');
  assert.match(station.admin('list'), /in +ann@mail\.example/);
  await soon(() => station.letters()[1]);
  await browser.go(`${site}/dashboard`);
  await browser.send('/logout$/', {});
  await browser.go(`${site}/dashboard`);
  await show(browser, 'login');
  await browser.go(`${site}/login/forgot`);
  await show(browser, 'forgot');
  await browser.send('/forgot$/', { email: EMAIL });
  await browser.go(link(await soon(() => station.letters()[2])));
  await show(browser, 'reset');
  await browser.go(`${site}/dashboard`);
  await browser.send('/login$/', { email: EMAIL, password: PASSWORD });
  await browser.send('/dashboard$/', { name: 'my-show', title: 'An evening with Ann' });
  await browser.send('/my-show\\/keys$/', { name: 'laptop' });
  await show(browser, 'new-key');
  const command = await browser.evaluate('document.getElementById("push").textContent');
  const key = command.match(/ls_[\w-]+/)[0];

  execFileSync('ffmpeg', ['-v', 'error', '-f', 'lavfi', '-i', 'testsrc2=size=1280x720:rate=30',
    '-f', 'lavfi', '-i', 'sine=frequency=330:sample_rate=48000', '-t', '180', '-preset', 'ultrafast',
    'show.mp4'], { cwd: folder });
  const caster = station.run('sh', ['-c', `exec ${command}`]);
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
  const viewer = await station.service('watch', `${site}/my-show`, '--http', '127.0.0.1:0');
  await browser.go(viewer.http);
  await browser.until('document.querySelector("video").currentTime > 1');
  await show(browser, 'viewer');

  await browser.go(`${site}/dashboard/my-show`);
  await browser.send('/rotate$/', {});
  await show(browser, 'revoked-key');
  const next = await browser.evaluate('document.querySelector(".shown code").textContent');
  assert.notEqual(next, key);
  const end = await Promise.race([caster.ended, sleep(8000).then(() => 'still on air')]);
  assert.ok(end !== 'still on air' && end !== 0, `the broadcast with the old key is cut: ${end}`);
  const refused = station.run('sh', ['-c', `exec ${command}`]);
  assert.notEqual(await refused.ended, 0, 'the old key is refused');
  await browser.go(`${site}/dashboard`);
  await show(browser, 'dashboard');

  await browser.go(`${site}/account`);
  await browser.send('/tokens$/', { name: 'my script', read: true });
  await browser.until('document.querySelector(".shown code").textContent.startsWith("lsa_")');
  await show(browser, 'account');
  station.admin('promote', EMAIL);
  station.admin('invite', '--note', 'readers of the newsletter', '--uses', '20');
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
  assert.match(station.admin('list'), /^0 wait, 0 are in/);
}

let station;
let browser;
try {
  station = await Station.start(program, folder);
  browser = await Browser.start(chromium, join(folder, 'profile'));
  await walk(browser, station);
} finally {
  await browser?.stop();
  await station?.stop();
  rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
}
