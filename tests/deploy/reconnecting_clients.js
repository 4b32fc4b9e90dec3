// Socket.IO clients that live through restarts of their server, as docs/realtime.md asks of a client:
// after `server_shutdown` they come back when they were told to. One over each way of transport.
//
//   node reconnecting_clients.js URL TOKEN
//
// For each line on standard input, one line of JSON on standard output: what each client has seen.
'use strict';

const { createInterface } = require('node:readline');
const { io } = require('socket.io-client');

const [url, token] = process.argv.slice(2);
const HURRY = 10; // the wait is up to ten seconds, which a test does not have

function follow(transports) {
  const seen = { welcomes: 0, notices: 0, connected: false, errors: [] };
  let wait = 1000;
  const socket = io(url, { auth: { token }, transports, forceNew: true });
  socket.on('connected', () => { seen.welcomes += 1; seen.connected = true; });
  socket.on('server_shutdown', (notice) => { seen.notices += 1; wait = notice.reconnectAfterMs; });
  socket.on('connect_error', (error) => seen.errors.push(error.message));
  socket.on('disconnect', (reason) => {
    seen.connected = false;
    // After a goodbye of the server the library leaves it to us to come back.
    if (reason === 'io server disconnect') setTimeout(() => socket.connect(), wait / HURRY);
  });
  return seen;
}

const clients = {
  websocket: follow(['websocket']),
  polling: follow(['polling']),
  upgrading: follow(['polling', 'websocket']),
};

const lines = createInterface({ input: process.stdin });
lines.on('line', () => process.stdout.write(JSON.stringify(clients) + '\n'));
lines.on('close', () => process.exit(0));
