// Asks OpenFeature's own provider for web pages, which gets all flags at once and keeps them: a question in JSON on each line,
// and its answer on a line, with the statuses of HTTP that the provider has seen since the answer before, and whether it has said
// STALE meanwhile.

import { createInterface } from "node:readline";
import { OFREPWebProvider } from "@openfeature/ofrep-web-provider";
import { OpenFeature, ProviderEvents } from "@openfeature/web-sdk";

const { OFREP_ENDPOINT, RAMPD_TOKEN, TIMEOUT_MS } = process.env;
let statuses = [];
let isStale = false;
let isSet = false;
let context = "";

async function seeing(...call) {
  try {
    const response = await fetch(...call);
    statuses.push(response.status);
    return response;
  } catch (error) {
    statuses.push(0);
    throw error;
  }
}

OpenFeature.addHandler(ProviderEvents.Stale, () => (isStale = true));
const provider = new OFREPWebProvider({
  baseUrl: OFREP_ENDPOINT,
  headers: RAMPD_TOKEN ? [["Authorization", `Bearer ${RAMPD_TOKEN}`]] : [],
  timeoutMs: Number(TIMEOUT_MS),
  pollInterval: 100,
  cacheMode: "disabled",
  fetchImplementation: seeing,
});
for await (const line of createInterface({ input: process.stdin })) {
  const asked = JSON.parse(line);
  const began = performance.now();
  if (context !== JSON.stringify(asked.context)) {
    context = JSON.stringify(asked.context);
    await OpenFeature.setContext(asked.context);
  }
  if (!isSet) {
    isSet = true;
    await OpenFeature.setProviderAndWait(provider).catch(() => {});
  }
  const details = OpenFeature.getClient().getStringDetails(asked.component, asked.default);
  console.log(
    JSON.stringify({
      value: details.value,
      variant: details.variant,
      reason: details.reason,
      errorCode: details.errorCode,
      errorMessage: details.errorMessage,
      metadata: details.flagMetadata,
      ms: performance.now() - began,
      statuses,
      isStale,
    }),
  );
  statuses = [];
  isStale = false;
}
await OpenFeature.close();
