// PM2's process file: two instances behind nginx (deploy/nginx), each on a port of its own.
// docs/deployment.md says how it is used; tests/deploy runs exactly this file.
//
//   COOKCAM_HOME      the release folder, best the link that names the current one; default: the
//                     folder this file is in
//   COOKCAM_ENV_FILE  the settings, absolute or relative to the release; default: .env
//   COOKCAM_PORT      port of the first instance; default: 3000
//   COOKCAM_KILL_TIMEOUT_SECONDS  seconds between SIGINT and SIGKILL; default: 40
//   COOKCAM_STATE_DIRECTORY  folder outside of the releases for the record of runs and the control
//                     socket; default: none
//   COOKCAM_RECONCILE_CRON  a cron pattern in the machine's time, such as `0 2 * * *`: then PM2
//                     starts reconciliation as well. The server does so by itself at
//                     RECONCILIATION_TIME; one of them is enough, both do no harm
'use strict';

const path = require('path');

const killTimeout = Number(process.env.COOKCAM_KILL_TIMEOUT_SECONDS || 40);
const home = path.resolve(process.env.COOKCAM_HOME || path.join(__dirname, '..'));

module.exports = {
  apps: [
    {
      name: 'cookcam-api',

      // PM2 keeps paths as they were at the first start. So the link is entered anew at each start
      // and the interpreter is found from inside: a process then knows itself by the real path of
      // its release, and does not import from the next one when the link moves under it.
      cwd: home,
      script: '/usr/bin/env',
      args: [
        '.venv/bin/python', '-m', 'cookcam', 'serve',
        '--env-file', process.env.COOKCAM_ENV_FILE || '.env',
      ],
      interpreter: 'none',

      // Never cluster mode: that is Node's own. With more than two instances, reload with
      // `--parallel 1`: PM2 takes two at a time.
      exec_mode: 'fork',
      instances: 2,
      increment_var: 'PORT',

      // The environment wins over the file of settings, so only this comes in: nothing of the shell
      // that happened to start PM2 (every name contains the empty string).
      filter_env: [''],
      env: {
        APP_ENV: process.env.APP_ENV || 'production',
        NODE_ENV: 'production',
        HOST: '127.0.0.1',
        PORT: Number(process.env.COOKCAM_PORT || 3000),
        KILL_TIMEOUT_SECONDS: killTimeout,
        ...(process.env.COOKCAM_STATE_DIRECTORY
          ? { STATE_DIRECTORY: path.resolve(process.env.COOKCAM_STATE_DIRECTORY) }
          : {}),
      },

      // The server says "ready" when it could answer from data. PM2 reports `online` after
      // listen_timeout in any case: a deployment asks /health/ready.
      wait_ready: true,
      listen_timeout: 15000,

      // SIGINT starts the drain. The server is told how long it has, and refuses in production a
      // drain that PM2 would cut: DRAIN_NOTICE_SECONDS + DRAIN_TIMEOUT_SECONDS + 10 s.
      kill_timeout: killTimeout * 1000,
      // treekill stays on: it has nobody else to signal. A server that forks workers with a drain
      // of their own would need it off.

      max_memory_restart: '1G',
      exp_backoff_restart_delay: 200,
      max_restarts: 10,
      min_uptime: '10s',

      // One JSON object a line on standard output and error; `time: true` would break each line.
      merge_logs: true,
    },
    ...(process.env.COOKCAM_RECONCILE_CRON ? [reconciliation()] : []),
  ],
};

function reconciliation() {
  return {
    name: 'reconciliation-cron',
    cwd: home,
    script: '/usr/bin/env',
    args: [
      '.venv/bin/python', '-m', 'cookcam', 'reconcile',
      '--env-file', process.env.COOKCAM_ENV_FILE || '.env',
    ],
    interpreter: 'none',
    exec_mode: 'fork',
    instances: 1,
    cron_restart: process.env.COOKCAM_RECONCILE_CRON,
    autorestart: false,
    filter_env: [''],
    env: { APP_ENV: process.env.APP_ENV || 'production', NODE_ENV: 'production' },
    merge_logs: true,
  };
}
