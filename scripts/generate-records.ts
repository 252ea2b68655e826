/**
 * Makes src/store/records.generated.ts from src/store/records.proto: the schema as a JSON descriptor.
 *
 * Static code of pbjs was tried and rejected: it is JavaScript, which `tsc` does not carry into dist.
 * protobufjs compiles the descriptor into the same code at load. With `--check` nothing is written
 * and a stale file is exit status 1.
 */
import { spawnSync } from 'node:child_process'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = packageRoot()
const outputPath = join(root, 'src/store/records.generated.ts')

const pbjs = join(root, 'node_modules/.bin/pbjs')
const result = spawnSync(pbjs, ['-t', 'json', join(root, 'src/store/records.proto')], {
  encoding: 'utf8',
})
if (result.status !== 0) throw new Error(`pbjs failed: ${result.error?.message ?? result.stderr}`)
const text = `/**
 * Generated from records.proto by scripts/generate-records.ts: do not edit.
 */
export const RECORDS_DESCRIPTOR = ${JSON.stringify(JSON.parse(result.stdout), undefined, 2)}
`
if (!process.argv.includes('--check')) {
  writeFileSync(outputPath, text)
} else if (!existsSync(outputPath) || readFileSync(outputPath, 'utf8') !== text) {
  console.error('src/store/records.generated.ts is stale: run `npm run generate`')
  process.exitCode = 1
}

function packageRoot(): string {
  let directory = dirname(fileURLToPath(import.meta.url))
  while (!existsSync(join(directory, 'package.json'))) directory = dirname(directory)
  return directory
}
