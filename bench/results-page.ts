/**
 * bench/results.md: the page of `npm run bench` with the figures of all other measurements behind it,
 * made anew from the .json files of bench/ whenever one of them has been written.
 * `node dist/bench/results-page.js` does just that.
 */
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { packageFile } from '../src/lab/names.js'
import { type Elsewhere, elsewhereMarkdown } from './elsewhere.js'
import { formatMarkdown } from './report.js'
import type { Results } from './results.js'

/** The whole page, from the files of `directory`; results.json has to be there. */
export function resultsPage(directory: string): string {
  const results = readKept<Results>(directory, 'results')
  if (results === undefined) throw new Error(`${directory} has no results.json: npm run bench`)
  const kept: Elsewhere = {
    migrations: readKept(directory, 'migrations'),
    scale: readKept(directory, 'scale'),
    soak: readKept(directory, 'soak'),
    attack: readKept(directory, 'attack'),
    fuzz: readKept(directory, 'fuzz'),
    'multicast-sim': readKept(directory, 'multicast-sim'),
  }
  return formatMarkdown(results, elsewhereMarkdown(kept))
}

/** Writes the page again if `written` is one of the files that it is made of. */
export function renewResultsPage(written: string): void {
  const directory = packageFile('bench')
  if (dirname(resolve(written)) !== resolve(directory)) return
  writeFileSync(join(directory, 'results.md'), resultsPage(directory))
}

function readKept<Kept>(directory: string, name: string): Kept | undefined {
  const file = join(directory, `${name}.json`)
  return existsSync(file) ? (JSON.parse(readFileSync(file, 'utf8')) as Kept) : undefined
}

if (process.argv[1] === import.meta.filename) renewResultsPage(packageFile('bench', 'results.json'))
