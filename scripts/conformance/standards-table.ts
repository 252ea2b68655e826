/**
 * Reads docs/standards.md: sections of rows, one requirement each. Strict: a line that looks like a
 * row and is none, a duplicate id, an unknown status, or a met row without source and test is an
 * error with its line number. Knows nothing of whether the sources and tests exist.
 */

export type Status = 'met' | 'not applicable' | 'deviates' | 'missing'

/** A fragment of one line; `context … target` names the first target behind the context. */
export interface SourceFragment {
  readonly file: string
  readonly fragment: string
}

export interface StandardsRow {
  readonly line: number
  readonly section: string
  readonly id: string
  readonly level: string
  readonly requirement: string
  readonly status: Status
  /** What is disabled together by a mutation; empty unless met. */
  readonly sources: readonly SourceFragment[]
  readonly test: { readonly file: string; readonly name: string } | undefined
}

export interface StandardsTable {
  readonly rows: readonly StandardsRow[]
  /** `docs/standards.md:17: what is wrong`, without the file name. */
  readonly errors: readonly string[]
}

const statuses: readonly Status[] = ['met', 'not applicable', 'deviates', 'missing']
const columns = 7
const sourcePair = /^`([^`]+)` (?:`` (.+?) ``|`([^`]+)`)(?:; |$)/

/** Never throws: what is wrong comes back in `errors`, and such a row is left out. */
export function readStandards(text: string): StandardsTable {
  const rows: StandardsRow[] = []
  const errors: string[] = []
  const seen = new Map<string, number>()
  let section = ''
  let line = 0
  for (const content of text.split('\n')) {
    line += 1
    if (content.startsWith('## ')) section = content.slice(3).trim()
    if (!content.startsWith('|')) continue
    const cells = splitCells(content)
    if (cells[0] === 'id' || /^-+$/.test(cells[0] ?? '')) continue
    const row = readRow(cells, section, line)
    if (typeof row === 'string') {
      errors.push(`${line}: ${row}`)
      continue
    }
    const earlier = seen.get(row.id)
    if (earlier !== undefined) errors.push(`${line}: ${row.id} is already in line ${earlier}`)
    seen.set(row.id, line)
    rows.push(row)
  }
  if (rows.length === 0 && errors.length === 0) errors.push('1: no row found')
  return { rows, errors }
}

/** MUST and MUST NOT, also where they hold in one variant only. */
export function isMust(row: StandardsRow): boolean {
  return /\bMN?\b/.test(row.level)
}

function readRow(cells: readonly string[], section: string, line: number): StandardsRow | string {
  if (section === '') return 'a row before the first section'
  if (cells.length !== columns) return `${cells.length} columns instead of ${columns}`
  const [id = '', , level = '', requirement = '', status = '', source = '', test = ''] = cells
  if (!/^[A-Z0-9][A-Za-z0-9.]*(-[0-9.]+)*-[0-9]+$/.test(id)) return `'${id}' is no requirement id`
  if (level === '' || requirement === '') return `${id}: level or requirement is empty`
  if (!statuses.includes(status as Status)) return `${id}: unknown status '${status}'`
  const row = { line, section, id, level, requirement, status: status as Status }
  if (status === 'met') {
    const sources = readSources(source)
    if (typeof sources === 'string') return `${id}: ${sources}`
    const named = /^`([^`]+)` › (.+)$/.exec(test)
    if (!named) return `${id}: met, but the test is not \`file\` › name`
    return { ...row, sources, test: { file: named[1] ?? '', name: named[2] ?? '' } }
  }
  if (status === 'missing' && (source !== '' || test !== ''))
    return `${id}: missing, but names a source or test`
  if (status !== 'missing' && source.length < 10) return `${id}: ${status} without a reason`
  return { ...row, sources: [], test: undefined }
}

function readSources(cell: string): readonly SourceFragment[] | string {
  const sources: SourceFragment[] = []
  let rest = cell
  while (rest !== '') {
    const pair = sourcePair.exec(rest)
    if (!pair) return 'met, but the source is not `file` `fragment`'
    sources.push({ file: pair[1] ?? '', fragment: pair[2] ?? pair[3] ?? '' })
    rest = rest.slice(pair[0].length)
  }
  return sources.length > 0 ? sources : 'met, but names no source'
}

/** Cells between the bars; a bar inside a cell is written `\|`. */
function splitCells(content: string): string[] {
  return content
    .replace(/^\|/, '')
    .replace(/\|\s*$/, '')
    .split(/(?<!\\)\|/)
    .map((cell) => cell.trim().replaceAll('\\|', '|'))
}
