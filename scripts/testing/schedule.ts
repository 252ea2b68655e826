/**
 * Which test files run beside others, and in which order, on a machine of two cores.
 */

export interface TestGroup {
  /** How many of its files run at once. */
  readonly jobs: number
  readonly files: readonly string[]
}

/** Files whose figures are those of an idle machine: they run alone … */
const NEEDS_QUIET = /\/test\/(bench|demo|e2e|store|tables)\/|\/api\/large-tables|\/native-hold/
/** … but for these, which build networks and are indifferent to what runs beside them. */
const INDIFFERENT = [
  'bad-input',
  'capture',
  'closed-network',
  'hold-limits',
  'hypervisors',
  'interworking',
  'kill',
  'mininet',
  'pim',
  'reload',
  'static-pair',
  'why-and-replay',
].map((name) => `/e2e/${name}.test.js`)
/** The longest begin first, so that none is left over when all others are done. */
const LONGEST = ['e2e/kill', 'fuzz/decoders', 'e2e/bad-input', 'e2e/reload', 'fuzz/native']

/** The groups in which `files` run, one group after the other. */
export function groupsOf(files: readonly string[]): TestGroup[] {
  const needsQuiet = (file: string): boolean =>
    NEEDS_QUIET.test(file) && !INDIFFERENT.some((name) => file.endsWith(name))
  const alone = files.filter(needsQuiet)
  const together = files.filter((file) => !needsQuiet(file))
  const rank = (file: string): number => {
    const place = LONGEST.findIndex((part) => file.includes(part))
    return place < 0 ? LONGEST.length : place
  }
  return [
    { jobs: 2, files: together.sort((a, b) => rank(a) - rank(b)) },
    { jobs: 1, files: alone },
  ].filter((group) => group.files.length > 0)
}
