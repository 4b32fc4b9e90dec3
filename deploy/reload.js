// Restarts the instances one after the other; the next only once the one before is ready.
//
//   node deploy/reload.js
//
// `pm2 reload` alone goes on to the next instance even when the one before never came up, and a
// release that does not start would take all of them down. Here the first failure ends it: exit
// status 1 with the reason, and the instances after it still serve the release they had. A process
// that exits fails within seconds; one that runs and is not ready, when its time is over. An instance
// is ready when /health/ready is 200 and the process that PM2 lists is the one that listens.
//
//   PM2                    the program; default: pm2
//   COOKCAM_READY_SECONDS  how long an instance may take to be ready; default: 30
'use strict';

const { execFile } = require('node:child_process');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { setTimeout: sleep } = require('node:timers/promises');
const { promisify } = require('node:util');

const NAME = 'cookcam-api';
const POLL_INTERVAL = 100; // ms
const MAX_EXITS = 3; // with an error, before the instance is given up
const MAX_STOPS = 10; // two are enough unless PM2 restarts the instance in between
const STOP_TIMEOUT = 10_000; // ms from SIGTERM to SIGKILL for a process that PM2 has lost
const LOG_LINES = 20;
const LOG_BYTES = 64 * 1024;
const pm2 = process.env.PM2 || 'pm2';
const readyTimeout = 1000 * Number(process.env.COOKCAM_READY_SECONDS || 30);

// `pm2 jlist` prints the whole environment of each program: its output has no limit.
const run = (...args) => promisify(execFile)(pm2, args, { maxBuffer: Infinity });

async function instances() {
  const { stdout } = await run('jlist');
  return JSON.parse(stdout.slice(stdout.lastIndexOf('\n[') + 1))
    .filter((program) => program.name === NAME)
    .map(({ pm_id, pid, pm2_env }) => ({
      id: String(pm_id),
      pid,
      port: pm2_env.PORT,
      status: pm2_env.status,
      restarts: pm2_env.restart_time,
      exitCode: pm2_env.exit_code,
      logs: [pm2_env.pm_err_log_path, pm2_env.pm_out_log_path],
    }));
}

const instance = async (id) => (await instances()).find((each) => each.id === id);

function isAlive(pid) {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error.code !== 'ESRCH';
  }
}

// Processes of an instance other than `current`. After a crash loop PM2 may start a stopped program
// once more and lose the process: it keeps the port, and the next release cannot listen. PM2 gives
// every process `pm_id`, `name` and PM2_HOME in its environment. Linux only; empty elsewhere.
function lostProcesses(id, current) {
  if (!fs.existsSync('/proc/self/environ')) return [];
  const home = process.env.PM2_HOME || path.join(os.homedir(), '.pm2');
  return fs.readdirSync('/proc').filter((pid) => {
    if (!/^\d+$/.test(pid) || Number(pid) === current) return false;
    try {
      const variables = fs.readFileSync(`/proc/${pid}/environ`, 'utf8').split('\0');
      const expected = [`name=${NAME}`, `pm_id=${id}`, `PM2_HOME=${home}`];
      if (!expected.every((variable) => variables.includes(variable))) return false;
      // A child of a server process belongs to it.
      const parent = fs.readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ').pop().split(' ')[1];
      return Number(parent) !== current;
    } catch {
      return false; // it has ended, or belongs to another user
    }
  });
}

async function endLostProcesses(id, current) {
  for (const lost of lostProcesses(id, current).map(Number)) {
    console.log(`instance ${id}: ending process ${lost}, which PM2 has lost`);
    const deadline = Date.now() + STOP_TIMEOUT;
    let signal = 'SIGTERM';
    while (isAlive(lost)) {
      try {
        if (signal) process.kill(lost, signal);
      } catch (error) {
        if (error.code !== 'ESRCH') throw error;
      }
      signal = Date.now() > deadline ? 'SIGKILL' : undefined;
      await sleep(POLL_INTERVAL);
    }
  }
}

// True when the process listens on the TCP port. Linux only; elsewhere it is assumed.
function listensOn(pid, port) {
  if (!fs.existsSync('/proc/net/tcp')) return true;
  const sockets = ['/proc/net/tcp', '/proc/net/tcp6']
    .filter((file) => fs.existsSync(file))
    .flatMap((file) => fs.readFileSync(file, 'utf8').trim().split('\n').slice(1))
    .map((line) => line.trim().split(/\s+/)) // proc(5): 1 local address, 3 state, 9 inode
    .filter((fields) => fields[3] === '0A') // TCP_LISTEN
    .filter((fields) => parseInt(fields[1].split(':')[1], 16) === Number(port))
    .map((fields) => `socket:[${fields[9]}]`);
  try {
    return fs.readdirSync(`/proc/${pid}/fd`).some((descriptor) => {
      try {
        return sockets.includes(fs.readlinkSync(`/proc/${pid}/fd/${descriptor}`));
      } catch {
        return false; // closed since
      }
    });
  } catch {
    return false; // the process has ended
  }
}

// Stops the instance, and cancels the restart that PM2 7 schedules when it stops a process that has
// not sent "ready" yet: the exit of such a process sets the status `online`, and so counts as a
// crash. A further stop cancels the restart unless it has begun; then its process is stopped too.
async function stop(id) {
  let restarts;
  for (let stops = 0; stops < MAX_STOPS; stops += 1) {
    await run('stop', id);
    const stopped = await instance(id);
    if (stopped.status === 'stopped' && stopped.restarts === restarts) return;
    restarts = stopped.restarts;
  }
  throw new Error(`PM2 does not stop instance ${id}`);
}

// Null when the instance is ready, else what it says instead.
async function whyNotReady(port) {
  try {
    const response = await fetch(`http://127.0.0.1:${port}/health/ready`, {
      signal: AbortSignal.timeout(5000),
    });
    return response.status === 200 ? null : `/health/ready: ${await response.text()}`;
  } catch (error) {
    return `/health/ready: ${error.cause?.code || error.name}`;
  }
}

// Returns when the instance is ready; throws the reason when it is not.
async function becomesReady(id, port) {
  const deadline = Date.now() + readyTimeout;
  let pid = 0;
  let exits = 0;
  let reason;
  while (Date.now() < deadline) {
    reason = await whyNotReady(port);
    if (reason === null) {
      const listed = await instance(id);
      const lost = lostProcesses(id, listed.pid);
      if (lost.length === 0 && listensOn(listed.pid, port)) return;
      reason = `port ${port} is held by a process other than ${listed.pid}, which PM2 lists`;
      await endLostProcesses(id, listed.pid);
    }
    if (!pid) {
      const listed = await instance(id);
      if (listed.status === 'errored') throw new Error('PM2 has given it up');
      if (listed.status === 'launching' || listed.status === 'online') pid = listed.pid;
    } else if (!isAlive(pid)) {
      pid = 0;
      const { exitCode } = await instance(id);
      if (exitCode) exits += 1;
      if (exits === MAX_EXITS) throw new Error(`its process exits with status ${exitCode}; ${reason}`);
      const started = await instance(id);
      await endLostProcesses(id, started.pid);
    }
    await sleep(POLL_INTERVAL);
  }
  throw new Error(`not within ${readyTimeout / 1000} s; ${reason}`);
}

function size(file) {
  return fs.existsSync(file) ? fs.statSync(file).size : 0;
}

// The last lines that were written to a file since it had `start` bytes.
function linesSince(file, start) {
  const end = size(file);
  const from = Math.max(start, end - LOG_BYTES);
  if (from >= end) return [];
  const buffer = Buffer.alloc(end - from);
  const descriptor = fs.openSync(file, 'r');
  fs.readSync(descriptor, buffer, 0, buffer.length, from);
  fs.closeSync(descriptor);
  return buffer.toString().trimEnd().split('\n').slice(-LOG_LINES);
}

async function reload({ id, port, logs }) {
  const sizes = logs.map(size);
  // What a reload does, in two steps: PM2 refuses to reload a program that waits after a crash.
  await stop(id);
  await endLostProcesses(id, 0);
  // With `wait_ready`, PM2 returns after `listen_timeout` when a process exits before it has said
  // so: the reason is printed before that.
  const restart = run('restart', id).catch((error) => error);
  try {
    await becomesReady(id, port);
  } catch (error) {
    // Errors and warnings are in the first file; both instances write to the same files.
    const [errors, output] = logs.map((file, index) => linesSince(file, sizes[index]));
    const lines = errors.length > 0 ? errors : output;
    console.error(`instance ${id} on port ${port} is not ready: the others were left alone`);
    console.error(`reason: ${error.message}`);
    if (lines.length > 0) console.error('last lines of its log:');
    for (const line of lines) console.error(`  ${line}`);
    // A stop or a restart while this one is under way would leave two processes of the instance.
    await restart;
    throw new Error('the reload was ended');
  }
  await restart;
  console.log(`instance ${id} on port ${port} is ready`);
}

async function main() {
  const all = await instances();
  if (all.length === 0) throw new Error(`${NAME} does not run under this PM2`);
  for (const instance of all) await reload(instance);
}

main()
  .then(() => process.exit(0))
  .catch((error) => {
    console.error(error.message);
    process.exit(1);
  });
