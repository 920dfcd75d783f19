// A receiver of webhooks as its users write one: verifies with Standard Webhooks' own library, and answers 204 or 401.
// The secret is its argument. Prints its port, then what it verified, a line of JSON each; ends with its standard input.
const http = require("node:http");
const { Webhook } = require("standardwebhooks");

const webhook = new Webhook(process.argv[2]);
const server = http.createServer((request, response) => {
  const parts = [];
  request.on("data", (part) => parts.push(part));
  request.on("end", () => {
    try {
      const event = webhook.verify(Buffer.concat(parts).toString(), request.headers);
      console.log(JSON.stringify({ id: request.headers["webhook-id"], event }));
      response.writeHead(204).end();
    } catch (error) {
      response.writeHead(401).end();
    }
  });
});
server.listen(0, "127.0.0.1", () => console.log(server.address().port));
process.stdin.on("end", () => process.exit(0)).resume();
