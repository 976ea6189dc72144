// Asks rampd for each job, as a flag of OpenFeature. While rampd is away, a job runs the last version that a file has.
import { existsSync, readFileSync } from "node:fs";

import { OFREPProvider } from "@openfeature/ofrep-provider";
import { OpenFeature } from "@openfeature/server-sdk";

import { writeJson } from "./queue.js";

const RESOLVE_TIMEOUT_MS = 500; // how long a job waits for its version at most

export class Versions {
  #client = OpenFeature.getClient();
  #path;
  #known;
  #isAway = false;

  static async open(path, server, headers) {
    // The provider has no time-out of its own.
    const fetchImplementation = (request) => fetch(request, { signal: AbortSignal.timeout(RESOLVE_TIMEOUT_MS) });
    await OpenFeature.setProviderAndWait(new OFREPProvider({ baseUrl: server, headers, fetchImplementation }));
    return new Versions(path);
  }

  constructor(path) {
    this.#path = path;
    this.#known = existsSync(path) ? JSON.parse(readFileSync(path, "utf8")) : {};
  }

  // The component is the flag, the repo its targeting key. The fields of the version have the names of the API.
  async of(component, job) {
    const answer = await this.#client.getStringDetails(component, "", { targetingKey: job.repo, job_id: job.id });
    const isAway = answer.errorCode !== undefined;
    if (isAway !== this.#isAway) console.error(`rampd answers: ${!isAway}. ${answer.errorMessage ?? ""}`);
    this.#isAway = isAway;
    if (isAway) return this.#fallback(component, answer);
    const { rampd_reason, channel = "unspecified", release, revision } = answer.flagMetadata;
    const found = {
      tag: answer.value,
      channel: `CHANNEL_${channel.toUpperCase()}`,
      reason: `RESOLVE_REASON_${rampd_reason}`,
      release,
      revision,
    };
    this.#remember(component, found);
    return found;
  }

  #fallback(component, { errorMessage }) {
    const known = this.#known[component];
    if (known === undefined) throw new Error(`no version of ${component} is known, so the job waits: ${errorMessage}`);
    return { tag: known.tag, channel: "CHANNEL_UNSPECIFIED", reason: "RESOLVE_REASON_FALLBACK", release: 0, revision: 0 };
  }

  // Keeps the last answer that may run everywhere: current. Next is kept only while no current is known, and an override to a
  // tag never.
  #remember(component, found) {
    const known = this.#known[component];
    const isForAll = found.channel === "CHANNEL_CURRENT" || (known === undefined && found.channel === "CHANNEL_NEXT");
    if (isForAll && known?.tag !== found.tag) {
      this.#known[component] = found;
      writeJson(this.#path, this.#known);
    }
  }
}
