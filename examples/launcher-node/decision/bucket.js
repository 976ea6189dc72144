import murmur3 from "murmurhash3js-revisited";

export function bucket(component, release, unit) {
  const input = new TextEncoder().encode(`${component}/${release}:${unit}`);
  const h = murmur3.x86.hash32(input, 0);
  return Math.floor((h * 10000) / 2 ** 32); // exact: the product is below 2^53
}
