// A station of real programs: all of it in one process, on SQLite, with letters in a folder; or,
// where the environment names a database, each service a process of its own, with letters to a
// mail server and a proxy before them, as an operator would have it.

import { execFileSync, spawn } from 'node:child_process';
import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { createServer, request } from 'node:http';
import { createServer as listen } from 'node:net';
import { join } from 'node:path';

export const sleep = (ms) => new Promise((done) => setTimeout(done, ms));

export async function soon(look) {
  for (let tries = 0; tries < 200; tries += 1) {
    const found = look();
    if (found) return found;
    await sleep(100);
  }
  throw new Error(`never: ${look}`);
}

const readable = (letter) => letter.replaceAll('=\r\n', '').replaceAll('=3D', '=');
const LOOPBACK = '127.0.0.1';
const ANY = `${LOOPBACK}:0`;

export class Station {
  constructor(program, folder) {
    this.program = program;
    this.folder = folder;
    this.children = [];
    this.servers = [];
  }

  static async start(program, folder) {
    const station = new Station(program, folder);
    try {
      await (process.env.LIVESTATION_DATABASE ? station.apart() : station.alone());
    } catch (error) {
      await station.stop();
      throw error;
    }
    return station;
  }

  // Ends with the station; `ended` is its exit status.
  run(name, args, options = {}) {
    const child = spawn(name, args, { stdio: 'ignore', cwd: this.folder, ...options });
    child.ended = new Promise((done) => child.on('exit', done));
    this.children.push(child);
    return child;
  }

  // What the service says when it is ready.
  async service(name, ...args) {
    const ready = join(this.folder, `${name}.json`);
    this.run(this.program, [name, '--ready-json', ready, ...args], {
      stdio: ['ignore', 'ignore', process.env.WALK_LOG ? 'inherit' : 'ignore'],
    });
    await soon(() => existsSync(ready));
    return JSON.parse(readFileSync(ready));
  }

  async listening(server) {
    this.servers.push(server);
    await new Promise((done) => server.listen(0, LOOPBACK, done));
    return server.address().port;
  }

  async alone() {
    const data = join(this.folder, 'data');
    const mail = join(data, 'mail');
    const { http } = await this.service('standalone', '--data-dir', data, '--http', ANY, '--rtmp', ANY,
      '--srt', ANY, '--udp', ANY);
    this.site = http;
    this.where = ['--data-dir', data];
    this.letters = () => (existsSync(mail) ? readdirSync(mail) : [])
      .filter((name) => name.endsWith('.eml')).sort()
      .map((name) => readable(readFileSync(join(mail, name), 'utf8')));
  }

  async apart() {
    const got = [];
    this.letters = () => got.map(readable);
    const smtp = await this.listening(listen((socket) => keepLetters(socket, got)));
    const to = {};
    const port = await this.listening(createServer((asked, answer) => pass(asked, answer,
      asked.url.startsWith('/live/') ? to.seeder : to.accounts)));
    this.site = `http://${LOOPBACK}:${port}`;
    this.where = [];
    execFileSync(this.program, ['migrate']);
    const rtmp = await freePort();
    const accounts = await this.service('accounts', '--http', ANY, '--grpc', ANY, '--public-url', this.site,
      '--smtp-url', `smtp://${LOOPBACK}:${smtp}`, '--mail-from', 'Livestation <tv@station.example>',
      '--rtmp-public', `rtmp://${LOOPBACK}:${rtmp}/live`);
    to.accounts = accounts.http;
    const known = ['--accounts', accounts.grpc];
    const tracker = await freePort();
    await this.service('tracker', ...known, '--grpc', ANY, '--http', `${LOOPBACK}:${tracker}`,
      '--public-url', `http://${LOOPBACK}:${tracker}`);
    to.seeder = (await this.service('seeder', ...known, '--grpc', ANY, '--http', ANY, '--udp', ANY)).http;
    await this.service('encoder', ...known, '--grpc', ANY);
    await this.service('ingest', ...known, '--rtmp', `${LOOPBACK}:${rtmp}`, '--no-srt');
    // All have heard of all.
    await sleep(2500);
  }

  admin(...args) {
    return execFileSync(this.program, ['admin', ...args, ...this.where], { encoding: 'utf8' });
  }

  async stop() {
    for (const child of this.children) child.kill();
    await Promise.all(this.children.map((child) => child.ended));
    for (const server of this.servers) {
      server.closeAllConnections?.();
      server.close();
    }
  }
}

// Free a moment ago: for who has to be told beforehand where somebody will be.
async function freePort() {
  const server = listen();
  await new Promise((done) => server.listen(0, LOOPBACK, done));
  const { port } = server.address();
  await new Promise((done) => server.close(done));
  return port;
}

function pass(asked, answer, to) {
  const { hostname, port } = new URL(to);
  const { url: path, method, headers } = asked;
  const onward = request({ hostname, port, path, method, headers }, (said) => {
    answer.writeHead(said.statusCode, said.headers);
    said.pipe(answer);
  });
  onward.on('error', () => answer.destroy());
  answer.on('close', () => onward.destroy());
  asked.pipe(onward);
}

// SMTP, as far as it takes to be given letters.
function keepLetters(socket, letters) {
  let text = '';
  let inside = false;
  const say = (line) => socket.write(`${line}\r\n`);
  const words = {
    EHLO: () => say('250 station.example'),
    DATA: () => { inside = true; say('354 go on'); },
    QUIT: () => { say('221 bye'); socket.end(); },
  };
  socket.setEncoding('utf8');
  socket.on('error', () => {});
  socket.on('data', (more) => {
    text += more;
    for (;;) {
      const mark = inside ? '\r\n.\r\n' : '\r\n';
      const end = text.indexOf(mark);
      if (end < 0) return;
      const said = text.slice(0, end);
      text = text.slice(end + mark.length);
      if (inside) {
        inside = false;
        letters.push(said.replaceAll('\r\n..', '\r\n.'));
        say('250 kept');
      } else {
        (words[said.slice(0, 4).toUpperCase()] ?? (() => say('250 well')))();
      }
    }
  });
  say('220 station.example');
}
