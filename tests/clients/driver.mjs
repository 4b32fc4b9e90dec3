// Many real Socket.IO clients, driven from outside: one JSON command a line on standard input, one
// JSON record a line on standard output. tests/support/node_clients.py has the other side.
//
//   {"do":"connect","socket":"a","url":"http://...","options":{...}}
//   {"do":"emit","socket":"a","event":"x","args":[...],"ack":true}
//   {"do":"disconnect","socket":"a"}
//   {"do":"drop","socket":"a"}         as a network does: the server is not told
//   {"do":"reconnect","socket":"a"}
//
// {"$bytes":[1,2]} in an argument stands for bytes.
import { createInterface } from "node:readline";
import { io } from "socket.io-client";

const sockets = new Map();
const say = (socket, happened, value) =>
  process.stdout.write(`${JSON.stringify({ socket, happened, value })}\n`);

const revived = (value) => {
  if (value === null || typeof value !== "object") return value;
  if (Array.isArray(value)) return value.map(revived);
  if (value.$bytes) return Buffer.from(value.$bytes);
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, revived(item)]));
};

const commands = {
  connect({ socket: name, url, options }) {
    const socket = io(url, { forceNew: true, reconnection: false, ...options });
    sockets.set(name, socket);
    socket.on("connect", () =>
      say(name, "connect", {
        transport: socket.io.engine.transport.name,
        id: socket.id,
        recovered: socket.recovered,
      }),
    );
    socket.on("connect_error", (error) => say(name, "connect_error", { message: error.message }));
    socket.on("disconnect", (reason, details) =>
      say(name, "disconnect", {
        reason,
        active: socket.active,
        code: details?.context?.code ?? null,
      }),
    );
    socket.io.engine.on("upgrade", (transport) => say(name, "upgrade", transport.name));
    socket.onAny((event, ...args) => say(name, `event ${event}`, args[0]));
  },
  async emit({ socket: name, event, args, ack }) {
    const socket = sockets.get(name);
    args = revived(args);
    if (!ack) {
      socket.emit(event, ...args);
      return;
    }
    try {
      say(name, "ack", await socket.timeout(5000).emitWithAck(event, ...args));
    } catch (error) {
      say(name, "ack", { failed: error.message });
    }
  },
  disconnect({ socket: name }) {
    sockets.get(name).disconnect();
  },
  drop({ socket: name }) {
    const { transport } = sockets.get(name).io.engine;
    if (transport.ws) transport.ws.terminate();
    else transport.onError("dropped");
  },
  reconnect({ socket: name }) {
    sockets.get(name).connect();
  },
};

for await (const line of createInterface({ input: process.stdin })) {
  const command = JSON.parse(line);
  commands[command.do](command);
}
process.exit(0);
