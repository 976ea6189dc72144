// Reads vectors from standard input, and writes the answer of JavaScript for each to standard output.
// bucket.js is the snippet of docs/bucketing.md. The test writes it.
import { readFileSync } from "node:fs";
import murmur3 from "murmurhash3js-revisited";
import { bucket } from "./bucket.js";

const answers = JSON.parse(readFileSync(0, "utf8")).map(({ component, release, unit_kind, repo, job_id }) => {
  const unit = unit_kind === "JOB" && job_id !== "" ? job_id : repo;
  const hash_input = `${component}/${release}:${unit}`;
  return {
    hash_input,
    hash: murmur3.x86.hash32(new TextEncoder().encode(hash_input), 0),
    bucket: bucket(component, release, unit),
  };
});
process.stdout.write(JSON.stringify(answers));
