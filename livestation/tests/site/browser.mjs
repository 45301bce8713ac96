// Chromium, driven over a pipe by its DevTools protocol: what a person does, and no more.

import { spawn } from 'node:child_process';

const DEADLINE_MS = 20_000;

export class Browser {
  static async start(program, profile) {
    const child = spawn(program, [
      '--headless=new', '--no-sandbox', '--disable-gpu', '--remote-debugging-pipe', '--mute-audio',
      '--autoplay-policy=no-user-gesture-required', `--user-data-dir=${profile}`, 'about:blank',
    ], { stdio: ['ignore', 'ignore', 'ignore', 'pipe', 'pipe'] });
    const browser = new Browser(child);
    const { targetId } = await browser.call('Target.createTarget', { url: 'about:blank' }, null);
    const { sessionId } = await browser.call('Target.attachToTarget', { targetId, flatten: true }, null);
    browser.session = sessionId;
    await browser.call('Page.enable');
    await browser.call('Runtime.enable');
    await browser.call('Log.enable');
    return browser;
  }

  constructor(child) {
    this.child = child;
    this.asked = new Map();
    this.next = 1;
    // What the pages complained of: a blocked script, a file that is not there.
    this.complaints = [];
    let text = '';
    child.stdio[4].setEncoding('utf8');
    child.stdio[4].on('data', (more) => {
      text += more;
      for (let end; (end = text.indexOf('\0')) >= 0; text = text.slice(end + 1)) {
        this.hear(JSON.parse(text.slice(0, end)));
      }
    });
  }

  hear({ id, result, error, method, params }) {
    if (method === 'Runtime.exceptionThrown') this.complaints.push(params.exceptionDetails.text);
    if (method === 'Log.entryAdded' && params.entry.level === 'error') {
      this.complaints.push(`${params.entry.text} ${params.entry.url ?? ''}`);
    }
    const asked = this.asked.get(id);
    if (!asked) return;
    this.asked.delete(id);
    if (error) asked.fail(new Error(error.message));
    else asked.done(result);
  }

  call(method, params = {}, session = this.session) {
    const id = this.next++;
    const message = { id, method, params, ...(session ? { sessionId: session } : {}) };
    this.child.stdio[3].write(`${JSON.stringify(message)}\0`);
    return new Promise((done, fail) => {
      this.asked.set(id, { done, fail });
      setTimeout(() => fail(new Error(`${method}: no answer`)), DEADLINE_MS).unref();
    });
  }

  async evaluate(expression) {
    const said = await this.call('Runtime.evaluate', {
      expression, returnByValue: true, awaitPromise: true, userGesture: true,
    });
    if (said.exceptionDetails) throw new Error(`${expression}: ${said.exceptionDetails.text}`);
    return said.result.value;
  }

  // Waits until the page says so; what it said.
  async until(expression, deadline = DEADLINE_MS) {
    const end = Date.now() + deadline;
    for (;;) {
      const said = await this.evaluate(expression).catch(() => undefined);
      if (said) return said;
      if (Date.now() > end) {
        const text = await this.evaluate('document.body.innerText').catch(() => '');
        throw new Error(`never: ${expression}\n${text}`);
      }
      await new Promise((done) => setTimeout(done, 100));
    }
  }

  async go(url) {
    await this.call('Page.navigate', { url });
    await this.until('document.readyState === "complete"');
  }

  // Types into the form that has this action, and sends it by its button.
  async send(action, fields) {
    await this.evaluate('window.before = true');
    await this.evaluate(`(() => {
      const form = [...document.forms].find((form) => form.getAttribute('action').match(${action}));
      for (const [name, value] of Object.entries(${JSON.stringify(fields)})) {
        const field = form.elements[name];
        if (field.type === 'checkbox') field.checked = value; else field.value = value;
      }
      form.querySelector('button[type=submit]').click();
    })()`);
    await this.until('!window.before && document.readyState === "complete"');
  }

  async emulate({ width, height, dark }) {
    await this.call('Emulation.setDeviceMetricsOverride', {
      width, height, deviceScaleFactor: 1, mobile: width < 600,
    });
    await this.call('Emulation.setEmulatedMedia', {
      features: [
        { name: 'prefers-color-scheme', value: dark ? 'dark' : 'light' },
        { name: 'prefers-reduced-motion', value: 'reduce' },
      ],
    });
  }

  async picture() {
    const { data } = await this.call('Page.captureScreenshot', { format: 'png', captureBeyondViewport: false });
    return Buffer.from(data, 'base64');
  }

  async stop() {
    const ended = new Promise((done) => this.child.on('exit', done));
    await this.call('Browser.close', {}, null).catch(() => {});
    this.child.kill();
    // Until then it writes to its profile.
    await ended;
  }
}
