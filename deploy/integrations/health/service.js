// A service whose /health says how its secrets are. It goes on serving while they are not well: whether that is a reason to send it no more
// requests, its readiness probe decides, which asks /health. A liveness probe must not: a restart mends no outage of the secret server.
const { readFileSync } = require("node:fs");
const { createServer } = require("node:http");

const credentials = () => JSON.parse(readFileSync(process.env.DB_FILE, "utf8"));
let current = credentials();
process.on("SIGHUP", () => (current = credentials()));

async function secrets() {
  try {
    const headers = { accept: "application/json" };
    const answer = await fetch(process.env.READY_URL, { headers, signal: AbortSignal.timeout(1000) });
    return await answer.json(); // {"is_ready": true, "reasons": []}
  } catch (error) {
    return { is_ready: false, reasons: [`Squire does not answer: ${error.message}`] };
  }
}

const server = createServer(async (request, response) => {
  if (request.url !== "/health") {
    response.end(current.user);
    return;
  }
  const state = await secrets();
  response.statusCode = state.is_ready ? 200 : 503;
  response.setHeader("content-type", "application/json");
  response.end(JSON.stringify({ status: state.is_ready ? "ok" : "failing", secrets: state }));
});
server.listen(Number(process.env.PORT), "127.0.0.1");
process.on("SIGTERM", () => server.close(() => process.exit(0)));
