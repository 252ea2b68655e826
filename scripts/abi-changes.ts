/**
 * Whether maps that an earlier build left pinned would be misread: struct by struct and number by
 * number, between two versions of src/datapath/abi.generated.ts.
 *
 * New structs and appended enumerators change nothing for what is there already. Structs that only the
 * programs know (native/bpf/maps.h) are not in that file and are not seen here.
 */

/** Names of what changed although the version is the same, sorted; none when there was no file before. */
export function changesUnderOneVersion(former: string, present: string): string[] {
  if (versionOf(former) !== versionOf(present)) return []
  const now = new Map(partsOf(present))
  return partsOf(former)
    .filter(([name, lines]) => {
      const theirs = new Set(now.get(name) ?? [])
      return lines.some((line) => !theirs.has(line))
    })
    .map(([name]) => name)
    .sort()
}

function versionOf(text: string): string | undefined {
  return /^export const ABI_VERSION = (\d+)$/m.exec(text)?.[1]
}

/** Offsets, sizes and ways of writing of each struct; numbers of each enumeration. */
function partsOf(text: string): [string, string[]][] {
  return text
    .split(/^\/\*\* (?=(?:struct|enum) )/m)
    .slice(1)
    .map((part) => {
      const name = /^\w+ \w+/.exec(part)![0]
      const lines = part.split('\n').filter((line) => LAYOUT_LINE.test(line))
      return [name, lines]
    })
}

const LAYOUT_LINE =
  /^export const \w+_(?:BYTES|OFFSETS) = |^ {2}(?:view\.set|write)|^ {2}'[\w-]+': /
