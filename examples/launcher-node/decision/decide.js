import { bucket } from "./bucket.js";

const NEXT_MAX_STALE_S = 300;
const STALE_AFTER_S = 5;

export function decide(state, { repo, job_id, now, snapshot_age_s }) {
  const { component, revision, resolution, releases, overrides = [] } = state;
  const { current, next = "0", next_percent = 0, queued = [], previous = [] } = resolution;
  const byNumber = new Map(releases.map((release) => [release.number, release]));
  const hasNext = next !== "0";
  const unit = resolution.unit === "UNIT_JOB" && job_id !== "" ? job_id : repo;
  const drawn = hasNext ? bucket(component, next, unit) : null;
  const rest = { bucket: drawn, revision, stale: snapshot_age_s >= STALE_AFTER_S };

  const override = inForce(overrides, repo, Date.parse(now));
  if (override?.tag) {
    const numbers = [current, next, ...queued, ...previous];
    const release = numbers.find((number) => byNumber.get(number)?.tag === override.tag) ?? "0";
    return { tag: override.tag, channel: "CHANNEL_UNSPECIFIED", reason: "RESOLVE_REASON_OVERRIDE_TAG", release, ...rest };
  }

  const getsNext = override
    ? override.channel === "CHANNEL_NEXT" && resolution.state === "ROLLOUT_STATE_ROLLING_OUT"
    : hasNext && drawn < Math.round(next_percent * 100);
  const byRule = override ? "OVERRIDE_CHANNEL" : hasNext ? "WEIGHT" : "STEADY";
  const isTooOld = getsNext && snapshot_age_s > NEXT_MAX_STALE_S;
  const release = getsNext && !isTooOld ? next : current;
  return {
    tag: byNumber.get(release).tag,
    channel: release === next ? "CHANNEL_NEXT" : "CHANNEL_CURRENT",
    reason: `RESOLVE_REASON_${isTooOld ? "STALE" : byRule}`,
    release,
    ...rest,
  };
}

function inForce(overrides, repo, now) {
  const names = [repo];
  for (let end = repo.lastIndexOf("/"); end > 0; end = repo.lastIndexOf("/", end - 1)) {
    names.push(`${repo.slice(0, end)}/*`);
  }
  const counts = (each) => each.expire_time === undefined || now < Date.parse(each.expire_time);
  const found = names.map((name) => overrides.find((each) => each.repo === name && counts(each)));
  return found.find((each) => each !== undefined);
}
