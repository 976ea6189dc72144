// Reads decision vectors from standard input, and writes the answer of JavaScript for each job to standard output.
// decide.js is the snippet of docs/resolution.md, bucket.js that of docs/bucketing.md. The test writes both.
import { readFileSync } from "node:fs";
import { decide } from "./decide.js";

const groups = JSON.parse(readFileSync(0, "utf8"));
process.stdout.write(JSON.stringify(groups.map(({ state, jobs }) => jobs.map((job) => decide(state, job)))));
