// Asks OpenFeature's own provider for servers in JavaScript: a question in JSON on each line, and its answer on a line.

import { createInterface } from "node:readline";
import { OFREPProvider } from "@openfeature/ofrep-provider";
import { OpenFeature } from "@openfeature/server-sdk";

const { OFREP_ENDPOINT, RAMPD_TOKEN, TIMEOUT_MS } = process.env;
await OpenFeature.setProviderAndWait(
  new OFREPProvider({
    baseUrl: OFREP_ENDPOINT,
    headers: RAMPD_TOKEN ? [["Authorization", `Bearer ${RAMPD_TOKEN}`]] : [],
    // Version 0.1 of the provider has no time-out of its own.
    fetchImplementation: (request) => fetch(request, { signal: AbortSignal.timeout(Number(TIMEOUT_MS)) }),
  }),
);
const client = OpenFeature.getClient();
for await (const line of createInterface({ input: process.stdin })) {
  const asked = JSON.parse(line);
  const began = performance.now();
  const details = await client.getStringDetails(asked.component, asked.default, asked.context);
  console.log(
    JSON.stringify({
      value: details.value,
      variant: details.variant,
      reason: details.reason,
      errorCode: details.errorCode,
      errorMessage: details.errorMessage,
      metadata: details.flagMetadata,
      ms: performance.now() - began,
    }),
  );
}
await OpenFeature.close();
