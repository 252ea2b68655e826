/**
 * What a row of docs/standards.md is worth: a met row counts only while its source fragments are
 * there, and its test exists, ran, passed and was not skipped. Counts by section and in all.
 */
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { locate } from './disable.js'
import type { StandardsRow, Status } from './standards-table.js'
import { type FileOutcome, mentionsTest } from './test-outcomes.js'

export interface JudgedRow {
  readonly row: StandardsRow
  /** Why a row that says met is not; undefined when nothing is wrong. */
  readonly objection: string | undefined
}

export type Counts = Record<Status, number> & { unproven: number }

/** `outcomes` undefined: nothing was run, only names are looked at. */
export function judgeRow(
  root: string,
  row: StandardsRow,
  outcomes: ReadonlyMap<string, FileOutcome> | undefined,
): JudgedRow {
  if (row.status !== 'met' || !row.test) return { row, objection: undefined }
  const { file, name } = row.test
  for (const source of row.sources) {
    if (!existsSync(join(root, source.file))) return { row, objection: `no file ${source.file}` }
    const place = locate(readFileSync(join(root, source.file), 'utf8'), source.fragment)
    if (typeof place === 'string') return { row, objection: `${source.file}: ${place}` }
  }
  if (!existsSync(join(root, file))) return { row, objection: `no file ${file}` }
  if (!outcomes) {
    const known = mentionsTest(root, file, name)
    return { row, objection: known ? undefined : `${file} has no test '${name}'` }
  }
  const outcome = outcomes.get(file)
  const result = outcome?.tests.get(name)
  if (result === 'passed') return { row, objection: undefined }
  const late = outcome?.timedOut ? ' (the file took too long)' : ''
  return { row, objection: `${file} › ${name}: ${result ?? 'did not run'}${late}` }
}

/** The statuses of all rows; a met row with an objection counts as missing, and as unproven. */
export function countRows(rows: readonly JudgedRow[]): Counts {
  const counts: Counts = { met: 0, 'not applicable': 0, deviates: 0, missing: 0, unproven: 0 }
  for (const { row, objection } of rows) {
    if (objection !== undefined) counts.unproven += 1
    counts[objection === undefined ? row.status : 'missing'] += 1
  }
  return counts
}
