/**
 * How things look in a terminal: aligned columns without borders, short durations, colour only
 * where somebody looks.
 */
import Table from 'cli-table3'

export interface Column<Row> {
  readonly title: string
  readonly text: (row: Row) => string
  readonly align?: 'left' | 'right'
}

export type Colour = 'bold' | 'dim' | 'red' | 'green' | 'yellow' | 'cyan'

/** Colours `text` when `wanted`; callers ask `wantsColour` once. */
export function coloured(wanted: boolean, colour: Colour, text: string): string {
  return wanted ? `\u001b[${COLOUR_CODES[colour]}m${text}\u001b[0m` : text
}

/** Colours are for people: a terminal, and no NO_COLOR (no-color.org). */
export function wantsColour(): boolean {
  return process.stdout.isTTY === true && (process.env['NO_COLOR'] ?? '') === ''
}

/** A table as text, without trailing white space; `empty` when there are no rows. */
export function formatTable<Row>(
  columns: readonly Column<Row>[],
  rows: readonly Row[],
  empty: string,
  colour: boolean,
): string {
  if (rows.length === 0) return coloured(colour, 'dim', empty)
  const table = new Table({
    head: columns.map(({ title }) => coloured(colour, 'bold', title)),
    colAligns: columns.map(({ align }) => align ?? 'left'),
    chars: NO_BORDERS,
    style: { head: [], border: [], 'padding-left': 0, 'padding-right': 2 },
  })
  for (const row of rows) table.push(columns.map(({ text }) => text(row)))
  return table
    .toString()
    .split('\n')
    .map((line) => line.trimEnd())
    .join('\n')
}

/** `12ms`, `4.2s`, `14m50s`, `3h05m`, `2d04h`; `-` for undefined. */
export function formatDuration(ms: number | undefined): string {
  if (ms === undefined) return '-'
  if (ms < 0) return `-${formatDuration(-ms)}`
  if (ms < 1000) return `${ms < 10 ? Math.round(ms * 100) / 100 : Math.round(ms)}ms`
  const seconds = ms / 1000
  if (seconds < 60) return `${Math.round(seconds * 10) / 10}s`
  const pair = (large: number, small: number): string => {
    const whole = Math.floor(seconds / large)
    const rest = Math.floor((seconds % large) / small)
    return `${whole}${UNIT_NAMES[large]}${String(rest).padStart(2, '0')}${UNIT_NAMES[small]}`
  }
  if (seconds < 3600) return pair(60, 1)
  return seconds < 86_400 ? pair(3600, 60) : pair(86_400, 3600)
}

/** `172.16.3.1 1/100`, with `down` where a locator is not reachable; one per line. */
export function formatLocators(
  locators: readonly { rloc: string; priority: number; weight: number; reachable: boolean }[],
): string {
  if (locators.length === 0) return '-'
  return locators
    .map(({ rloc, priority, weight, reachable }) => {
      return `${rloc} ${priority}/${weight}${reachable ? '' : ' down'}`
    })
    .join('\n')
}

/** A field of an event: times come with more digits than a person wants. */
export function fieldText(value: unknown): string {
  if (Array.isArray(value)) return value.join(',')
  return typeof value === 'number' ? String(Math.round(value * 100) / 100) : String(value)
}

/** The prefix with its instance-ID, whether or not the text already has it. */
export function formatPrefix(entry: { eidPrefix: string; instanceId: number }): string {
  const bare = entry.instanceId === 0 || entry.eidPrefix.startsWith('[')
  return bare ? entry.eidPrefix : `[${entry.instanceId}]${entry.eidPrefix}`
}

const COLOUR_CODES: Readonly<Record<Colour, number>> = {
  bold: 1,
  dim: 2,
  red: 31,
  green: 32,
  yellow: 33,
  cyan: 36,
}

const UNIT_NAMES: Readonly<Record<number, string>> = { 1: 's', 60: 'm', 3600: 'h', 86400: 'd' }

const NO_BORDERS = {
  top: '',
  'top-mid': '',
  'top-left': '',
  'top-right': '',
  bottom: '',
  'bottom-mid': '',
  'bottom-left': '',
  'bottom-right': '',
  left: '',
  'left-mid': '',
  mid: '',
  'mid-mid': '',
  right: '',
  'right-mid': '',
  middle: '',
} as const
