// The same load on a Socket.IO server on Node: `node bench_broadcast_server.mjs FOLDER`, where
// FOLDER/node_modules has `socket.io`. The commands are those of bench_broadcast_server.py.

import { createServer } from "node:http";
import { createRequire } from "node:module";
import { createInterface } from "node:readline";

const { Server } = createRequire(`${process.argv[2]}/`)("socket.io");
const TEXT = "Ann has finished cooking: Spaghetti with tomatoes, basil and a lot of garlic";

const http = createServer();
const io = new Server(http, { perMessageDeflate: false });
io.on("connection", (socket) => socket.emit("connected", {}));

const say = (answer) => process.stdout.write(`${JSON.stringify(answer)}\n`);
const at = () => Number(process.hrtime.bigint());
const tick = () => io.emit("tick", { at: at(), text: TEXT });
const sleepUntil = (time) =>
  new Promise((wake) => setTimeout(wake, Math.max(0, time - performance.now())));

async function obey(command) {
  if (command.tokens) return { tokens: ["nobody asks for it"] };
  if (command.broadcasts) {
    const began = performance.now();
    for (let number = 0; number < command.broadcasts; number += 1) {
      if (command.per_second) await sleepUntil(began + (number * 1000) / command.per_second);
      tick();
    }
  } else if (command.report) io.emit("report", {});
  else if (command.measure) return { bytes: process.memoryUsage.rss() };
  return {};
}

http.listen(0, "127.0.0.1", () => say({ port: http.address().port }));
for await (const line of createInterface({ input: process.stdin })) {
  const before = process.cpuUsage();
  const began = performance.now();
  const answer = await obey(JSON.parse(line));
  const used = process.cpuUsage(before);
  const seconds = (performance.now() - began) / 1000;
  say({ ...answer, seconds, cpu: (used.user + used.system) / 1e6 });
}
process.exit();
