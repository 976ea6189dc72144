// The published buckets and decisions, which are beside the .proto files.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { bucket } from "./bucket.js";
import { decide } from "./decide.js";

function read(name) {
  return JSON.parse(readFileSync(new URL(`../../../proto/rampd/v1/${name}`, import.meta.url), "utf8"));
}

test("buckets are the published ones", () => {
  const vectors = read("bucketing_vectors.json");
  assert.ok(vectors.length >= 60);
  for (const { component, release, unit_kind, repo, job_id, hash_input, bucket: expected } of vectors) {
    const unit = unit_kind === "JOB" && job_id !== "" ? job_id : repo;
    assert.equal(bucket(component, release, unit), expected, hash_input);
  }
});

test("decisions are the published ones", () => {
  const groups = read("decision_vectors.json");
  assert.ok(groups.flatMap(({ jobs }) => jobs).length >= 200);
  for (const { shows, state, jobs } of groups) {
    for (const job of jobs) assert.deepEqual(decide(state, job), job.answer, `${shows}: ${JSON.stringify(job)}`);
  }
});
