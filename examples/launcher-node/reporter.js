// Sends outcomes, one batch after the other, with Connect. A batch is written to a file before it is sent for the first time,
// so that a launcher that is killed sends the same batch again, with the same number. The server counts it once.
import { randomUUID } from "node:crypto";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";

import { fromJson } from "@bufbuild/protobuf";
import { Code, ConnectError, createClient } from "@connectrpc/connect";
import { createConnectTransport } from "@connectrpc/connect-node";

import { ReportOutcomesRequestSchema, ResolverService } from "./gen/rampd/v1/resolver_service_pb.js";
import { readJson, writeJson } from "./queue.js";

const BATCH = 1000; // the API takes at most so many
const GATHER_MS = 200;
const REPORT_TIMEOUT_MS = 5000;
const FIRST_PAUSE_MS = 100;
const LONGEST_PAUSE_MS = 10_000;
const FLUSH_MS = 2000;

export class Reporter {
  #component;
  #queue;
  #client;
  #path;
  #batch;

  constructor(component, queue, server, headers) {
    const withHeaders = (next) => (request) => {
      for (const [name, value] of Object.entries(headers)) request.header.set(name, value);
      return next(request);
    };
    this.#component = component;
    this.#queue = queue;
    this.#client = createClient(
      ResolverService,
      createConnectTransport({ baseUrl: server, httpVersion: "1.1", interceptors: [withHeaders] }),
    );
    this.#path = join(queue.folder, "batch.json");
    this.#batch = existsSync(this.#path)
      ? readJson(this.#path)
      : { client_id: randomUUID(), sequence: 0, names: [], acknowledged: true };
  }

  // Sends batches until the launcher stops.
  async run(signal) {
    let failures = 0;
    while (!signal.aborted) {
      let wait = GATHER_MS;
      try {
        await this.#report(signal);
        failures = 0;
      } catch (error) {
        if (!signal.aborted) console.error(`batch ${this.#batch.sequence} will be sent again: ${error.message}`);
        wait = FIRST_PAUSE_MS + Math.random() * Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** failures++);
      }
      await pause(wait, undefined, { signal }).catch(() => {});
    }
  }

  // Sends what is left. What no server takes now is sent by the next launcher of this folder.
  async flush() {
    const signal = AbortSignal.timeout(FLUSH_MS);
    try {
      while (await this.#report(signal));
    } catch (error) {
      console.error(`batch ${this.#batch.sequence} was not taken: ${error.message}`);
    }
  }

  // Sends a batch, and returns whether there was one.
  async #report(signal) {
    if (this.#batch.acknowledged) {
      const names = this.#queue.unreported().slice(0, BATCH);
      if (names.length === 0) return false;
      const next = { ...this.#batch, sequence: this.#batch.sequence + 1, names, acknowledged: false };
      writeJson(this.#path, next);
      this.#batch = next;
    }
    for (const { index, message } of await this.#send(signal)) {
      console.error(`the outcome of ${this.#batch.names[index]} is not counted: ${message}`);
    }
    // The jobs first: if the launcher is killed in between, the same batch is sent again.
    for (const name of this.#batch.names) this.#queue.reported(name);
    this.#batch.acknowledged = true;
    writeJson(this.#path, this.#batch);
    return true;
  }

  async #send(signal) {
    try {
      const answer = await this.#client.reportOutcomes(this.#request(), { signal, timeoutMs: REPORT_TIMEOUT_MS });
      return answer.ignored;
    } catch (error) {
      if (ConnectError.from(error).code !== Code.InvalidArgument) throw error;
      console.error(`batch ${this.#batch.sequence} is dropped, because no server will take it: ${error.message}`);
      return [];
    }
  }

  #request() {
    const outcomes = this.#batch.names.map((name) => {
      const done = this.#queue.done(name);
      return {
        component: this.#component,
        release: String(done.release),
        revision: String(done.revision),
        channel: done.channel,
        reason: done.reason,
        repo: done.repo,
        job_id: done.id,
        result: done.code === 0 ? "OUTCOME_RESULT_SUCCEEDED" : "OUTCOME_RESULT_FAILED",
        duration: `${done.seconds.toFixed(9)}s`,
      };
    });
    const { client_id, sequence } = this.#batch;
    return fromJson(ReportOutcomesRequestSchema, { client_id, sequence: String(sequence), outcomes });
  }
}
