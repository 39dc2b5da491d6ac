// Versions of releases, in the order of semantic versioning as far as a page needs it.

const VERSION = /^(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(?:-([0-9A-Za-z.-]+))?$/;

/** The version that a release gets that is given none: the highest one's next minor, 1.0.0 at first. */
export function nextVersion(versions) {
  const highest = versions
    .map((version) => VERSION.exec(version))
    .filter((found) => found !== null)
    .map((found) => found.slice(1, 4).map(Number))
    .sort((one, other) => one[0] - other[0] || one[1] - other[1] || one[2] - other[2])
    .at(-1);
  return highest === undefined ? "1.0.0" : `${highest[0]}.${highest[1] + 1}.0`;
}
