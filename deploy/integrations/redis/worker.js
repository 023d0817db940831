// Counts in Redis, every PAUSE seconds.
const { readFileSync } = require("node:fs");
const { setTimeout: pause } = require("node:timers/promises");
const { createClient } = require("redis");

const credentials = () => JSON.parse(readFileSync(process.env.REDIS_FILE, "utf8"));

async function main() {
  const client = createClient({
    url: process.env.REDIS_URL,
    // Whenever it connects, or connects again after an outage,
    credentialsProvider: { type: "async-credentials-provider", credentials: async () => credentials() },
  });
  client.on("error", (error) => console.error(`redis: ${error.message}`));
  await client.connect();
  // and when there is a new user, on the connection that is there: what is under way is not disturbed.
  process.on("SIGHUP", () => client.auth(credentials()).catch((error) => console.error(`redis: ${error.message}`)));
  process.on("SIGTERM", () => process.exit(0));
  for (;;) {
    try {
      const visits = await client.incr("shop:visits");
      console.log(`ok ${visits} ${await client.aclWhoAmI()}`);
    } catch (error) {
      // The connection broke in the middle. It may have been counted or not, so it is not done again.
      console.log(`failed: ${error.message}`);
    }
    await pause(1000 * process.env.PAUSE);
  }
}

main();
