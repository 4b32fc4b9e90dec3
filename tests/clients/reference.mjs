// Behaviour that clients rely on and that depends on the server's timing and acknowledgements:
// node reference.mjs <scenario> <url> <transports> [<size>]. Prints what it saw as one line of JSON.
// tests/realtime/socketio/test_reference_behaviour.py has the other side.
import { io } from "socket.io-client";
import { Socket as EngineSocket } from "engine.io-client";

const [scenario, url, transports, size] = process.argv.slice(2);
const options = { transports: transports.split(","), forceNew: true, timeout: 5000 };

const once = (emitter, event) =>
  new Promise((resolve) => emitter.once(event, (...args) => resolve(args)));
const pause = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));
const bytes = (value) => [...new Uint8Array(value)];

// An event is emitted with a timeout as soon as the client is connected, while it upgrades.
async function shortTimeout() {
  const results = [];
  for (let round = 0; round < 10; round++) {
    const socket = io(url, options);
    await once(socket, "connect");
    try {
      results.push(await socket.timeout(90).emitWithAck("echo", round));
    } catch (error) {
      results.push(error.message);
    }
    socket.disconnect();
  }
  return results;
}

// Events sent before the connection and while it upgrades arrive once each, in order.
async function retryQueue() {
  const socket = io(url, { ...options, retries: 3, ackTimeout: 500 });
  const acknowledged = [];
  const done = new Promise((resolve) => {
    for (let number = 0; number < 10; number++) {
      socket.emit("count", number, (error, value) => {
        acknowledged.push(error ? error.message : value);
        if (acknowledged.length === 10) resolve();
      });
    }
  });
  await done;
  const received = await socket.timeout(5000).emitWithAck("counted");
  socket.disconnect();
  return { acknowledged, received };
}

// Without ackTimeout, retries take a first argument that is not null for an error.
async function retriesOfNull() {
  const socket = io(url, { ...options, retries: 2 });
  const answer = await new Promise((resolve) =>
    socket.emit("count", 1, (...args) => resolve(args)),
  );
  socket.emit("count", null, () => {});
  await new Promise((resolve) => socket.emit("nothing-returned", () => resolve()));
  await pause(100);
  const plain = io(url, options);
  const received = await plain.timeout(5000).emitWithAck("counted");
  socket.disconnect();
  plain.disconnect();
  return { answer, received };
}

// The server stays silent about an event it does not know; each try of the queue is one packet.
async function unknownEvent() {
  const socket = io(url, { ...options, retries: 3, ackTimeout: 50 });
  await once(socket, "connect");
  let packets = 0;
  socket.io.engine.on("packetCreate", ({ type }) => (packets += type === "message" ? 1 : 0));
  const [error] = await new Promise((resolve) =>
    socket.emit("unknown", (...args) => resolve(args)),
  );
  const result = { error: error?.message, packets };
  socket.disconnect();
  return result;
}

async function volatile() {
  const socket = io(url, options);
  socket.volatile.emit("count", "before the connection");
  await once(socket, "connect");
  await pause(300);
  socket.volatile.emit("count", "after it");
  const received = await socket.timeout(5000).emitWithAck("counted");
  socket.disconnect();
  return received;
}

async function forcedBase64() {
  const socket = io(url, { ...options, forceBase64: true });
  await once(socket, "connect");
  if (options.transports.length > 1) await once(socket.io.engine, "upgrade");
  const frames = [];
  socket.io.engine.on("packet", ({ data }) => frames.push(typeof data));
  const echoed = await socket.timeout(5000).emitWithAck("echo", Buffer.from([1, 2, 3]));
  const pushed = once(socket, "pushed");
  socket.emit("push");
  const [value] = await pushed;
  const transport = socket.io.engine.transport.name;
  socket.disconnect();
  return { echoed: bytes(echoed), pushed: bytes(value), transport };
}

async function engineBase64() {
  const socket = new EngineSocket(url, {
    transports: options.transports,
    forceBase64: true,
    path: "/engine.io/",
  });
  socket.binaryType = "arraybuffer";
  await once(socket, "open");
  if (options.transports.length > 1) await once(socket, "upgrade");
  const echoed = once(socket, "message");
  socket.send(Int8Array.from([0, 1, 2, -1]));
  const [value] = await echoed;
  const text = once(socket, "message");
  socket.send("cash money \u20ac\u20ac\u20ac");
  const [bounced] = await text;
  socket.close();
  return { value: bytes(value), text: bounced };
}

async function engineTooLarge() {
  const socket = new EngineSocket(url, { transports: options.transports, path: "/engine.io/" });
  await once(socket, "open");
  socket.send("x".repeat(Number(size)));
  const [reason, details] = await once(socket, "close");
  return {
    reason,
    message: details?.message ?? null,
    description: typeof details?.description === "object" ? "event" : details?.description,
    code: details?.context?.code ?? null,
    closeReason: details?.context?.reason ?? null,
    text: details?.context?.responseText ?? null,
  };
}

// Milliseconds from io() until the event that the server sends on connection, of so many clients.
async function connectTime() {
  const times = [];
  for (let round = 0; round < 31; round++) {
    const begun = performance.now();
    const socket = io(url, options);
    await once(socket, "connect");
    times.push(performance.now() - begun);
    socket.disconnect();
    await pause(10);
  }
  times.sort((one, other) => one - other);
  return { median: times[15], slowest: times[30] };
}

const scenarios = {
  shortTimeout,
  retryQueue,
  retriesOfNull,
  unknownEvent,
  volatile,
  forcedBase64,
  engineBase64,
  engineTooLarge,
  connectTime,
};
console.log(JSON.stringify(await scenarios[scenario]()));
// The library says goodbye in the background.
setTimeout(() => process.exit(0), 100);
