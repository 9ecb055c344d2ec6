// Socket.IO 4 with connection state recovery, as its documentation recommends for speed: WebSocket alone, no
// compression, the first request not kept. Only what goes through the adapter can be recovered, so each event
// is sent to the room of its user.
import { createRequire } from "node:module";
import { createServer } from "node:http";
import { createInterface } from "node:readline";
import { join } from "node:path";

const [folder, words] = process.argv.slice(2);
const { Server } = createRequire(join(folder, "node_modules", "x.js"))("socket.io");
const schedule = JSON.parse(words);
const TICK_MS = 1;
const TEXT = "x".repeat(32);

const http = createServer();
const io = new Server(http, {
  transports: ["websocket"],
  perMessageDeflate: false,
  serveClient: false,
  connectionStateRecovery: { maxDisconnectionDuration: 2 * 60 * 1000 },
});
io.engine.on("connection", (socket) => { socket.request = null; });
io.on("connection", (socket) => { socket.join(socket.handshake.auth.user); });

let events = 0;
const offsets = new Map();

function send(turn) {
  const lap = Math.floor(turn / schedule.users);
  const user = turn % schedule.users;
  for (let nth = 1; nth <= schedule.burst; nth++) {
    const offset = (offsets.get(user) ?? 0) + 1;
    offsets.set(user, offset);
    io.to(`user-${user}`).emit("event", {
      type: "agent_delta",
      payload: { n: lap * schedule.burst + nth, due: (turn * schedule.burst) / schedule.rate, text: TEXT },
      thread_id: `thread-${user}-${lap % schedule.threads}`,
      event_id: `e_${(++events).toString(16).padStart(24, "0")}`,
      timestamp: Date.now() / 1000,
      seq: offset,
      offset,
    });
  }
}

function feed(start) {
  let turn = 0;
  const tick = () => {
    const seconds = Number(process.hrtime.bigint()) / 1e9 - start;
    const due = Math.min(Math.floor((seconds * schedule.rate) / schedule.burst) + 1, schedule.turns);
    while (turn < due) send(turn++);
    if (turn >= schedule.turns) return;
    const next = (start + (turn * schedule.burst) / schedule.rate) * 1e3 - Number(process.hrtime.bigint()) / 1e6;
    setTimeout(tick, Math.max(TICK_MS, Math.floor(next)));
  };
  tick();
}

createInterface({ input: process.stdin }).on("line", (line) => {
  const [word, start] = line.split(" ");
  if (word === "go") feed(Number(start));
  else process.exit(0);
}).on("close", () => process.exit(0));

http.listen({ port: 0, host: "127.0.0.1", backlog: 4096 }, () => {
  process.stdout.write(`ready ${http.address().port} ${process.pid}\n`);
});
