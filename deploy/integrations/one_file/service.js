// Signs what it answers. Everything it needs to know is in one file, which it reads at its start and on SIGHUP.
//     service.js FILE            serves
//     service.js --check FILE    only says whether the file is good
const { createHmac } = require("node:crypto");
const { readFileSync } = require("node:fs");
const { createServer } = require("node:http");

function read(file) {
  const settings = JSON.parse(readFileSync(file, "utf8"));
  if (!Number.isInteger(settings.listen?.port)) throw new Error("listen.port has to be a number");
  if (!(settings.signing_key?.length >= 16)) throw new Error("signing_key has to have 16 letters at least");
  if (!settings.redis?.user || !settings.redis?.password) throw new Error("redis.user and redis.password have to be there");
  return settings;
}

function serve(file) {
  let settings = read(file);
  const server = createServer((_, response) => {
    const body = JSON.stringify({ orders: 3, redis: settings.redis.user });
    response.setHeader("x-signature", createHmac("sha256", settings.signing_key).update(body).digest("hex"));
    response.end(body);
  });
  server.listen(settings.listen.port, settings.listen.host);
  // One assignment: a request sees the settings before, or those after, and never some of each.
  process.on("SIGHUP", () => (settings = read(file)));
  process.on("SIGTERM", () => server.close(() => process.exit(0)));
}

const [first, second] = process.argv.slice(2);
if (first === "--check") {
  try {
    read(second);
  } catch (error) {
    // Without its text: a parser quotes what it could not read.
    console.error(error instanceof SyntaxError ? "this is no JSON" : error.message);
    process.exit(1);
  }
} else {
  serve(first);
}
