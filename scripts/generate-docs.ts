/**
 * Writes docs/configuration.md from the configuration schema and docs/openapi.json from the API's
 * routes. With `--check` it writes nothing and exits 1 when a file is stale.
 */
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describeApi } from '../src/api/application.js'
import type { SchemaPart } from '../src/config/json-schema.js'
import { parseConfig } from '../src/config/load.js'
import { ConfigSchema } from '../src/config/schema.js'
import { describeType } from '../src/config/schema-findings.js'

const root = join(import.meta.dirname, '..', '..')

const MINIMAL_EXAMPLE = `node: cloud-a
roles: [itr, etr]
rlocs:
  - {address: 172.16.1.1, interface: core0}
siteInterfaces:
  - {name: br0, instanceId: 7}
dynamicEidPrefixes:
  - {prefix: 10.10.0.0/24, instanceId: 7, interface: br0}
mapServers:
  - {address: 172.16.4.1, key: {secretFile: /etc/godwit/clouds.key}}
mapResolvers: [172.16.4.1]
mobility:
  key: {secretFile: /etc/godwit/mobility.key}
`

const MAP_SERVER_EXAMPLE = `node: mapping
roles: [map-server, map-resolver]
rlocs:
  - {address: 172.16.4.1, interface: core0}
datapath: {kind: none}
mapServer:
  sites:
    - name: clouds
      keys: [{secretFile: /etc/godwit/clouds.key}]
      prefixes:
        - {prefix: 10.10.0.0/24, instanceId: 7, acceptMoreSpecifics: true}
`

const FULL_EXAMPLE = `node: cloud-b
roles: [itr, etr]
xtrId: '00112233445566778899aabbccddeeff'
siteId: 12
rlocs:
  - {address: 172.16.2.1, interface: core0, priority: 1, weight: 100}
  - {address: 'fd00:c:2::1', interface: core0, priority: 2, weight: 100}
siteInterfaces:
  - {name: br0, instanceId: 7, proxyNeighbours: true}
eidPrefixes:
  - {prefix: 10.30.0.0/24, instanceId: 7, interface: br0}
dynamicEidPrefixes:
  - {prefix: 10.10.0.0/24, instanceId: 7, interface: br0}
  - {prefix: 'fd00:10::/64', instanceId: 7, interface: br0}
mapServers:
  - address: 172.16.4.1
    key: {id: 1, algorithm: hmac-sha256-128+hkdf, secretFile: /etc/godwit/clouds.key}
    proxyReply: true
    registerSeconds: 60
    ttlMinutes: 15
mapResolvers: [172.16.4.1, 'fd00:c:4::1']
mapCache: {maximumEntries: 65536, smrPerLocatorPerSecond: 100, maximumPendingRequests: 10000}
hold:
  packetsPerEid: 20000
  bytesPerEid: 8388608
  bytesTotal: 268435456
  missMs: 5000
  endpointMs: 4000
datapath:
  kind: bpf
  pinDirectory: /sys/fs/bpf/godwit/cloud-b
  maximumMappings: 65536
  maximumLocalEids: 16384
  pathMtu: 1500
  onStop: keep
  inboundGro: true
rlocProbe: {enabled: true, intervalSeconds: 10, failures: 3}
mobility:
  key: {secretFile: /etc/godwit/mobility.key}
  peers: [172.16.1.1]
  endpointTimeoutMs: 2000
  awaySeconds: 60
api:
  socket: /run/godwit/cloud-b.sock
  tcp: {address: 127.0.0.1, port: 8642}
store: {directory: /var/lib/godwit/cloud-b}
log: {level: info}
`

const EXAMPLES = { MINIMAL_EXAMPLE, MAP_SERVER_EXAMPLE, FULL_EXAMPLE }

/** Examples that no longer load must not be published. */
function checkExamples(): void {
  for (const [name, text] of Object.entries(EXAMPLES)) {
    const readSecret = (path: string) =>
      ({ ok: true, text: `secret of ${path}`, worldReadable: false }) as const
    const result = parseConfig(text, readSecret)
    const problems = result.ok ? result.warnings : [...result.errors, ...result.warnings]
    if (problems.length > 0) throw new Error(`${name}: ${JSON.stringify(problems)}`)
  }
}

function configurationPage(): string {
  const schema: SchemaPart = ConfigSchema
  const sections = Object.entries(schema.properties ?? {}).filter(([, part]) => isNested(part))
  return `# Configuration of godwitd

One YAML file per node. Made from \`src/config/schema.ts\` by \`npm run generate\`; do not edit.

Unknown keys are errors. \`godwit check-config FILE\` prints all errors at once, each with its path,
line and a hint, and exits with 2. \`SIGHUP\` makes a running daemon read its file again; an invalid
file changes nothing. Secrets are files: their content never appears in a log or an answer.

An xTR with mobile endpoints:

${fenced(MINIMAL_EXAMPLE)}
A Map-Server that is also Map-Resolver:

${fenced(MAP_SERVER_EXAMPLE)}
## Top level

${table(schema, new Set(sections.map(([name]) => name)))}
${sections.map(([name, part]) => section(name, part)).join('\n')}
## Every key of an xTR

${fenced(FULL_EXAMPLE)}`
}

function section(name: string, part: SchemaPart): string {
  const list = part.type === 'array'
  const object = list ? (part.items ?? {}) : part
  const title = `## ${name}${list ? ' (list)' : ''}`
  const text = part.description === undefined ? '' : `${part.description}.\n\n`
  const nested = Object.entries(object.properties ?? {}).filter(([, inner]) => isNested(inner))
  const inner = nested.map(([key, value]) => section(`${name}.${key}`, value)).join('\n')
  const own = table(object, new Set(nested.map(([key]) => key)), `${name}.`)
  return `${title}\n\n${text}${own}${inner === '' ? '' : `\n${inner}`}`
}

/** One row per key; a key with keys of its own points to its section. */
function table(object: SchemaPart, sections: ReadonlySet<string>, prefix = ''): string {
  const rows = Object.entries(object.properties ?? {}).map(([key, part]) => {
    const required = object.required?.includes(key) ?? false
    const type = sections.has(key) ? `see ${prefix}${key}` : describeType(part)
    return `| \`${key}\` | ${type} | ${defaultOf(part, required)} | ${part.description ?? ''} |`
  })
  return `| key | type and range | default | meaning |\n|---|---|---|---|\n${rows.join('\n')}\n`
}

function defaultOf(part: SchemaPart, required: boolean): string {
  if (part.default === undefined) return required ? '**required**' : ''
  if (part.type === 'object') return ''
  return `\`${JSON.stringify(part.default)}\``
}

function isNested(part: SchemaPart): boolean {
  return part.properties !== undefined || part.items?.properties !== undefined
}

function fenced(text: string): string {
  return `\`\`\`yaml\n${text}\`\`\`\n`
}

checkExamples()
const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as {
  version: string
}
const files: Record<string, string> = {
  'docs/configuration.md': configurationPage(),
  'docs/openapi.json': `${JSON.stringify(await describeApi(version), null, 2)}\n`,
}
const check = process.argv.includes('--check')
for (const [file, text] of Object.entries(files)) {
  const path = join(root, file)
  if (existsSync(path) && readFileSync(path, 'utf8') === text) continue
  if (check) {
    process.stderr.write(`${file} is stale: run "npm run generate"\n`)
    process.exitCode = 1
  } else {
    writeFileSync(path, text)
    process.stdout.write(`${file} written\n`)
  }
}
