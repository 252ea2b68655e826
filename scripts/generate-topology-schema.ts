/**
 * Writes topologies/topology.schema.json, the JSON Schema for editors, from the TypeBox schema that
 * also validates. With --check it writes nothing and exits 1 when the file is stale.
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { TopologySchema } from '../src/config/topology-schema.js'
import { packageFile } from '../src/lab/names.js'

const file = join(packageFile('topologies'), 'topology.schema.json')
const text = `${JSON.stringify(
  { $schema: 'https://json-schema.org/draft/2020-12/schema', ...TopologySchema },
  null,
  2,
)}\n`
if (!process.argv.includes('--check')) writeFileSync(file, text)
else if (readText(file) !== text) {
  process.stderr.write(`${file} is stale: run npm run generate\n`)
  process.exitCode = 1
}

function readText(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return ''
  }
}
