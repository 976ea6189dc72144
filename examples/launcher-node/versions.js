// Asks rampd for each job, as a flag of OpenFeature. If rampd names no version, a job runs the last one that a file has.
import { existsSync, readFileSync } from "node:fs";

import { OFREPProvider } from "@openfeature/ofrep-provider";
import { OpenFeature } from "@openfeature/server-sdk";

import { writeJson } from "./queue.js";

const RESOLVE_TIMEOUT_MS = 500; // how long a job waits for its version at most
const WRONG_JOB = ["INVALID_CONTEXT", "TARGETING_KEY_MISSING"];

export class NoVersion extends Error {}

export class Versions {
  #client = OpenFeature.getClient();
  #path;
  #known;
  #isUnsaved = false;
  #code = "OK"; // of the last answer

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
    const { errorCode: code = "OK", errorMessage = "" } = answer;
    if (WRONG_JOB.includes(code)) throw new Error(errorMessage);
    if (code !== this.#code) console.error(`rampd answers with ${code}: ${errorMessage}`);
    this.#code = code;
    if (code !== "OK") return this.#fallback(component, errorMessage);
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

  #fallback(component, errorMessage) {
    const known = this.#known[component];
    if (known === undefined) throw new NoVersion(`no version of ${component} is known, so the job waits: ${errorMessage}`);
    return { tag: known.tag, channel: "CHANNEL_UNSPECIFIED", reason: "RESOLVE_REASON_FALLBACK", release: 0, revision: 0 };
  }

  // Keeps the last answer that may run everywhere: current. Next may be rolled back while rampd is away, and an override to a
  // tag is for one repo. No job waits for the file.
  #remember(component, found) {
    if (found.channel === "CHANNEL_CURRENT" && found.tag !== this.#known[component]?.tag) {
      this.#known[component] = found;
      this.#isUnsaved = true;
    }
    if (!this.#isUnsaved) return;
    try {
      writeJson(this.#path, this.#known);
      this.#isUnsaved = false;
    } catch (error) {
      console.error(`${this.#path} was not written, the next job tries again: ${error.message}`);
    }
  }
}
