// OpenID Connect as a county has it: panva's certified provider, with a handful of people. Its argument is the folder of
// the library. Prints its port; then does what lines of its standard input say, and answers each by a line:
//   client ADDRESS    the hub is at this address        skew SECONDS   its clock runs ahead by so much, or behind
//   rotate            it signs with a new key           ends with its standard input
const crypto = require("node:crypto");
const http = require("node:http");
const path = require("node:path");
const readline = require("node:readline");
const { pathToFileURL } = require("node:url");

const PEOPLE = {
  ana: { name: "Ana Ruiz", groups: ["hub-case-managers"] },
  imani: { name: "Imani Brooks", groups: ["hub-officers", "everybody"] },
  noor: { name: "Noor Haddad", groups: ["hub-operators"] },
  both: { name: "Both Ways", groups: ["hub-officers", "hub-operators"] },
  stranger: { name: "Some One", groups: ["everybody"] },
};
const now = Date.now;
let skew = 0;
Date.now = () => now() + skew * 1000;
let provider, make, hub, keys = [];

const fresh = () => ({
  ...crypto.generateKeyPairSync("rsa", { modulusLength: 2048 }).privateKey.export({ format: "jwk" }),
  kid: crypto.randomBytes(6).toString("hex"), use: "sig", alg: "RS256",
});
const settings = () => ({
  clients: hub ? [{
    client_id: "hub", client_secret: "a-secret-of-the-county: 50%+41", redirect_uris: [`${hub}/signin/callback`],
    post_logout_redirect_uris: [`${hub}/signin`], backchannel_logout_uri: `${hub}/signin/ended`,
    backchannel_logout_session_required: true, grant_types: ["authorization_code"], response_types: ["code"],
  }] : [],
  jwks: { keys },
  claims: { openid: ["sub"], profile: ["name", "groups"] },
  conformIdTokenClaims: false,
  features: { backchannelLogout: { enabled: true }, devInteractions: { enabled: true } },
  pkce: { required: () => true },
  cookies: { keys: ["a"] },
  findAccount: (_, id) => PEOPLE[id] && { accountId: id, claims: () => ({ sub: id, ...PEOPLE[id] }) },
});
const server = http.createServer((request, response) => provider.callback()(request, response));
const commands = {
  client: (address) => { hub = address; },
  rotate: () => { keys = [fresh()]; },
  skew: (seconds) => { skew = Number(seconds); },
};

(async () => {
  console.warn = console.info = () => {}; // what it says about not being set up for production
  const { default: Provider } = await import(pathToFileURL(path.join(process.argv[2], "oidc-provider/lib/index.js")));
  server.listen(0, "127.0.0.1", () => {
    const issuer = `http://127.0.0.1:${server.address().port}`;
    make = () => { provider = new Provider(issuer, settings()); };
    commands.rotate();
    make();
    console.log(server.address().port);
  });
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const [command, argument] = line.split(" ");
    commands[command](argument);
    if (command !== "skew") make();
    console.log("done");
  }
  process.exit(0);
})();
