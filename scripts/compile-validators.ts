/**
 * Compiles the schemas of our files and of the API's requests into plain functions, in dist, and
 * writes the API's description beside them.
 *
 * Part of every build, right after TypeScript: what the program loads was made from the schemas that
 * were compiled with it. Choice: compiled at build time, because a schema compiler takes a third of
 * a second of each start; in dist and not in the repository, because nobody reviews such code and
 * two branches that each add a key would always conflict in it.
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { Ajv, type Options } from 'ajv'
import standalone from 'ajv/dist/standalone/index.js'
import { KeyFileSchema } from '../src/config/key-file-schema.js'
import { ConfigSchema } from '../src/config/schema.js'
import { TopologySchema } from '../src/config/topology-schema.js'

/** What the generated code takes from the compiler's package, in a line each. */
const RUNTIME: Readonly<Record<string, string>> = {
  'ajv/dist/runtime/ucs2length': '(text) => [...text].length',
  'ajv/dist/runtime/equal': '(left, right) => JSON.stringify(left) === JSON.stringify(right)',
}

const output = join(import.meta.dirname, '..', 'src')
const base: Options = {
  allErrors: true,
  // A keyword that the compiler does not know is a mistake in a schema.
  strictSchema: true,
  strictTypes: false,
  code: { source: true, esm: true, lines: true },
}

writeFileSync(
  join(output, 'config', 'compiled-validators.js'),
  compile(
    { ...base, useDefaults: true },
    {
      validateConfig: ConfigSchema,
      validateKeyFile: KeyFileSchema,
      validateTopology: TopologySchema,
    },
  ),
)
await compileRequests(join(output, 'api', 'compiled-validators.js'))

/**
 * The application cannot be loaded without its validators: they are empty while it is asked for its
 * schemas. Bodies are typed by JSON; everything else is text that is converted.
 */
async function compileRequests(file: string): Promise<void> {
  writeFileSync(file, 'export default {}\n')
  const { describeApi, requestSchemas } = await import('../src/api/application.js')
  const schemas = await requestSchemas()
  const code = schemas.map(({ name, httpPart, schema }, index) => {
    const options: Options = httpPart === 'body' ? base : { ...base, coerceTypes: true }
    const text = compile(options, { [`validator${index}`]: schema })
    return { name, text: `const part${index} = (() => {\n${asExpression(text, index)}\n})()\n` }
  })
  const table = code.map(({ name }, index) => `  ${JSON.stringify(name)}: part${index},`)
  const parts = code.map(({ text }) => text).join('\n')
  writeFileSync(join(dirname(file), 'openapi.json'), JSON.stringify(await describeApi(version())))
  writeFileSync(file, `${parts}\nexport default {\n${table.join('\n')}\n}\n`)
}

function version(): string {
  const text = readFileSync(join(output, '..', '..', 'package.json'), 'utf8')
  return (JSON.parse(text) as { version: string }).version
}

/** The exported function as the value of a function's body, so that names do not clash. */
function asExpression(text: string, index: number): string {
  return `${text.replace(/^export const/m, 'const')}\nreturn validator${index}`
}

/** One module with an exported function per schema and no import. */
function compile(options: Options, schemas: Readonly<Record<string, object>>): string {
  const ajv = new Ajv(options)
  const names: Record<string, string> = {}
  for (const [name, schema] of Object.entries(schemas)) {
    const id = `godwit:${name}`
    ajv.addSchema({ ...(JSON.parse(JSON.stringify(schema)) as object), $id: id })
    names[name] = id
  }
  return withoutImports(standalone.default(ajv, names))
}

function withoutImports(code: string): string {
  return code
    .replace('"use strict";', '')
    .replace(/require\("([^"]+)"\)\.default/g, (_, module: string) => {
      const own = RUNTIME[module]
      if (own === undefined) throw new Error(`the compiled validators need ${module}`)
      return own
    })
}
