// Calls a server with grpc-js. Each line of standard input says what to do, and a line of JSON says what came.
// tests/clients/client.py has the words: node client.js TARGET [CA_FILE TOKEN]
import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

import grpc from "@grpc/grpc-js";
import loader from "@grpc/proto-loader";
import protobuf from "protobufjs";

const CALLERS = 8;
const PROTO = fileURLToPath(new URL("../../../proto", import.meta.url));
// What is not in proto/: the details of an error, and the health service.
const { root } = protobuf.parse(`
  syntax = "proto3";
  message Any { string type_url = 1; bytes value = 2; }
  message Status { int32 code = 1; string message = 2; repeated Any details = 3; }
  message ErrorInfo { string reason = 1; string domain = 2; map<string, string> metadata = 3; }
  message Health { enum Of { UNKNOWN = 0; SERVING = 1; NOT_SERVING = 2; } Of status = 1; }
`);
const [Status, ErrorInfo, Health] = ["Status", "ErrorInfo", "Health"].map((name) => root.lookupType(name));

const [, , target, authority, token] = process.argv;
const security = authority ? grpc.credentials.createSsl(readFileSync(authority)) : grpc.credentials.createInsecure();
const loaded = loader.loadSync("rampd/v1/resolver_service.proto", { includeDirs: [PROTO], longs: Number });
const resolver = new (grpc.loadPackageDefinition(loaded).rampd.v1.ResolverService)(target, security);

let number = 0;
const say = (what) => console.log(JSON.stringify(what));
const codeOf = (error) => grpc.status[error.code];
const job = (component) => ({ component, repo: "acme/app", jobId: "4711" });
const tagsOf = (releases) => (releases ?? []).map((each) => each.tag).sort();

// Another trace for each call, and the token.
function headers() {
  const each = (++number).toString(16);
  const found = new grpc.Metadata();
  found.set("traceparent", `00-${each.padStart(32, "0")}-${each.padStart(16, "0")}-01`);
  if (token) found.set("authorization", `Bearer ${token}`);
  return found;
}

const within = (ms) => ({ deadline: Date.now() + ms });

function answered(call) {
  return new Promise((resolve, reject) => call((error, answer) => (error ? reject(error) : resolve(answer))));
}

async function resolve(request, ms = 20_000) {
  return (await answered((done) => resolver.Resolve(request, headers(), within(ms), done))).tag;
}

function refusal(error) {
  const found = { code: codeOf(error), message: error.details };
  for (const data of error.metadata.get("grpc-status-details-bin")) {
    for (const detail of Status.decode(data).details) {
      if (!detail.typeUrl.endsWith("/google.rpc.ErrorInfo")) continue;
      const { reason, metadata } = ErrorInfo.decode(detail.value);
      Object.assign(found, { reason, metadata });
    }
  }
  return found;
}

// Gives each message of a stream to a function, and returns the code of its end.
function streamed(call, each) {
  return new Promise((resolve) => {
    call.on("data", each);
    call.on("error", () => {});
    call.on("status", (status) => resolve(codeOf(status)));
  });
}

async function watch() {
  const call = resolver.Watch({ components: ["restyler"] }, headers(), within(60_000));
  const ended = await streamed(call, (message) => {
    for (const each of message.state?.components ?? []) say({ state: tagsOf(each.releases) });
    for (const each of message.changes ?? []) {
      say({ change: tagsOf(each.component.releases) });
      call.cancel();
    }
  });
  return { ended };
}

async function health() {
  const check = (done) =>
    resolver.makeUnaryRequest(
      "/grpc.health.v1.Health/Check",
      () => Buffer.alloc(0),
      (data) => Health.toObject(Health.decode(data), { enums: String }),
      {},
      headers(),
      within(20_000),
      done,
    );
  return { status: (await answered(check)).status };
}

async function large() {
  const requests = Array.from({ length: 1000 }, (_, each) => ({
    component: "restyler",
    repo: `acme/${"a".repeat(100)}${each}`,
    jobId: "j".repeat(150),
  }));
  const { results } = await answered((done) => resolver.BatchResolve({ requests }, headers(), within(20_000), done));
  return { results: results.length, tags: new Set(results.map((each) => each.response?.tag)).size };
}

async function refused(request, ms) {
  try {
    return { tag: await resolve(request, ms) };
  } catch (error) {
    return refusal(error);
  }
}

// Keeps calling until each caller has seen an error, while a stream is open.
async function calls() {
  const ends = {};
  const waiting = new Set(Array.from({ length: CALLERS }, (_, each) => each));
  let [answered, wrong] = [0, 0];
  const keepCalling = async (caller) => {
    for (let own = 1; ; own++) {
      try {
        if ((await resolve(job("restyler"))) !== "t1") wrong++;
      } catch (error) {
        ends[codeOf(error)] = (ends[codeOf(error)] ?? 0) + 1;
        return;
      }
      answered++;
      if (own === 20 && waiting.delete(caller) && waiting.size === 0) say({ begun: true });
    }
  };
  const stream = streamed(resolver.Watch({}, headers(), within(60_000)), () => {});
  await Promise.all(Array.from({ length: CALLERS }, (_, each) => keepCalling(each)));
  return { answered, wrong, ends, stream: await stream };
}

async function bench(calls) {
  const waits = [];
  for (let each = 0; each < calls; each++) {
    const began = process.hrtime.bigint();
    await resolve(job("restyler"), 5000);
    waits.push(Number(process.hrtime.bigint() - began) / 1000);
  }
  waits.sort((one, other) => one - other);
  return { p50_us: waits[Math.floor(calls / 2)], p99_us: waits[Math.floor((calls * 99) / 100)] };
}

const WORDS = {
  async resolve() {
    const tags = [];
    for (let each = 0; each < 5; each++) tags.push(await resolve(job("restyler")));
    return { tags };
  },
  refused: () => refused(job("none")),
  watch,
  late: async () => ({ code: (await refused(job("restyler"), 500)).code }),
  health,
  large,
  too_large: async () => ({ code: (await refused({ component: "restyler", jobId: "j".repeat(5 << 20) })).code }),
  calls,
  bench: (calls) => bench(Number(calls)),
};

for await (const line of createInterface({ input: process.stdin })) {
  const [word, argument] = line.split(" ");
  say(await WORDS[word](argument));
}
