// Whether people who see or move little can use a page, as far as a program can tell: axe-core,
// by the DevTools protocol, since our pages let in no script that is not theirs.

import { existsSync, readFileSync } from 'node:fs';

const axe = new URL('node_modules/axe-core/axe.min.js', import.meta.url);
const BAD = ['serious', 'critical'];

export const canLook = existsSync(axe);
const source = canLook ? readFileSync(axe, 'utf8') : '';

// What is bad about the page that is open, a line for each rule that it breaks.
export async function faults(browser) {
  await browser.evaluate(`typeof axe === 'undefined' && (() => { ${source} })(), true`);
  const found = await browser.evaluate(`axe.run(document, { resultTypes: ['violations'] }).then((said) =>
    said.violations.map(({ id, impact, help, nodes }) => ({ id, impact, help, nodes: nodes.map((node) =>
      [node.target.join(' '), node.failureSummary.split('\\n').at(1)?.trim()].join(': ')) })))`);
  return found.filter(({ impact }) => BAD.includes(impact))
    .map(({ id, impact, help, nodes }) => `${impact} ${id}: ${help}\n  ${nodes.join('\n  ')}`);
}
