// The real client library against a server: node scenarios.mjs <scenario> <url> <transports>
// Prints what it saw as one line of JSON. tests/realtime/socketio/test_real_client.py has the other side.
import { io } from "socket.io-client";

const [scenario, url, transports] = process.argv.slice(2);
const options = {
  transports: transports.split(","),
  reconnectionDelay: 50,
  reconnectionDelayMax: 50,
  timeout: 5000,
};

const once = (emitter, event) =>
  new Promise((resolve) => emitter.once(event, (...args) => resolve(args)));

const bytes = (value) => (Buffer.isBuffer(value) ? [...value] : value);

async function talk() {
  const socket = io(url, { ...options, auth: { token: "t" } });
  const [auth] = await once(socket, "auth");
  if (options.transports.length > 1 && socket.io.engine.transport.name !== "websocket") {
    await once(socket.io.engine, "upgrade");
  }
  const back = once(socket, "message-back");
  socket.emit("message", 1, "zwei", { drei: [true, null] });
  const echoed = await back;
  const acknowledged = await socket.timeout(5000).emitWithAck("first", "a", Buffer.from([1, 2]));
  const binary = once(socket, "message-back");
  socket.emit("message", { deep: [Buffer.from([3, 4])] }, Buffer.from([5]));
  const [deep, flat] = await binary;
  socket.on("question", (text, data, answer) => answer(`${text}!`, Buffer.from([...data, 9])));
  const answered = await socket.timeout(5000).emitWithAck("ask-me", "sure", Buffer.from([8]));
  const custom = io(`${url}/custom`, { ...options, auth: { token: "c" } });
  const [customAuth] = await once(custom, "auth");
  const transport = socket.io.engine.transport.name;
  const shared = custom.io === socket.io;
  custom.disconnect();
  socket.disconnect();
  const refused = await refusals();
  return {
    auth,
    echoed,
    acknowledged: bytes(acknowledged),
    deep: bytes(deep.deep[0]),
    flat: bytes(flat),
    answered: [answered[0], bytes(answered[1])],
    customAuth,
    shared,
    transport,
    refused,
  };
}

async function refusals() {
  const socket = io(url, { ...options, auth: { token: "wrong" } });
  const [error] = await once(socket, "connect_error");
  const unknown = io(`${url}/nowhere`, options);
  const [invalid] = await once(unknown, "connect_error");
  socket.disconnect();
  unknown.disconnect();
  return { message: error.message, data: error.data, invalid: invalid.message };
}

async function recover() {
  const socket = io(url, { ...options, auth: { token: "t" } });
  const missed = once(socket, "missed");
  await once(socket, "offset");
  const before = socket.id;
  socket.emit("drop-me");
  await once(socket, "connect");
  const [value] = await missed;
  const result = { recovered: socket.recovered, same: socket.id === before, value };
  socket.disconnect();
  return result;
}

async function shutdown() {
  const socket = io(url, { ...options, auth: { token: "t" } });
  const notice = once(socket, "server_shutdown");
  const disconnect = once(socket, "disconnect");
  await once(socket, "auth");
  socket.emit("ready");
  const [told] = await notice;
  const [reason] = await disconnect;
  const active = socket.active;
  socket.disconnect();
  return { told, reason, reconnects: active };
}

const result = await { talk, recover, shutdown }[scenario]();
console.log(JSON.stringify(result));
// The library says goodbye in the background.
setTimeout(() => process.exit(0), 100);
