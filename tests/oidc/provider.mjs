// An OpenID provider on loopback: `node provider.mjs`. It reads its configuration as one line of JSON from standard input:
// {port, keys, accounts, redirectUri, audience}. It prints its issuer when it listens, and ends with its standard input.
//
// The accounts may be changed while it runs: PUT /test/accounts with the new ones.
import { createServer } from "node:http";
import { createInterface } from "node:readline";
import { Provider } from "oidc-provider";

const lines = createInterface({ input: process.stdin });
const configuration = JSON.parse((await lines[Symbol.asyncIterator]().next()).value);
process.stdin.on("end", () => process.exit(0));
let { accounts } = configuration;

const server = createServer();
server.listen(configuration.port, "127.0.0.1", () => {
  const issuer = `http://127.0.0.1:${server.address().port}`;
  const provider = new Provider(issuer, {
    jwks: { keys: configuration.keys },
    clients: [
      {
        client_id: "registry",
        client_secret: "a secret with signs: %+&=/",
        redirect_uris: [configuration.redirectUri],
        post_logout_redirect_uris: [new URL("/", configuration.redirectUri).href],
      },
      { client_id: "public", token_endpoint_auth_method: "none", redirect_uris: [configuration.redirectUri] },
      {
        client_id: "crawler",
        client_secret: "secret of the crawler",
        grant_types: ["client_credentials"],
        redirect_uris: [],
        response_types: [],
      },
    ],
    claims: { openid: ["sub"], profile: ["name", "groups"] },
    pkce: { required: () => true },
    findAccount: (context, id) => ({ accountId: id, claims: () => ({ sub: id, ...accounts[id] }) }),
    extraTokenClaims: (context, token) => ({ groups: (accounts[token.accountId ?? token.clientId] ?? {}).groups }),
    ttl: { AccessToken: 600, ClientCredentials: 600, IdToken: 600, Interaction: 600, Session: 600, Grant: 600 },
    features: {
      clientCredentials: { enabled: true },
      devInteractions: { enabled: true },
      resourceIndicators: {
        enabled: true,
        getResourceServerInfo: (context, resource) => ({
          scope: "api",
          audience: resource,
          accessTokenFormat: "jwt",
          jwt: { sign: { alg: "ES256" } },
        }),
      },
    },
    clientDefaults: { id_token_signed_response_alg: "RS256" },
  });
  const answer = provider.callback();
  server.on("request", async (request, response) => {
    if (request.url !== "/test/accounts") return answer(request, response);
    const parts = [];
    for await (const part of request) parts.push(part);
    accounts = JSON.parse(Buffer.concat(parts));
    response.writeHead(204).end();
  });
  console.log(issuer);
});
