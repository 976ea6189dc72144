// Calls a server by the Connect protocol with the library that launchers in JavaScript use, and prints what came.
// node client.js URL DESCRIPTORS json|proto
import { readFileSync } from "node:fs";
import { createFileRegistry, fromBinary } from "@bufbuild/protobuf";
import { FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError, createClient } from "@connectrpc/connect";
import { compressionGzip, createConnectTransport } from "@connectrpc/connect-node";

const [url, descriptors, kind] = process.argv.slice(2);
const registry = createFileRegistry(fromBinary(FileDescriptorSetSchema, readFileSync(descriptors)));
const transport = createConnectTransport({
  baseUrl: url,
  httpVersion: "1.1",
  useBinaryFormat: kind === "proto",
  useHttpGet: true,
  acceptCompression: [compressionGzip],
  sendCompression: compressionGzip,
  compressMinBytes: 100,
});
const client = (name) => createClient(registry.getService(`rampd.v1.${name}`), transport);
const release = client("ReleaseService");
const resolver = client("ResolverService");
const rollout = client("RolloutService");

async function refused(call) {
  try {
    await call();
  } catch (error) {
    const known = ConnectError.from(error);
    const [info] = known.details.filter((detail) => detail.type === "google.rpc.ErrorInfo");
    return { code: Code[known.code], message: known.rawMessage, reason: info?.debug?.reason };
  }
  return "not refused";
}

const found = {};
found.released = (await release.release({ component: "node", tag: "t1", note: "x".repeat(400) })).message;
found.tag = (await resolver.resolve({ component: "node", repo: "acme/app" })).tag;
found.missing = await refused(() => resolver.resolve({ component: "none", repo: "acme/app" }));
found.wrong = await refused(() => rollout.ramp({ component: "node", percent: 200 }));
found.late = await refused(() =>
  resolver.resolve({ component: "node", repo: "acme/app", minRevision: 99n }, { timeoutMs: 100 }),
);
const ends = new AbortController();
found.changes = [];
try {
  for await (const message of resolver.watch({ components: ["node"] }, { signal: ends.signal })) {
    if (message.state) {
      found.first = message.state.components.map((each) => each.component);
      await release.release({ component: "node", tag: "t2" });
    }
    found.changes.push(...message.changes.map((each) => each.component.component));
    if (found.changes.length) ends.abort();
  }
} catch (error) {
  found.ended = Code[ConnectError.from(error).code];
}
found.states = [];
await rollout.abandon({ component: "node" });
for await (const message of release.watchRelease({ component: "node", release: 2n })) {
  found.states.push(message.release.tag);
}
found.refusedStream = await refused(async () => {
  for await (const _ of release.watchRelease({ component: "none", release: 2n })) throw new Error("a message");
});
console.log(JSON.stringify(found));
