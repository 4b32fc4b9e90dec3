// Restarts the instances one after the other; the next only once the one before is ready.
//
//   node deploy/reload.js
//
// `pm2 reload` alone goes on to the next instance even when the one before never came up, and a
// release that does not start would take all of them down. Here the first failure ends it: exit
// status 1, and the instances after it still serve the release they had.
//
//   PM2                    the program; default: pm2
//   COOKCAM_READY_SECONDS  how long an instance may take to be ready; default: 30
'use strict';

const { execFileSync } = require('node:child_process');
const { setTimeout: sleep } = require('node:timers/promises');

const NAME = 'cookcam-api';
const pm2 = process.env.PM2 || 'pm2';
const bound = 1000 * Number(process.env.COOKCAM_READY_SECONDS || 30);

function instances() {
  const output = execFileSync(pm2, ['jlist'], { encoding: 'utf8' });
  const list = JSON.parse(output.slice(output.lastIndexOf('\n[') + 1));
  return list
    .filter((program) => program.name === NAME)
    .map((program) => ({ id: String(program.pm_id), port: program.pm2_env.PORT }));
}

function run(...words) {
  execFileSync(pm2, words, { stdio: ['ignore', 'ignore', 'inherit'] });
}

async function isReady(port) {
  try {
    const answer = await fetch(`http://127.0.0.1:${port}/health/ready`, {
      signal: AbortSignal.timeout(5000),
    });
    return answer.status === 200;
  } catch {
    return false;
  }
}

async function becomesReady(port) {
  const deadline = Date.now() + bound;
  while (Date.now() < deadline) {
    if (await isReady(port)) return true;
    await sleep(100);
  }
  return false;
}

async function main() {
  const all = instances();
  if (all.length === 0) throw new Error(`${NAME} does not run under this PM2`);
  for (const { id, port } of all) {
    // What a reload does, in two steps: PM2 refuses to reload a program that waits after a crash.
    run('stop', id);
    run('restart', id);
    if (!(await becomesReady(port))) {
      throw new Error(`instance ${id} on port ${port} is not ready: the others were left alone`);
    }
    console.log(`instance ${id} on port ${port} is ready`);
  }
}

main().catch((error) => {
  console.error(error.message);
  process.exitCode = 1;
});
